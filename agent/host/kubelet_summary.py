"""Reads a kubelet's Summary (stats/v1alpha1): what each pod uses. Pure; for the kubernetes collector.

Every field may be absent: pods just started have no numbers yet, pods of the host's network have no network of
their own, and what a container runtime or an operating system does not count is left out by the kubelet.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, cast

from agent.host.kubelet import KubeletError

_LARGEST = 2**64
"""The kubelet's numbers are 64-bit ones."""
_IN_EVERY_NAMESPACE = frozenset(
    {"lo", "sit0", "tunl0", "gre0", "gretap0", "erspan0", "ip_vti0", "ip6_vti0", "ip6tnl0", "ip6gre0"}
)
"""Interfaces the kernel puts into each network namespace unasked, once their module is loaded."""
_SAME_COUNTER = 0.01
"""Two readings of one counter, up to 15 s apart, differ by less than this share once a node is some minutes old."""

Json = dict[str, Any]


class Traffic(NamedTuple):
    """What a pod has received and sent since it started, over its default interface."""

    received: float | None
    sent: float | None
    at: float | None
    """When the kubelet read them, epoch seconds by its clock; whole ones, as it writes them."""


class Pod(NamedTuple):
    """What one pod uses; None is what the kubelet does not say."""

    name: str
    """namespace/name."""
    uid: str
    cpu: float | None
    """CPUs in use, mean of the kubelet's own window of some 10 s."""
    memory: float | None
    """Working set in bytes."""
    traffic: Traffic | None
    volume: float | None
    """Used share of its fullest volume."""
    storage: float | None
    """Bytes of the node's disk: writable layers, logs, emptyDir volumes."""
    starts: dict[str, str]
    """When each of its containers was started."""


def read_pods(summary: object) -> list[Pod]:
    """Gives the pods of a Summary, ordered by name. Raises KubeletError where it is not what it should be.

    Two pods can have one name while one takes the other's place: the younger one is it.
    """
    if not isinstance(summary, dict):
        raise _wrong(("the document",), "an object", summary)
    node = _object(summary, "node", ()) or {}
    node_network = _NodeNetwork.read(_object(node, "network", ("node",)) or {})
    youngest: dict[str, tuple[str, Pod]] = {}
    for index, stats in enumerate(_objects(summary, "pods", ())):
        pod = _pod(stats, node_network, (f"pods[{index}]",))
        started = _text(stats, "startTime", (f"pods[{index}]",)) or ""
        if pod.name not in youngest or youngest[pod.name][0] <= started:
            youngest[pod.name] = started, pod
    return [pod for _, (_, pod) in sorted(youngest.items())]


@dataclass(frozen=True, slots=True)
class _NodeNetwork:
    """The node's own interfaces, to tell pods that use them."""

    names: frozenset[str]
    received: float | None
    sent: float | None

    @classmethod
    def read(cls, network: Json) -> _NodeNetwork:
        at = ("node", "network")
        return cls(_interfaces(network, at), _number(network, "rxBytes", at), _number(network, "txBytes", at))

    def is_that_of(self, names: frozenset[str], traffic: Traffic) -> bool:
        """Whether a pod of the host's network is given the node's own traffic, as kubelets do.

        It is where both have the same several interfaces. Of one interface each, the names say nothing (eth0 is
        everybody's): then it is where the counters are the same too.
        """
        if not names or names != self.names:
            return False
        return len(names) > 1 or (
            _same_counter(traffic.received, self.received) and _same_counter(traffic.sent, self.sent)
        )


def _pod(stats: Json, node_network: _NodeNetwork, at: tuple[str, ...]) -> Pod:
    reference = _object(stats, "podRef", at) or {}
    namespace, name = _text(reference, "namespace", (*at, "podRef")), _text(reference, "name", (*at, "podRef"))
    if not namespace or not name:
        raise _wrong((*at, "podRef"), "a namespace and a name", reference)
    containers = list(_objects(stats, "containers", at))
    nano_cpus = _usage(stats, containers, "cpu", "usageNanoCores", at)
    storage = _object(stats, "ephemeral-storage", at) or {}
    return Pod(
        name=f"{namespace}/{name}",
        uid=_text(reference, "uid", (*at, "podRef")) or "",
        cpu=None if nano_cpus is None else nano_cpus / 1e9,
        memory=_usage(stats, containers, "memory", "workingSetBytes", at),
        traffic=_traffic(_object(stats, "network", at), node_network, (*at, "network")),
        volume=max(_fullness(stats, at), default=None),
        storage=_number(storage, "usedBytes", (*at, "ephemeral-storage")),
        starts=_starts(containers, at),
    )


