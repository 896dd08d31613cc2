"""What the agent tells about itself: collectors, delivery, spool, process. For `metrics`."""

from __future__ import annotations

import os
import platform
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from agent import __version__
from agent.delivery_statistics import LATENCY_BOUNDS
from agent.envelopes import Identity
from agent.observe.exposition import Format, head, number, series
from agent.observe.sources import Sources
from agent.progress import Progress
from agent.sampler import Snapshot
from telemetry import agent_metrics as names
from telemetry.envelope import Resource
from telemetry.prometheus import Family

_Values = Iterable[tuple[Mapping[str, str], float]]
"""Labels -> value."""
_NONE: Mapping[str, str] = {}
_MEMORY = Path("/proc/self/statm")
"""Of this process, whatever AGENT_PROCFS is."""
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


class AgentMetrics:
    """Renders the state of the agent. What has no value yet is left out."""

    def __init__(self, sources: Sources, identity: Identity, resource: Resource) -> None:
        self._sources = sources
        self._target = {
            "k8s_cluster_name": identity.cluster,
            "k8s_node_name": identity.node,
            "service_instance_id": identity.instance,
            "service_name": "devops-monitor-agent",
            **{label: str(resource[key]) for key, label in _TARGET_LABELS.items() if key in resource},
        }

    def render(self, now: float, format_: Format) -> str:
        """Gives the families that have a value, each with its series; `now` is on the monotonic clock."""
        snapshot, progress = self._sources.snapshot(), self._sources.progress()
        written = [_written(names.TARGET, [(self._target, 1)], format_), _written(names.BUILD, [(_BUILD, 1)], format_)]
        values: list[tuple[Family, _Values]] = [(names.TICKS_MISSED, [(_NONE, self._sources.ticks_missed())])]
        if snapshot is not None:
            values += _sampling(snapshot)
        values += _delivering(progress, now)
        written += [_written(family, found, format_) for family, found in values]
        written.append(_histogram(progress, format_))
        written += [_written(family, found, format_) for family, found in _process()]
        return "".join(written)


def _sampling(snapshot: Snapshot) -> Iterator[tuple[Family, _Values]]:
    statistics = [({names.COLLECTOR: name}, each) for name, each in snapshot.statistics.items()]
    yield names.LAST_SAMPLE, [(_NONE, snapshot.time / 1000)]
    yield names.SAMPLE_DURATION, [(_NONE, snapshot.seconds)]
    yield names.COLLECTOR_UP, [(labels, int(each.problem is None)) for labels, each in statistics]
    yield names.COLLECTOR_DURATION, [(labels, each.seconds) for labels, each in statistics]
    yield names.COLLECTOR_RUNS, [(labels, each.runs) for labels, each in statistics]
    yield names.COLLECTOR_FAILURES, [(labels, each.failures) for labels, each in statistics]
    yield names.COLLECTOR_REFUSED, [(labels, each.refused) for labels, each in statistics]


def _delivering(progress: Progress, now: float) -> Iterator[tuple[Family, _Values]]:
    delivery = progress.delivery
    dropped = [(str(reason), count) for reason, count in progress.drops.items()]
    dropped.append(("too_large", delivery.too_large))
    yield names.BUILT, [(_NONE, progress.built)]
    yield names.PUBLISHED, [(_NONE, delivery.published)]
    yield names.DROPPED, [({names.REASON: reason}, count) for reason, count in dropped]
    yield names.RETRIES, [({names.REASON: reason}, count) for reason, count in delivery.retried.items()]
    if delivery.last_publish_ms is not None:
        yield names.LAST_PUBLISH, [(_NONE, delivery.last_publish_ms / 1000)]
    yield names.SPOOL_ENVELOPES, [(_NONE, progress.waiting)]
    yield names.SPOOL_BYTES, [(_NONE, progress.waiting_bytes)]
    yield names.SPOOL_OLDEST_AGE, [(_NONE, 0.0 if progress.oldest_since is None else now - progress.oldest_since)]
    yield names.SPOOL_DISK_FAILING, [(_NONE, int(progress.disk_failing))]


def _process() -> Iterator[tuple[Family, _Values]]:
    yield names.PROCESS_CPU, [(_NONE, time.process_time())]
    yield names.PROCESS_MEMORY, [(_NONE, int(_MEMORY.read_bytes().split()[1]) * _PAGE)]
    yield names.PROCESS_THREADS, [(_NONE, threading.active_count())]


def _histogram(progress: Progress, format_: Format) -> str:
    family, latencies = names.PUBLISH_DURATION, progress.delivery.latencies
    bounds = [*map(number, LATENCY_BOUNDS), "+Inf"]
    lines = [
        f"{series(f'{family.name}_bucket', {'le': bound})}{count}\n"
        for bound, count in zip(bounds, latencies.cumulative(), strict=True)
    ]
    lines.append(f"{family.name}_count {latencies.count}\n{family.name}_sum {number(latencies.seconds)}\n")
    return head(family, format_) + "".join(lines)


def _written(family: Family, values: _Values, format_: Format) -> str:
    return head(family, format_) + "".join(
        [f"{series(family.series, labels)}{number(value)}\n" for labels, value in values]
    )
