"""Agent and node_exporter side by side: CPU time of each per sample. For the agent's benchmark.

Both live through the same seconds: in every interval the agent takes its sample, and half an interval later
node_exporter is scraped once, over a connection that stays open, as Prometheus does it: compressed. CPU time is the
kernel's own count for the whole process, in nanoseconds. What the agent does for publishing (envelope, spool, TLS,
acknowledgement) is part of its samples.
"""

from __future__ import annotations

import asyncio
import http.client
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from azure.eventhub.aio import EventHubConsumerClient

from bench.agent import node_exporter
from bench.agent.programs import HUB, Agent, Broker, Cloud, NodeExporter, Unmeasurable
from bench.memory import resident_mib
from bench.oracle.witnesses import read_partition
from telemetry.envelope import IDENTITIES, Envelope, decode

SAMPLES_PER_ENVELOPE = 3
"""As by default: 10 s and 30 s."""
EXCLUDE_NOTHING = {f"AGENT_{what}_EXCLUDE": "^$" for what in ("DISK", "MOUNT", "FS_TYPE", "NET")}
_ACCEPT = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;q=0.5"
)
"""As Prometheus asks; without compression, which would only add to the cost of a scrape."""
_WARM_UP_ENVELOPES = 5


class Way(StrEnum):
    """How a block is measured."""

    PLAIN = "plain"
    """The agent publishes, node_exporter is scraped as Prometheus does."""
    SCRAPED = "scraped"
    """The agent's /metrics is scraped, too."""
    UNCOMPRESSED = "uncompressed"
    """As plain, but node_exporter need not compress what it is asked for, as the agent does with its envelopes."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How long to measure, and on what."""

    interval: float = 0.1
    ticks: int = 40
    """Samples in a block."""
    blocks: int = 3
    """Of each way, in turn."""
    ways: tuple[Way, ...] = tuple(Way)
    exclude_nothing: bool = False


@dataclass(frozen=True, slots=True)
class Block:
    """What was counted between two instants."""

    began_ms: float
    ended_ms: float
    agent_cpu: float
    exporter_cpu: float
    """Seconds."""
    scrapes: int
    """Of node_exporter."""
    way: Way = Way.PLAIN


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU milliseconds per sample; medians of blocks, the ratio being taken block by block."""

    agent_ms: float
    exporter_ms: float
    ratio: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a comparison came to."""

    costs: Mapping[Way, Cost]
    samples: int
    missed: int
    """Ticks of the blocks without a sample."""
    agent_rss_mib: float
    exporter_rss_mib: float
    start_ms: float
    """From the start of the agent's process to its first sample, waiting for the tick included."""
    devices: Mapping[str, tuple[int, int]]
    """Device class -> how many the agent and node_exporter show."""