def _usage(stats: Json, containers: list[Json], resource: str, key: str, at: tuple[str, ...]) -> float | None:
    """The pod's own number; of a kubelet that has none for pods, the sum, if no container's is missing."""
    found = _number(_object(stats, resource, at) or {}, key, (*at, resource))
    if found is not None or not containers:
        return found
    parts = [
        _number(_object(each, resource, (*at, "containers")) or {}, key, (*at, "containers", resource))
        for each in containers
    ]
    known = [part for part in parts if part is not None]
    return sum(known) if len(known) == len(parts) else None


def _traffic(network: Json | None, node_network: _NodeNetwork, at: tuple[str, ...]) -> Traffic | None:
    if network is None:
        return None
    traffic = Traffic(_number(network, "rxBytes", at), _number(network, "txBytes", at), _time(network, at))
    if node_network.is_that_of(_interfaces(network, at), traffic):
        return None
    return traffic


def _interfaces(network: Json, at: tuple[str, ...]) -> frozenset[str]:
    """Names of interfaces; of a kubelet that lists none, its default one."""
    listed = _objects(network, "interfaces", at) or [network]
    at = (*at, "interfaces")
    return frozenset(name for each in listed if (name := _text(each, "name", at))) - _IN_EVERY_NAMESPACE


def _same_counter(one: float | None, other: float | None) -> bool:
    return one is not None and other is not None and abs(one - other) <= _SAME_COUNTER * max(one, other)


def _fullness(stats: Json, at: tuple[str, ...]) -> Iterator[float]:
    """The used share of each volume.

    A claimed volume is a file system of its own: what ordinary users can still have counts, as df counts it. Other
    volumes share the node's disk or memory: how full that is, is the node's metric.
    """
    at = (*at, "volume")
    for volume in _objects(stats, "volume", at[:-1]):
        used, capacity = _number(volume, "usedBytes", at), _number(volume, "capacityBytes", at)
        if _object(volume, "pvcRef", at) is not None:
            available = _number(volume, "availableBytes", at)
            capacity = None if used is None or available is None else used + available
        if used is not None and capacity:
            yield used / capacity


def _starts(containers: list[Json], at: tuple[str, ...]) -> dict[str, str]:
    at = (*at, "containers")
    starts: dict[str, str] = {}
    for container in containers:
        name, started = _text(container, "name", at), _text(container, "startTime", at)
        if name and started:
            starts[name] = max(started, starts.get(name, ""))
    return starts


def _time(stats: Json, at: tuple[str, ...]) -> float | None:
    text = _text(stats, "time", at)
    if text is None:
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        time = None
    if time is None or time.tzinfo is None:
        raise _wrong((*at, "time"), "a time with its zone, as 2026-11-01T00:00:00Z", text)
    return time.timestamp()


def _object(parent: Json, key: str, at: tuple[str, ...]) -> Json | None:
    value = parent.get(key)
    if value is None or isinstance(value, dict):
        return value
    raise _wrong((*at, key), "an object", value)


def _objects(parent: Json, key: str, at: tuple[str, ...]) -> list[Json]:
    value = parent.get(key)
    if value is None:
        return []
    if isinstance(value, list) and all(isinstance(each, dict) for each in value):
        return value
    raise _wrong((*at, key), "a list of objects", value)


def _text(parent: Json, key: str, at: tuple[str, ...]) -> str | None:
    value = parent.get(key)
    if value is None or isinstance(value, str):
        return value
    raise _wrong((*at, key), "a text", value)


def _number(parent: Json, key: str, at: tuple[str, ...]) -> float | None:
    value = parent.get(key)
    if value is None or (type(value) in (int, float) and 0 <= value < _LARGEST):
        return cast("float | None", value)
    raise _wrong((*at, key), "a number from 0 to 2^64", value)


def _wrong(path: tuple[str, ...], right: str, found: object) -> KubeletError:
    return KubeletError(
        f"the kubelet's Summary is not as it should be: {'.'.join(path)} must be {right}, got {found!r:.60}"
    )
