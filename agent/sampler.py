"""Takes one sample: runs the collectors, turns counters into rates, rounds. For the sampling loop.

This is the runner of node_exporter's kind: it times collectors and counts their failures, they know nothing of it.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

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


class CollectorStatistics(NamedTuple):
    """How a collector has been doing since the agent started."""

    runs: int = 0
    failures: int = 0
    seconds: float = 0.0
    """Duration of the last run."""
    refused: int = 0
    """Values outside the metric's range in the catalogue: sent as null."""
    problem: str | None = None
    """Why the last run failed; None when it did not."""


class Snapshot(NamedTuple):
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
        self._jobs = {collector.name: partial(self._collect, collector) for collector in collectors}
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
        outcomes = self._runs.run(self._jobs)
        for collector in self._collectors:
            self._take(collector, outcomes[collector.name], sample)
        ended = self._clock.monotonic()
        self._rates.forget_unseen(ended)
        sample.seconds = ended - started
        self.latest = Snapshot(sample.time, ended, sample.seconds, dict(self.counters), dict(self.statistics))
        return sample

    def _collect(self, collector: Collector) -> _Collected:
        return _Collected(self._clock.monotonic(), tuple(collector.collect()))

    def _take(self, collector: Collector, outcome: Outcome[_Collected], sample: Sample) -> None:
        before = self.statistics[collector.name]
        problem = outcome.problem
        collected = outcome.value or _Collected(0.0, ())
        taken = refused = 0
        try:
            for reading in collected.readings:
                if not self._add(collector, reading, collected.at, sample):
                    refused += 1
                taken += 1
        except KeyError as unknown:
            problem = f"it delivers {unknown}, which it has no metric for"
        except ValueError as error:
            problem = f"it delivers {collected.readings[taken]!r:.160}: {error}"
        self.counters[collector.name] = collected.readings[:taken]
        self.statistics[collector.name] = CollectorStatistics(
            runs=before.runs + 1,
            failures=before.failures + 1 if problem else before.failures,
            seconds=outcome.seconds,
            refused=before.refused + refused,
            problem=problem,
        )
        if problem and not before.problem:
            log.warning("collector_failed", extra={"collector": collector.name, "problem": problem})
        elif before.problem and not problem:
            log.info("collector_recovered", extra={"collector": collector.name})

    def _add(self, collector: Collector, reading: Reading, at: float, sample: Sample) -> bool:
        """Puts a reading into the sample; False when its value is refused. A counter's first one has none yet."""
        key, value, device, wraps_at, read_at, incarnation = reading
        name, device_class = collector.name, collector.device_class
        metric = self._metrics[name][key]
        if metric.kind is Kind.RATE:
            series = (name, key, device, incarnation)
            read_at = at if read_at is None else read_at
            rate = self._rates.rate(series, value, read_at, upper=metric.upper, wraps_at=wraps_at, now=at)
            if rate is None:
                return True
            value = rate
        sendable = for_wire(metric, value)
        if sendable is None:
            return False
        if name in self._custom:
            named = metric.name if device is None else f"{metric.name}/{device}"
            sample.devices.setdefault(CUSTOM.key, {})[named] = {CUSTOM.metrics[0].key: sendable}
        elif device_class is None and device is None:
            sample.metrics[key] = sendable
        elif device_class is None or device is None:
            raise ValueError("metrics of a device class need a device, metrics of the node have none")
        else:
            sample.devices.setdefault(device_class.key, {}).setdefault(device, {})[key] = sendable
        return True


def metrics_of(collector: Collector) -> tuple[Metric, ...]:
    """What a collector may deliver."""
    if isinstance(collector, CustomCollector):
        return collector.metrics
    return collector.device_class.metrics if collector.device_class else NODE_METRICS


def time_limit(interval: float) -> float:
    """Gives the seconds a collector may take: half a sample interval, within 0.5 s and 5 s."""
    return min(5.0, max(0.5, interval / 2))


class _Collected(NamedTuple):
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
