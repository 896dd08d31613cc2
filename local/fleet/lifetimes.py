"""Which agent process of a node publishes, what number its envelope has, and how wrong the node's clock is.

For local.fleet.model only.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import NamedTuple

from local.fleet.faults import ClockStep, Fault, NodeGone

_UPTIME_MS = 20 * 86_400_000
"""How long nodes have been up at most when the simulation starts."""


class Life(NamedTuple):
    """A node's agent process at the moment it publishes."""

    cluster: str
    instance: str
    seq: int
    since_ms: int
    """It has no samples from before."""
    boot_time: int
    clock_offset_ms: int


class Lifetimes:
    """The agent processes of all nodes: the first begins with the simulation, others when a node comes back."""

    def __init__(self, cluster: str, seed: int, start_ms: int, publish_ms: int, faults: Sequence[Fault]) -> None:
        self._cluster = cluster
        self._seed = seed
        self._start_ms = start_ms
        self._publish_ms = publish_ms
        self._outages = _windows_ms(faults, NodeGone)
        self._steps = _windows_ms(faults, ClockStep)
        self._instances: dict[tuple[int, int], str] = {}

    def at(self, node: int, phase_ms: int, publish: int) -> Life | None:
        """The life that publishes in a round of publishing; None when the node is off."""
        now = phase_ms + publish * self._publish_ms
        since = 0
        for begin, end, _ in self._outages.get(node, ()):
            if begin <= now < end:
                return None
            if end <= now:
                since = max(since, end)
        first = max(-(-(since - phase_ms) // self._publish_ms), 0)
        step = sum(size for begin, end, size in self._steps.get(node, ()) if begin <= now < end)
        instance = self._instance(node, since)
        uptime_ms = 0 if since else int(instance, 16) % _UPTIME_MS
        return Life(
            self._cluster,
            instance,
            publish - first + 1,
            self._start_ms + since,
            (self._start_ms + since - uptime_ms) // 1000,
            round(step * 1000),
        )

    def _instance(self, node: int, since: int) -> str:
        """The start is part of it: a later run of the simulator is another process, not a replay."""
        instance = self._instances.get((node, since))
        if instance is None:
            told = f"{self._cluster}/{self._seed}/{node}/{self._start_ms + since}"
            instance = self._instances[node, since] = blake2b(told.encode(), digest_size=6).hexdigest()
        return instance


def _windows_ms(faults: Sequence[Fault], kind: type[Fault]) -> dict[int, list[tuple[int, int, float]]]:
    """By node: begin and end in ms from the simulation's start, and the magnitude, of all faults of a kind."""
    found: dict[int, list[tuple[int, int, float]]] = {}
    for fault in faults:
        if isinstance(fault, kind):
            begin, end = round(fault.after * 1000), round((fault.after + fault.duration) * 1000)
            for node in fault.nodes:
                found.setdefault(node, []).append((begin, end, fault.magnitude))
    return found
