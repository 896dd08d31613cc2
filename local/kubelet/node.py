"""A node that never was, and what its kubelet would say of it: a Summary of any number of pods. For the service.

Everything is a function of the time: two questions within ten seconds get the same numbers, counters grow as the
rates say, and a node of the same seed and start is the same node.
"""

from __future__ import annotations

import math
import random
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

HOUSEKEEPING = 10.0
"""Seconds from one reading of a cgroup to the next (cAdvisor's)."""
VOLUMES_EVERY = 60.0
"""Seconds from one reading of volumes to the next."""
DISK = 128 * 2**30
MEMORY = 32 * 2**30

_WAVE = 600.0
_NAMES = ("cart", "checkout", "payment", "catalog", "search", "session", "mail", "quote", "stock", "report")
_NAMESPACES = ("shop", "backoffice", "monitoring")

Json = dict[str, Any]


@dataclass(frozen=True)
class _Counter:
    """Something that grows by `rate` a second, and up to half more or less in a wave of ten minutes."""

    rate: float
    phase: float

    def total(self, since: float, until: float) -> int:
        """What was added between two times."""
        swing = 0.5 * _WAVE / math.tau
        waves = math.cos(math.tau * since / _WAVE + self.phase) - math.cos(math.tau * until / _WAVE + self.phase)
        return max(0, round(self.rate * (until - since + swing * waves)))


@dataclass(frozen=True)
class _Pod:
    """One place for a pod. Which pod is in it changes every `lifetime` seconds, if that is given."""

    index: int
    seed: int
    born: float
    lifetime: float | None
    """Of one pod; a StatefulSet's successor has the same name and another UID."""
    restarts_every: float | None
    host_network: bool
    claim: bool

    @cached_property
    def traits(self) -> random.Random:
        return random.Random(f"{self.seed}/{self.index}")

    def uid(self, now: float) -> str:
        return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{self.seed}/{self.index}/{self.generation(now)}"))

    def generation(self, now: float) -> int:
        return 0 if self.lifetime is None else max(0, math.floor((now - self.born) / self.lifetime))

    def started(self, now: float) -> float:
        return self.born if self.lifetime is None else self.born + self.generation(now) * self.lifetime