def compare(plan: Plan, tell: Callable[[str], None]) -> Comparison:
    """Starts both, with all they need, and measures. Raises Unmeasurable."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-agent-")))
        broker = stack.enter_context(Broker(folder))
        cloud = stack.enter_context(Cloud(folder, broker))
        flags = node_exporter.flags(exclude_nothing=plan.exclude_nothing)
        exporter = stack.enter_context(NodeExporter(folder, flags))
        settings = {
            **cloud.by_key(),
            "AGENT_SAMPLE_INTERVAL": f"{plan.interval:g}",
            "AGENT_PUBLISH_INTERVAL": f"{SAMPLES_PER_ENVELOPE * plan.interval:g}",
            **(EXCLUDE_NOTHING if plan.exclude_nothing else {}),
        }
        with Agent(folder, settings) as agent:
            theirs, ours = Scraper(exporter.http_port), Scraper(agent.http_port)
            warm = 1 if plan.interval > 1 else _WARM_UP_ENVELOPES
            patience = 30 + 2 * warm * SAMPLES_PER_ENVELOPE * plan.interval
            agent.await_(lambda: broker.envelopes() >= warm, f"{warm} envelopes were published", patience)
            for _ in range(5):
                exposition = theirs.scrape(Way.UNCOMPRESSED)
                ours.scrape()
            blocks = []
            for number in range(plan.blocks * len(plan.ways)):
                way = plan.ways[number % len(plan.ways)]
                blocks.append(_measure(plan, way, agent, exporter, theirs, ours))
                tell(f"block {number + 1} of {plan.blocks * len(plan.ways)}: {_rough(blocks[-1], plan)}")
            rss = resident_mib(agent.pid), resident_mib(exporter.pid)
        # Stopping, the agent has published the rest.
        envelopes = asyncio.run(_published(broker))
    shown, last = node_exporter.devices_in(exposition), envelopes[-1].devices
    devices = {name: (len(last.get(name, {}).get(IDENTITIES[name], [])), shown[name]) for name in shown}
    sampled = [stamp for envelope in envelopes for stamp in envelope.time]
    return reckon(blocks, sampled, plan.ticks, rss, sampled[0] - agent.started_ms, devices)


def reckon(
    blocks: Iterable[Block],
    sampled_ms: Iterable[float],
    ticks: int,
    rss: tuple[float, float],
    start_ms: float,
    devices: Mapping[str, tuple[int, int]],
) -> Comparison:
    """Divides what was used in each block by the samples that were published of it.

    Raises Unmeasurable when the agent did not keep up: its samples would then look cheaper than they are.
    """
    stamps = sorted(sampled_ms)
    costs: dict[Way, list[Cost]] = {}
    total = missed = 0
    for block in blocks:
        samples = sum(block.began_ms <= stamp < block.ended_ms for stamp in stamps)
        if samples < 0.8 * ticks or block.scrapes < 0.8 * ticks:
            raise Unmeasurable(
                f"of {ticks} ticks the agent sampled {samples} and node_exporter was scraped at {block.scrapes}: "
                "the machine is too busy to measure on, or an outage was measured"
            )
        ours, theirs = 1000 * block.agent_cpu / samples, 1000 * block.exporter_cpu / block.scrapes
        costs.setdefault(block.way, []).append(Cost(ours, theirs, ours / theirs))
        total += samples
        missed += ticks - samples
    medians = {way: _median(found) for way, found in costs.items()}
    return Comparison(medians, total, missed, *rss, start_ms, devices)


class Scraper:
    """Scrapes over one connection that stays open, as Prometheus does."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)

    def scrape(self, way: Way = Way.PLAIN) -> str:
        """The exposition. Raises Unmeasurable when it is none."""
        encoding = "identity" if way is Way.UNCOMPRESSED else "gzip"
        self._connection.request("GET", "/metrics", headers={"Accept": _ACCEPT, "Accept-Encoding": encoding})
        answer = self._connection.getresponse()
        body = answer.read()
        if answer.status != 200 or not body:
            raise Unmeasurable(f"/metrics answered {answer.status} and {len(body)} bytes: {body[:200]!r}")
        return body.decode(errors="replace")


def cpu_seconds(pid: int) -> float:
    """CPU time that a process has used, all its threads of now and before, to the nanosecond.

    The clock of another process (clock_getcpuclockid(3)): user and system time, not rounded to ticks.
    """
    return time.clock_gettime((~pid << 3) | 2)


def _measure(plan: Plan, way: Way, agent: Agent, exporter: NodeExporter, theirs: Scraper, ours: Scraper) -> Block:
    """One block: from a tenth of an interval before a tick, so that no sample is cut in two."""
    began = (time.time() // plan.interval + 2 - 0.1) * plan.interval
    _sleep_until(began)
    cpu = cpu_seconds(agent.pid), cpu_seconds(exporter.pid)
    scrapes = 0
    for tick in range(plan.ticks):
        due = began + (tick + 0.6) * plan.interval
        if time.time() < due + plan.interval / 4:
            _sleep_until(due)
            theirs.scrape(way)
            scrapes += 1
        if way is Way.SCRAPED:
            _sleep_until(began + (tick + 0.85) * plan.interval)
            ours.scrape()
    ended = began + plan.ticks * plan.interval
    _sleep_until(ended)
    now = cpu_seconds(agent.pid), cpu_seconds(exporter.pid)
    return Block(began * 1000, ended * 1000, now[0] - cpu[0], now[1] - cpu[1], scrapes, way)


def _sleep_until(epoch: float) -> None:
    time.sleep(max(0.0, epoch - time.time()))


def _rough(block: Block, plan: Plan) -> str:
    ours, theirs = (1000 * seconds / plan.ticks for seconds in (block.agent_cpu, block.exporter_cpu))
    return f"{block.way}: agent {ours:.2f} ms, node_exporter {theirs:.2f} ms"


def _median(costs: list[Cost]) -> Cost:
    return Cost(
        statistics.median(cost.agent_ms for cost in costs),
        statistics.median(cost.exporter_ms for cost in costs),
        statistics.median(cost.ratio for cost in costs),
    )


async def _published(broker: Broker) -> list[Envelope]:
    client = EventHubConsumerClient.from_connection_string(broker.connection_string, "$Default", eventhub_name=HUB)
    async with client:
        return [decode(event.raw) for event in await read_partition(client, "0", broker.envelopes() - 1)]
