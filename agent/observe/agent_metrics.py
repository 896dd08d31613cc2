"""What the agent tells about itself: collectors, delivery, spool, process. For `metrics`."""

from __future__ import annotations

import os
import platform
import threading
import time
from collections.abc import Iterable, Iterator, Mapping

from agent import __version__
from agent.delivery_statistics import LATENCY_BOUNDS, Latencies
from agent.envelopes import Identity
from agent.host import procfs
from agent.observe.exposition import Format, head, number, series
from agent.observe.sources import Sources
from agent.progress import Progress
from agent.sampler import Snapshot
from telemetry import agent_metrics as names
from telemetry.envelope import Resource
from telemetry.prometheus import Family

_PAGE = os.sysconf("SC_PAGESIZE")
_BUILD = {"version": __version__, "python_version": platform.python_version()}
_TARGET_LABELS = {
    "hostname": "host_name",
    "arch": "host_arch",
    "os": "os_type",
    "kernel": "os_kernel_release",
    "agent_version": "service_version",
    "pool": "k8s_nodepool_name",
}
"""The node's constants as envelopes name them -> labels of `target_info`; numbers among them are metrics elsewhere."""

_Values = float | Mapping[str, float]
"""The value of a family's only series, or the values of its only label's values."""


class AgentMetrics:
    """Renders the state of the agent; what has no value yet is left out. Not for several threads at once.

    Heads of families and lines up to their number are made once.
    """

    def __init__(self, sources: Sources, identity: Identity, resource: Resource) -> None:
        self._sources = sources
        target = {
            "k8s_cluster_name": identity.cluster,
            "k8s_node_name": identity.node,
            "service_instance_id": identity.instance,
            "service_name": "devops-monitor-agent",
            **{label: str(resource[key]) for key, label in _TARGET_LABELS.items() if key in resource},
        }
        self._heads = {
            format_: {family.name: head(family, format_) for family in names.AGENT_FAMILIES} for format_ in Format
        }
        self._constant = {
            format_: "".join(
                f"{heads[family.name]}{series(family.series, labels)}1\n"
                for family, labels in ((names.TARGET, target), (names.BUILD, _BUILD))
            )
            for format_, heads in self._heads.items()
        }
        self._lines: dict[tuple[str, str], str] = {}
        """Family and label's value -> line up to its number. Collectors and reasons are few."""

    def render(self, now: float, format_: Format) -> str:
        """Gives the families that have a value, each with its series; `now` is on the monotonic clock."""
        snapshot, progress, heads = self._sources.snapshot(), self._sources.progress(), self._heads[format_]
        parts = [self._constant[format_]]
        for family, values in self._values(snapshot, progress, now):
            parts.append(heads[family.name])
            if isinstance(values, Mapping):
                parts += [f"{self._line(family, label)}{number(value)}\n" for label, value in values.items()]
            else:
                parts.append(f"{family.series} {number(values)}\n")
        parts.append(heads[names.PUBLISH_DURATION.name])
        parts.append(self._histogram(progress.delivery.latencies))
        return "".join(parts)

    def _values(self, snapshot: Snapshot | None, progress: Progress, now: float) -> Iterator[tuple[Family, _Values]]:
        yield names.TICKS_MISSED, self._sources.ticks_missed()
        if snapshot is not None:
            yield from _sampling(snapshot)
        yield from _delivering(progress, now)
        yield from _process()

    def _line(self, family: Family, label: str) -> str:
        line = self._lines.get((family.name, label))
        if line is None:
            line = self._lines[family.name, label] = series(family.series, {family.labels[0]: label})
        return line

    def _histogram(self, latencies: Latencies) -> str:
        name = names.PUBLISH_DURATION.name
        counts = zip((*map(number, LATENCY_BOUNDS), "+Inf"), latencies.cumulative(), strict=True)
        buckets = [f'{name}_bucket{{le="{bound}"}} {count}\n' for bound, count in counts]
        return f"{''.join(buckets)}{name}_count {latencies.count}\n{name}_sum {number(latencies.seconds)}\n"


def _sampling(snapshot: Snapshot) -> Iterator[tuple[Family, _Values]]:
    statistics = snapshot.statistics.items()
    yield names.LAST_SAMPLE, snapshot.time / 1000
    yield names.SAMPLE_DURATION, snapshot.seconds
    yield names.COLLECTOR_UP, {name: int(each.problem is None) for name, each in statistics}
    yield names.COLLECTOR_DURATION, {name: each.seconds for name, each in statistics}
    yield names.COLLECTOR_RUNS, {name: each.runs for name, each in statistics}
    yield names.COLLECTOR_FAILURES, {name: each.failures for name, each in statistics}
    yield names.COLLECTOR_REFUSED, {name: each.refused for name, each in statistics}


def _delivering(progress: Progress, now: float) -> Iterator[tuple[Family, _Values]]:
    delivery = progress.delivery
    yield names.BUILT, progress.built
    yield names.PUBLISHED, delivery.published
    yield names.DROPPED, _by_name(progress.drops.items()) | {"too_large": delivery.too_large}
    yield names.RETRIES, _by_name(delivery.retried.items())
    if delivery.last_publish_ms is not None:
        yield names.LAST_PUBLISH, delivery.last_publish_ms / 1000
    yield names.SPOOL_ENVELOPES, progress.waiting
    yield names.SPOOL_BYTES, progress.waiting_bytes
    yield names.SPOOL_OLDEST_AGE, 0.0 if progress.oldest_since is None else now - progress.oldest_since
    yield names.SPOOL_DISK_FAILING, int(progress.disk_failing)


def _by_name(counts: Iterable[tuple[str, int]]) -> dict[str, int]:
    return {str(reason): count for reason, count in counts}


def _process() -> Iterator[tuple[Family, _Values]]:
    yield names.PROCESS_CPU, time.process_time()
    # Of this process, whatever AGENT_PROCFS is.
    yield names.PROCESS_MEMORY, int(procfs.read("/proc/self/statm").split(maxsplit=2)[1]) * _PAGE
    yield names.PROCESS_THREADS, threading.active_count()
