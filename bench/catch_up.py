"""How fast the agent catches up after an hour without Event Hubs, and what fresh samples notice of it.

A real agent is started on a spool that an hour has filled, before a real broker. What is counted is the time from the
start of its process (interpreter, imports, connecting) until the last envelope of the hour is in the event hub, and
on top of it the longest that an agent waits between two attempts (`agent.delivery.LONGEST_RETRY`): an agent that has
been through the outage may have begun to wait just before its end. Order is checked, and that no tick was missed.

`python -m bench.catch_up` prints the figures; `measure_catch_up` gives them to `make bench-agent`.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from azure.eventhub.aio import EventHubConsumerClient

from agent.delivery import LONGEST_RETRY
from agent.spool.files import SpoolFiles
from bench.agent.programs import HUB, REPOSITORY, Broker, Program, Unmeasurable
from bench.figures import Figures
from bench.oracle.witnesses import read_partition
from local.fleet.model import FleetModel
from telemetry.envelope import Envelope, decode, encode

OUTAGE = 3600.0
AIM = 100.0
"""Times real time, at least."""
SAMPLE_INTERVAL = 0.2
"""Of the fresh samples: so short that several fall into the catch-up."""
AFTERWARDS = 10
"""Fresh envelopes that are waited for when the backlog is through."""


class Figure(NamedTuple):
    """What `bench.figures.Figures.add` takes."""

    name: str
    value: float
    unit: str


class CatchUp(NamedTuple):
    """What was seen of one catch-up."""

    seconds: float
    """From the start of the process until the last envelope of the outage was in the event hub."""
    draining: float
    """From the first to the last of them."""
    missed: int
    """Ticks without a sample."""
    fresh_delay: float
    """The longest that an envelope made meanwhile was behind its last sample when it was in the event hub."""
    fresh_delay_afterwards: float
    """The same of those made later."""


def measure_catch_up(tell: Callable[[str], None] = lambda text: None) -> list[Figure]:
    """Measures an hour of envelopes of 30 s, and of 10 s; some seconds each. Raises Unmeasurable."""
    figures = []
    for publish_interval, suffix in ((30.0, ""), (10.0, "_10s_envelopes")):
        tell(f"catch-up: {OUTAGE / publish_interval:.0f} envelopes of {publish_interval:g} s")
        found = catch_up(publish_interval)
        ratio = OUTAGE / (LONGEST_RETRY + found.seconds)
        if ratio < AIM:
            tell(f"missed: agent.catch_up_ratio{suffix} is {ratio:.3g}, at least {AIM:g} was aimed at")
        figures += [
            Figure(f"agent.catch_up_ratio{suffix}", ratio, f"x real time (with {LONGEST_RETRY:g} s until it tries)"),
            Figure(f"agent.catch_up_s{suffix}", found.seconds, "s (from the start of its process)"),
            Figure(f"agent.catch_up_drain_s{suffix}", found.draining, "s (first to last envelope)"),
            Figure(f"agent.catch_up_missed_ticks{suffix}", found.missed, "ticks"),
            Figure(f"agent.catch_up_fresh_delay_s{suffix}", found.fresh_delay, "s"),
            Figure(f"agent.fresh_delay_s{suffix}", found.fresh_delay_afterwards, "s (with nothing to catch up)"),
        ]
    return figures


def catch_up(publish_interval: float) -> CatchUp:
    """Lets an agent catch up with an hour of envelopes of that length."""
    with tempfile.TemporaryDirectory(prefix="bench-catch-up-") as name, Broker(Path(name)) as broker:
        folder = Path(name)
        backlog = fill(folder / "spool", publish_interval)
        with Program("agent", folder, [sys.executable, "-m", "agent"], _environment(folder, broker)) as agent:
            agent.await_(lambda: broker.envelopes() >= len(backlog) + AFTERWARDS, "everything was published")
        arrived = asyncio.run(_arrived(broker))
        return reckon(backlog, arrived, agent.started_ms)


def fill(directory: Path, publish_interval: float) -> list[Envelope]:
    """Writes what an agent would have spooled in the last hour; gives it in order."""
    count = round(OUTAGE / publish_interval)
    start_ms = int((time.time() - OUTAGE - publish_interval) * 1000)
    model = FleetModel(1, start_ms=start_ms, publish_interval=publish_interval)
    files = SpoolFiles(directory, fsync=False)
    written = []
    for number, due in zip(range(1, count + 1), model.envelopes(), strict=False):
        envelope = replace(due.envelope, cluster="bench", node="bench", instance="0" * 12, seq=number)
        files.write(number, due.at_ms, encode(envelope))
        written.append(envelope)
    return written


def reckon(backlog: Sequence[Envelope], arrived: Sequence[tuple[Envelope, float]], started_ms: float) -> CatchUp:
    """Computes the figures from what is in the event hub and when it got there.

    Raises Unmeasurable when something is missing, there twice, or not in the order of sampling.
    """
    old = [at for envelope, at in arrived if envelope.instance == backlog[0].instance]
    fresh = [(envelope, at) for envelope, at in arrived if envelope.instance != backlog[0].instance]
    order = [(envelope.instance, envelope.seq) for envelope, _ in arrived]
    expected = [(envelope.instance, envelope.seq) for envelope in backlog]
    expected += [(envelope.instance, number) for number, (envelope, _) in enumerate(fresh, 1)]
    if order != expected:
        raise Unmeasurable("the event hub does not hold the outage's envelopes and then the fresh ones, each once")
    stamps = [stamp for envelope, _ in fresh for stamp in envelope.time]
    delays = [((at - envelope.time[-1]) / 1000, envelope.time[-1] <= old[-1]) for envelope, at in fresh]
    if not any(meanwhile for _, meanwhile in delays) or all(meanwhile for _, meanwhile in delays):
        raise Unmeasurable("no sample was taken during the catch-up, or none after it")
    return CatchUp(
        seconds=(old[-1] - started_ms) / 1000,
        draining=(old[-1] - old[0]) / 1000,
        missed=sum(round((after - before) / (1000 * SAMPLE_INTERVAL)) - 1 for before, after in pairwise(stamps)),
        fresh_delay=max(delay for delay, meanwhile in delays if meanwhile),
        fresh_delay_afterwards=max(delay for delay, meanwhile in delays if not meanwhile),
    )


async def _arrived(broker: Broker) -> list[tuple[Envelope, float]]:
    """Every envelope in the event hub, in order, with the time it got there."""
    client = EventHubConsumerClient.from_connection_string(broker.connection_string, "$Default", eventhub_name=HUB)
    async with client:
        return [
            (decode(logged.raw), logged.enqueued_ms)
            for logged in await read_partition(client, "0", broker.envelopes() - 1)
        ]


def _environment(folder: Path, broker: Broker) -> dict[str, str]:
    return {
        "PYTHONPATH": str(REPOSITORY),
        "AGENT_CLUSTER": "bench",
        "AGENT_NODE": "bench",
        "AGENT_SPOOL_DIR": str(folder / "spool"),
        "AGENT_SAMPLE_INTERVAL": str(SAMPLE_INTERVAL),
        "AGENT_PUBLISH_INTERVAL": str(SAMPLE_INTERVAL),
        "AGENT_PUBLISH_SPREAD": "0",
        "EVENTHUB_CONNECTION_STRING": broker.connection_string,
        "EVENTHUB_NAME": HUB,
    }


if __name__ == "__main__":
    shown = Figures()
    for figure in measure_catch_up(lambda text: print(text, file=sys.stderr)):
        shown.add(*figure)
