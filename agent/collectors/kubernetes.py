"""What each pod of this node uses, as its kubelet says: GET /stats/summary. Optional, since it needs a right.

docs/kubernetes-collector.md has the right, the numbers' meaning and what they cost.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from agent.collector import Host, Reading
from agent.host.kubelet import KubeletClient
from agent.host.kubelet_summary import Pod, read_pods
from telemetry.catalogue import POD

ASK_EVERY = 9.5
"""Seconds. The kubelet reads its pods every 10 to 15 s; a little less than 10, so that no tick comes just too early."""
REMEMBER = 900.0
"""Seconds a pod is remembered unseen: while it waits for its next restart, up to 5 min, the Summary leaves it out."""


class Kubelet(Protocol):
    """Whom the collector asks."""

    def summary(self) -> object:
        """Gives the Summary as JSON has it, or raises why there is none."""


class KubernetesCollector:
    """Reads CPU, memory, traffic, volumes, disk usage and restarts of every pod.

    Asked again within ASK_EVERY it repeats itself: gauges still hold, and counters carry the time the kubelet read
    them, so that the same reading twice is no rate of 0.
    """

    name = "kubernetes"
    device_class = POD

    def __init__(self, kubelet: Kubelet, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._kubelet = kubelet
        self._monotonic = monotonic
        self._restarts = RestartCounter()
        self._asked = 0.0
        self._readings: tuple[Reading, ...] | None = None

    def collect(self) -> Iterable[Reading]:
        """Gives the readings of all pods. Raises KubeletError."""
        now = self._monotonic()
        if self._readings is None or now - self._asked >= ASK_EVERY:
            self._asked, self._readings = now, None
            pods = read_pods(self._kubelet.summary())
            restarts = self._restarts.count(pods, now)
            self._readings = tuple(reading for pod in pods for reading in _readings(pod, restarts[pod.name]))
        return self._readings


class RestartCounter:
    """Counts containers' starts beyond the first that was seen.

    The Summary has no such number, and whoever has it wants the right to list pods. A restart shows as another start
    time of a container; of several between two questions one is seen.
    """

    def __init__(self) -> None:
        self._watched: dict[str, _Watched] = {}

    def count(self, pods: Iterable[Pod], now: float) -> dict[str, int]:
        """Gives each pod's restarts so far, by its name."""
        counts: dict[str, int] = {}
        for pod in pods:
            watched = self._watched.setdefault(pod.uid or pod.name, _Watched())
            watched.seen = now
            for container, started in pod.starts.items():
                if watched.starts.setdefault(container, started) != started:
                    watched.starts[container] = started
                    watched.restarts += 1
            counts[pod.name] = watched.restarts
        for uid in [uid for uid, watched in self._watched.items() if now - watched.seen > REMEMBER]:
            del self._watched[uid]
        return counts

    def __len__(self) -> int:
        """Number of pods remembered."""
        return len(self._watched)


@dataclass(slots=True)
class _Watched:
    starts: dict[str, str] = field(default_factory=dict)
    restarts: int = 0
    seen: float = 0.0


def _readings(pod: Pod, restarts: int) -> Iterator[Reading]:
    for key, value in (("cpu", pod.cpu), ("mem", pod.memory), ("volume", pod.volume), ("storage", pod.storage)):
        if value is not None:
            yield Reading(key, value, pod.name)
    if pod.traffic is not None:
        for key, value in (("rx", pod.traffic.received), ("tx", pod.traffic.sent)):
            if value is not None:
                yield Reading(key, value, pod.name, at=pod.traffic.at, incarnation=pod.uid)
    if pod.starts:
        yield Reading("restarts", restarts, pod.name)


def make(host: Host) -> KubernetesCollector:
    """Makes the collector of this node's pods."""
    # Of the four time limits a collector has, the answer may take three: a busy kubelet takes over a second.
    return KubernetesCollector(KubeletClient(host.kubelet, 3 * host.time_limit))