class SimulatedNode:
    """So many pods: one in ten of the host's network, one in ten of a StatefulSet with a claimed volume.

    With `churn`, the StatefulSets' pods are replaced every so many seconds; with `crash_every`, one pod in ten
    restarts its container every so many seconds.
    """

    def __init__(
        self,
        pods: int,
        *,
        started: float,
        seed: int = 0,
        churn: float | None = None,
        crash_every: float | None = None,
    ) -> None:
        self._name = f"aks-pool1-{seed:08d}-vmss000000"
        self._seed = seed
        self._booted = started - 30 * 86_400
        self._pods = [
            _Pod(
                index,
                seed,
                started - random.Random(f"{seed}/{index}/age").uniform(3_600, 20 * 86_400),
                churn if index % 10 == 1 else None,
                crash_every if index % 10 == 2 else None,
                host_network=index % 10 == 0,
                claim=index % 10 == 1,
            )
            for index in range(pods)
        ]

    def summary(self, now: float) -> Json:
        """What the kubelet would answer at an epoch time."""
        return {"node": self._node(now), "pods": [self._pod(pod, now) for pod in self._pods]}

    def _node(self, now: float) -> Json:
        at = _read_at(now, 0.0)
        return {
            "nodeName": self._name,
            "systemContainers": [
                {"name": name, "startTime": _text(self._booted), **self._usage(cpu, memory, 0.0, self._booted, at)}
                for name, cpu, memory in (
                    ("kubelet", 0.04, 120 * 2**20),
                    ("runtime", 0.03, 180 * 2**20),
                    ("pods", 1.8, 9 * 2**30),
                )
            ],
            "startTime": _text(self._booted),
            **self._usage(2.1, 11 * 2**30, 0.0, self._booted, at, limit=MEMORY),
            "network": self._node_network(at),
            "fs": _filesystem(now, 41 * 2**30, DISK, 900_000),
            "runtime": {"imageFs": _filesystem(now, 23 * 2**30, DISK, 700_000)},
            "rlimit": {"time": _text(now), "maxpid": 4_194_304, "curproc": 900 + len(self._pods) * 4},
        }

    def _node_network(self, at: float) -> Json:
        ends = [f"azv{pod.uid(at)[:11].replace('-', '')}" for pod in self._pods if not pod.host_network]
        eth0 = self._interface("eth0", 9e6, 4e6, 0.0, self._booted, at)
        return {
            "time": _text(at),
            **eth0,
            "interfaces": [eth0, *(self._interface(end, 2e4, 1e4, 1.0, self._booted, at) for end in ends)],
        }

    def _pod(self, pod: _Pod, now: float) -> Json:
        traits = random.Random(f"{self._seed}/{pod.index}/traits")
        name = _NAMES[pod.index % len(_NAMES)]
        namespace = "kube-system" if pod.host_network else _NAMESPACES[pod.index % len(_NAMESPACES)]
        phase, cpu, memory = traits.uniform(0, 10), traits.uniform(0.002, 0.2), traits.randint(20, 400) * 2**20
        receive, transmit = traits.uniform(1e3, 1e5), traits.uniform(1e3, 1e5)
        suffix = f"{pod.index}" if pod.claim else f"{traits.getrandbits(36):09x}-{traits.getrandbits(20):05x}"
        at, started = _read_at(now, phase), pod.started(now)
        containers = ["main", "proxy"] if pod.index % 3 == 0 else ["main"]
        stats: Json = {
            "podRef": {"name": f"{name}-{suffix}", "namespace": namespace, "uid": pod.uid(now)},
            "startTime": _text(started),
            "containers": [
                self._container(pod, container, cpu / len(containers), memory // len(containers), phase, now)
                for container in containers
            ],
            **self._usage(cpu, memory, phase, started, at, limit=2 * memory),
            "volume": list(self._volumes(pod, now)),
            "ephemeral-storage": _filesystem(now, traits.randint(1, 900) * 2**18, DISK, 40),
            "process_stats": {"process_count": 3 * len(containers)},
        }
        if pod.host_network:
            stats["network"] = self._node_network(at)
        else:
            eth0 = self._interface("eth0", receive, transmit, phase, started, at)
            stats["network"] = {"time": _text(at), **eth0, "interfaces": [eth0]}
        return stats

    def _container(self, pod: _Pod, name: str, cpu: float, memory: int, phase: float, now: float) -> Json:
        started = pod.started(now)
        if pod.restarts_every and name == "main":
            started = max(started, now - now % pod.restarts_every)
        return {
            "name": name,
            "startTime": _text(started),
            **self._usage(cpu, memory, phase, started, max(started, _read_at(now, phase + 3))),
            "rootfs": _filesystem(now, 60 * 2**10, DISK, 15),
            "logs": _filesystem(now, 3 * 2**20, DISK, 2),
            "swap": {"time": _text(now), "swapUsageBytes": 0},
        }

    def _volumes(self, pod: _Pod, now: float) -> Iterator[Json]:
        at = now - now % VOLUMES_EVERY
        yield {**_filesystem(at, 12 * 2**10, 2**31, 9), "name": f"kube-api-access-{pod.index:05x}"}
        yield {**_filesystem(at, 4 * 2**10, DISK, 3), "name": "config"}
        if pod.claim:
            size = 8 * 2**30
            used = min(size, round(size * (0.2 + 0.6 * ((now - pod.born) % 86_400) / 86_400)))
            # A twentieth is kept for root, as ext4 does.
            yield {
                **_filesystem(at, used, size, 120),
                "availableBytes": max(0, size - size // 20 - used),
                "name": "data",
                "pvcRef": {"name": f"data-{pod.index}", "namespace": _NAMESPACES[pod.index % len(_NAMESPACES)]},
            }

    def _usage(
        self, cpu: float, memory: int, phase: float, started: float, at: float, *, limit: int | None = None
    ) -> Json:
        counter = _Counter(cpu * 1e9, phase)
        working_set = round(memory * (1 + 0.1 * math.sin(math.tau * at / _WAVE + phase)))
        used: Json = {"time": _text(at), "usageCoreNanoSeconds": counter.total(started, at), "psi": _PSI}
        if at - started >= HOUSEKEEPING:  # before the second reading there is no window
            used["usageNanoCores"] = round(counter.total(at - HOUSEKEEPING, at) / HOUSEKEEPING)
        room = {} if limit is None else {"availableBytes": max(0, limit - working_set)}
        return {
            "cpu": used,
            "memory": {
                "time": _text(at),
                **room,
                "usageBytes": round(working_set * 1.2),
                "workingSetBytes": working_set,
                "rssBytes": round(working_set * 0.8),
                "pageFaults": counter.total(started, at) // 10**6,
                "majorPageFaults": 3,
                "psi": _PSI,
            },
        }

    def _interface(self, name: str, receive: float, transmit: float, phase: float, started: float, at: float) -> Json:
        return {
            "name": name,
            "rxBytes": _Counter(receive, phase).total(started, max(started, at)),
            "rxErrors": 0,
            "txBytes": _Counter(transmit, phase + 1).total(started, max(started, at)),
            "txErrors": 0,
        }


_PSI = {name: {"total": 0, "avg10": 0, "avg60": 0, "avg300": 0} for name in ("full", "some")}


def _read_at(now: float, phase: float) -> float:
    return now - (now - phase) % HOUSEKEEPING


def _text(epoch: float) -> str:
    """As the kubelet writes times: whole seconds, UTC."""
    return datetime.fromtimestamp(math.floor(epoch), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _filesystem(at: float, used: int, capacity: int, inodes: int) -> Json:
    return {
        "time": _text(at),
        "availableBytes": max(0, capacity * 3 // 4 - used),
        "capacityBytes": capacity,
        "usedBytes": used,
        "inodesFree": 16_000_000 - inodes,
        "inodes": 16_000_000,
        "inodesUsed": inodes,
    }
