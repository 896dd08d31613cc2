"""What the agent takes of its node's memory: by key, by identity, and after thousands of samples.

For the agent's benchmark. The identity is a workload identity: the credential of azure-identity fetches its token from
a stand-in for Entra, and the broker takes it.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from bench.agent.comparison import Scraper
from bench.agent.hurried import INTERVAL, SAMPLES_PER_ENVELOPE
from bench.agent.programs import Agent, Broker, Cloud, Unmeasurable
from bench.memory import resident_mib

_SAMPLES_BEFORE = 60
"""Until all that is loaded late has been loaded."""
_PATIENCE = 60.0


def resident(tell: Callable[[str], None]) -> tuple[float, float]:
    """MiB of an agent with a connection string, and of one with an identity; connected, /metrics being scraped."""
    found = []
    for way in ("key", "identity"):
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-agent-")))
            broker = stack.enter_context(Broker(folder))
            cloud = stack.enter_context(Cloud(folder, broker))
            settings = cloud.by_key() if way == "key" else cloud.by_identity()
            quick = {"AGENT_SAMPLE_INTERVAL": "0.1", "AGENT_PUBLISH_INTERVAL": "0.3"}
            agent = stack.enter_context(Agent(folder, settings | quick))
            _await_samples(agent, broker, _SAMPLES_BEFORE)
            if way == "identity" and not cloud.tokens_issued():
                raise Unmeasurable("the agent with an identity has published without asking for a token")
            found.append(_resident_while_scraped(agent, Scraper(agent.http_port)))
            tell(f"{found[-1]:.1f} MiB by {way}")
    return found[0], found[1]


def growth_kib(samples: int, tell: Callable[[str], None]) -> float:
    """How much an agent has grown when it has taken so many samples, compared with when it had taken a tenth."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-agent-")))
        broker = stack.enter_context(Broker(folder))
        cloud = stack.enter_context(Cloud(folder, broker))
        agent = stack.enter_context(Agent(folder, cloud.by_key(), module="bench.agent.hurried"))
        first = 0.0
        for reached in range(samples // 10, samples + 1, samples // 10):
            _await_samples(agent, broker, reached)
            now = _resident_while_scraped(agent, Scraper(agent.http_port))
            first = first or now
            tell(f"{now:.2f} MiB after {reached} samples")
    return (now - first) * 1024


def _await_samples(agent: Agent, broker: Broker, samples: int) -> None:
    agent.await_(
        lambda: broker.envelopes() * SAMPLES_PER_ENVELOPE >= samples,
        f"{samples} samples were published",
        _PATIENCE + 3 * samples * INTERVAL,
        every=0.1,
    )


def _resident_while_scraped(agent: Agent, scraper: Scraper) -> float:
    found = []
    for _ in range(5):
        scraper.scrape()
        found.append(resident_mib(agent.pid))
        time.sleep(0.1)
    return statistics.median(found)
