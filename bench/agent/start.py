"""How long the agent's imports take. For the agent's benchmark."""

from __future__ import annotations

import re
import statistics
import tempfile
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from bench.agent.programs import Agent, Broker, Cloud

_LINE = re.compile(r"^import time:\s+(\d+) \|", re.MULTILINE)
_RUNS = 3


def import_ms(*, identity: bool = False) -> float:
    """Milliseconds spent importing until the first envelope was acknowledged; median of three processes."""
    found = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-agent-")))
        broker = stack.enter_context(Broker(folder))
        cloud = stack.enter_context(Cloud(folder, broker))
        settings = cloud.by_identity() if identity else cloud.by_key()
        quick = {"AGENT_SAMPLE_INTERVAL": "0.1", "AGENT_PUBLISH_INTERVAL": "0.1", "PYTHONPROFILEIMPORTTIME": "1"}
        for run in range(_RUNS):
            with Agent(folder, settings | quick, name=f"agent-{run}") as agent:
                agent.await_(partial(_more, broker, broker.envelopes()), "an envelope was published")
            found.append(imported_ms(agent.log.read_text()))
    return statistics.median(found)


def imported_ms(log: str) -> float:
    """The sum of what `-X importtime` says of each module itself."""
    return sum(int(microseconds) for microseconds in _LINE.findall(log)) / 1000


def _more(broker: Broker, before: int) -> bool:
    return broker.envelopes() > before
