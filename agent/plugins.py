"""Loads third-party collectors and keeps them from doing harm. For the registry.

A plug-in is an entry point of the group `devops_monitor.collectors`, whose object makes a collector from a `Host`:
see docs/add-a-collector.md. Whatever a stranger's code does must not cost the node's own metrics.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from importlib.metadata import EntryPoint, EntryPoints, distributions

from agent.collector import Collector, CustomCollector, Host, Reading
from agent.time_limits import TimeLimitedRuns
from telemetry.catalogue import CUSTOM, DEVICE_CLASSES, DeviceClass, Metric

log = logging.getLogger(__name__)

GROUP = "devops_monitor.collectors"
"""Entry point group of third-party collectors."""
MAX_READINGS = 10_000
"""Of one collector in one sample; the busiest built-in one delivers a tenth of that."""
MAKE_SECONDS = 10.0
"""How long importing and making one collector may take."""

_METRIC_NAME = re.compile(r"[a-z][a-z0-9_]*(\.[a-z0-9_]+)+")
MAX_METRIC_NAME = 120


def names() -> frozenset[str]:
    """Names of the third-party collectors that are installed."""
    return frozenset(point.name for point in _entry_points())


def make_plugins(wanted: Sequence[str], host: Host) -> list[Collector]:
    """Makes third-party collectors, in order. One that cannot be used is named in the log and left out."""
    runs: TimeLimitedRuns[Collector] = TimeLimitedRuns(MAKE_SECONDS, "plug-ins")
    outcomes = runs.run({name: partial(_make, name, host) for name in wanted})
    made: list[Collector] = []
    for name, outcome in outcomes.items():
        problem = outcome.problem or _clash(outcome.value, made)
        if problem:
            advice = "it is left out; correct or remove it, or take its name out of AGENT_COLLECTORS"
            log.error("collector_unusable", extra={"collector": name, "problem": problem, "consequence": advice})
        elif outcome.value is not None:
            made.append(outcome.value)
    return made


class Plugin:
    """A third-party collector whose readings are checked one by one: what the sampler gets is what it can work with."""

    def __init__(self, name: str, collector: Collector) -> None:
        self.name = name
        self.device_class: DeviceClass | None = getattr(collector, "device_class", None)
        self._collector = collector

    def collect(self) -> Iterator[Reading]:
        """Yields the collector's readings.

        Raises TypeError at what is none, OverflowError at a number that is too large, ValueError at too many of them.
        """
        for number, reading in enumerate(self._collector.collect()):
            if number == MAX_READINGS:
                raise ValueError(f"it delivers more than {MAX_READINGS} readings")
            yield _checked(reading)


class CustomPlugin(Plugin):
    """A third-party collector with metrics of its own."""

    def __init__(self, name: str, collector: Collector, metrics: Iterable[Metric]) -> None:
        super().__init__(name, collector)
        self.metrics = tuple(metrics)


def _entry_points() -> Iterator[EntryPoint]:
    """Finds all collectors that are offered, and names distributions whose own description cannot be read."""
    found: dict[str, EntryPoints] = {}
    for distribution in distributions():
        try:
            found.setdefault(distribution.name, distribution.entry_points)  # the first of a name is what is imported
        except Exception as error:
            place = str(distribution.locate_file(""))
            problem = f"entry points of a distribution cannot be read: {type(error).__name__}: {error}"[:300]
            log.error("distribution_unusable", extra={"place": place, "problem": problem})
    for entry_points in found.values():
        yield from entry_points.select(group=GROUP)


def _make(name: str, host: Host) -> Collector:
    """Loads one collector; raises TypeError or ValueError for what the sampler could not work with."""
    points = [point for point in _entry_points() if point.name == name]
    if len(points) != 1:
        raise ValueError(f"one distribution must offer it, got {len(points)}: {_distributions(points)}")
    collector = points[0].load()(host)
    if collector.name != name:
        raise ValueError(f"its name must be that of its entry point, {name!r}, got {collector.name!r:.80}")
    if not callable(getattr(collector, "collect", None)):
        raise TypeError("it must have a method collect()")
    metrics = collector.metrics if isinstance(collector, CustomCollector) else None
    if metrics is not None:
        _check_metrics(metrics)
        return CustomPlugin(name, collector, metrics)
    device_class = getattr(collector, "device_class", None)
    if device_class is not None and device_class not in DEVICE_CLASSES:
        raise TypeError(f"device_class must be None or one of telemetry.catalogue, got {device_class!r:.80}")
    return Plugin(name, collector)


def _check_metrics(metrics: Sequence[Metric]) -> None:
    for metric in metrics:
        if not isinstance(metric, Metric):
            raise TypeError(f"metrics must be telemetry.catalogue.Metric, got {metric!r:.80}")
        if not _METRIC_NAME.fullmatch(metric.name) or len(metric.name) > MAX_METRIC_NAME:
            raise ValueError(
                "names of metrics must be lower case and begin with the owner's domain, like acme.gpu.utilization, "
                f"at most {MAX_METRIC_NAME} characters; got {metric.name!r:.160}"
            )
        if not 0 < metric.upper <= CUSTOM.metrics[0].upper:
            raise ValueError(f"{metric.name}: upper must be above 0 and at most 2^60, got {metric.upper!r:.80}")
    for what, values in (("keys", [m.key for m in metrics]), ("names", [m.name for m in metrics])):
        if len(set(values)) < len(values):
            raise ValueError(f"each metric must have a key and a name of its own, got the {what} {values!r:.160}")


def _clash(plugin: Collector | None, made: Sequence[Collector]) -> str | None:
    """Says which metric another plug-in delivers already: two under one name would overwrite each other."""
    mine = _metric_names(plugin)
    for other in made:
        if both := sorted(mine & _metric_names(other)):
            return f"its metrics {', '.join(both)} are the collector {other.name}'s already"
    return None


def _metric_names(plugin: Collector | None) -> frozenset[str]:
    return frozenset(metric.name for metric in plugin.metrics) if isinstance(plugin, CustomPlugin) else frozenset()


def _checked(reading: object) -> Reading:
    if (
        not isinstance(reading, Reading)
        or not isinstance(reading.key, str)
        or not isinstance(reading.value, int | float)
        or not isinstance(reading.device, str | None)
        or not isinstance(reading.wraps_at, int | float | None)
        or not isinstance(reading.at, int | float | None)
        or not isinstance(reading.incarnation, str | None)
    ):
        raise TypeError(f"it must deliver agent.collector.Reading(str, number, str or None), got {reading!r:.160}")
    float(reading.value)  # raises OverflowError at a whole number that is none
    return reading


def _distributions(points: Iterable[EntryPoint]) -> str:
    return ", ".join(sorted(point.dist.name if point.dist else "?" for point in points)) or "none"
