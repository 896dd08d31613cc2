"""Takes one sample: runs the collectors, turns counters into rates, rounds. For the sampling loop.

This is the runner of node_exporter's kind: it times collectors and counts their failures, they know nothing of it.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from agent.clock import Clock, Stamps
from agent.collector import Collector, CustomCollector, Reading
from agent.rates import RateMeter
from agent.time_limits import Outcome, TimeLimitedRuns
from telemetry.catalogue import CUSTOM, NODE_METRICS, Kind, Metric, round_for_wire

log = logging.getLogger(__name__)

SHORTEST_MEMORY = 60.0
"""Counters are remembered for three sample intervals, but at least so many seconds."""


@dataclass(slots=True)
class Sample:
    """What a node was like at one instant; ready for the wire. What could not be read is absent."""

    time: int
    """Epoch milliseconds, later than the sample before."""
    metrics: dict[str, float] = field(default_factory=dict)
    devices: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)
    """Class -> device -> metric -> value."""
    seconds: float = 0.0
    """How long all collectors took."""


@dataclass(slots=True)
class CollectorStatistics:
    """How a collector has been doing since the agent started."""

    runs: int = 0
    failures: int = 0
    seconds: float = 0.0
    """Duration of the last run."""
    refused: int = 0
    """Values outside the metric's range in the catalogue: sent as null."""
    problem: str | None = None
    """Why the last run failed; None when it did not."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All there is to know about one sample. Never changed after it was made: any thread may read it."""

    time: int
    """The sample's stamp, epoch milliseconds."""
    at: float
    """When it was complete, on the monotonic clock."""
    seconds: float
    """How long all collectors took."""
    readings: Mapping[str, tuple[Reading, ...]]
    """By collector, as they were read: counters as totals."""
    statistics: Mapping[str, CollectorStatistics]


class Sampler:
    """Runs collectors side by side with their failures: a failing, hanging or lying one costs its own readings only.

    `statistics` and `counters` belong to the thread that samples; other threads take `latest`.
    """

    def __init__(self, collectors: Sequence[Collector], clock: Clock, interval: float) -> None:
        self._collectors = collectors
        self._clock = clock
        self._stamps = Stamps()
        self._rates = RateMeter(longest_gap=max(SHORTEST_MEMORY, 3 * interval))
        self._runs: TimeLimitedRuns[_Collected] = TimeLimitedRuns(time_limit(interval), "collectors")
        self._metrics = {
            collector.name: {metric.key: metric for metric in metrics_of(collector)} for collector in collectors
        }
        self._custom = {collector.name for collector in collectors if isinstance(collector, CustomCollector)}
        self.statistics = {collector.name: CollectorStatistics() for collector in collectors}
        self.counters: dict[str, tuple[Reading, ...]] = {collector.name: () for collector in collectors}
        """By collector, the readings of the last sample as they were read: counters as totals."""
        self.latest: Snapshot | None = None
        """The last sample as a whole; replaced, never changed. None before the first."""

    def sample(self) -> Sample:
        """Reads the node once. Raises nothing on account of a collector."""
        sample = Sample(self._stamps.next(self._clock.epoch_ms()))
        started = self._clock.monotonic()
        outcomes = self._runs.run({c.name: partial(self._collect, c) for c in self._collectors})
        for collector in self._collectors:
            self._take(collector, outcomes[collector.name], sample)
        ended = self._clock.monotonic()
        self._rates.forget_unseen(ended)
        sample.seconds = ended - started
        self.latest = Snapshot(
            sample.time,
            ended,
            sample.seconds,
            dict(self.counters),
            {name: replace(statistics) for name, statistics in self.statistics.items()},
        )
        return sample

    def _collect(self, collector: Collector) -> _Collected:
        return _Collected(self._clock.monotonic(), tuple(collector.collect()))

    def _take(self, collector: Collector, outcome: Outcome[_Collected], sample: Sample) -> None:
        statistics = self.statistics[collector.name]
        statistics.runs += 1
        statistics.seconds = outcome.seconds
        problem = outcome.problem
        collected = outcome.value or _Collected(0.0, ())
        taken = 0
        try:
            for reading in collected.readings:
                self._add(collector, reading, collected.at, sample)
                taken += 1
        except KeyError as unknown:
            problem = f"it delivers {unknown}, which it has no metric for"
        except ValueError as error:
            problem = f"it delivers {collected.readings[taken]!r:.160}: {error}"
        self.counters[collector.name] = collected.readings[:taken]
        if problem:
            statistics.failures += 1
        if problem and not statistics.problem:
            log.warning("collector_failed", extra={"collector": collector.name, "problem": problem})
        elif statistics.problem and not problem:
            log.info("collector_recovered", extra={"collector": collector.name})
        statistics.problem = problem

    def _add(self, collector: Collector, reading: Reading, at: float, sample: Sample) -> None:
        metric = self._metrics[collector.name][reading.key]
        value: float | None = reading.value
        if metric.kind is Kind.RATE:
            value = self._rates.rate(
                (collector.name, reading.key, reading.device, reading.incarnation),
                reading.value,
                at if reading.at is None else reading.at,
                upper=metric.upper,
                wraps_at=reading.wraps_at,
                now=at,
            )
        if value is None:
            return
        sendable = for_wire(metric, value)
        if sendable is None:
            self.statistics[collector.name].refused += 1
        elif collector.name in self._custom:
            name = metric.name if reading.device is None else f"{metric.name}/{reading.device}"
            sample.devices.setdefault(CUSTOM.key, {})[name] = {CUSTOM.metrics[0].key: sendable}
        elif collector.device_class is None and reading.device is None:
            sample.metrics[reading.key] = sendable
        elif collector.device_class is None or reading.device is None:
            raise ValueError("metrics of a device class need a device, metrics of the node have none")
        else:
            devices = sample.devices.setdefault(collector.device_class.key, {})
            devices.setdefault(reading.device, {})[reading.key] = sendable


def metrics_of(collector: Collector) -> tuple[Metric, ...]:
    """What a collector may deliver."""
    if isinstance(collector, CustomCollector):
        return collector.metrics
    return collector.device_class.metrics if collector.device_class else NODE_METRICS


def time_limit(interval: float) -> float:
    """Gives the seconds a collector may take: half a sample interval, within 0.5 s and 5 s."""
    return min(5.0, max(0.5, interval / 2))


@dataclass(frozen=True, slots=True)
class _Collected:
    """A collector's readings and when, on the monotonic clock, it began to read them."""

    at: float
    readings: tuple[Reading, ...]


def for_wire(metric: Metric, value: float) -> float | None:
    """Rounds as receivers expect; None for what they would refuse.

    A share of time comes out a little over 1 when the kernel counts it in jiffies and the interval is short.
    """
    if metric.unit == "1" and metric.kind is Kind.RATE and 1 < value < 2:
        value = 1.0
    if not math.isfinite(value) or not 0 <= value <= metric.upper:
        return None
    return round_for_wire(metric, value)
