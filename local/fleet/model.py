"""The fleet: N nodes, their readings at any moment, and the envelopes their agents would publish.

For the simulator's command line, benchmarks and tests. A model holds no state that moves: readings and envelopes are
functions of (seed, node, time), so iterating twice gives the same envelopes, and a fleet of ten nodes is the first
ten of a fleet of a thousand.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count
from typing import NamedTuple

import numpy as np

from local.fleet.causes import Group, causes_of
from local.fleet.device_metrics import device_metrics
from local.fleet.envelope_assembly import Columns, assemble, round_columns
from local.fleet.faults import Fault, Label
from local.fleet.lifetimes import Lifetimes
from local.fleet.node_metrics import node_metrics
from local.fleet.noise import Floats, Integers, Noise
from local.fleet.pools import Pool, node_name, pool_of
from telemetry.envelope import Envelope, encode

_GOLDEN_SECTION = 0.6180339887498949
"""Multiples of it, modulo 1, fill an interval evenly however many there are."""
_COHORTS = 30
"""Into how many parts of a publish interval the nodes are grouped for computing; more is smoother, fewer is faster."""


class Due(NamedTuple):
    """An envelope, and when its agent publishes it."""

    at_ms: int
    envelope: Envelope


class Readings(NamedTuple):
    """Unrounded: (nodes, times) by metric, (nodes, devices, times) by device class and metric.

    Without uptime, which is the node's life's and not a reading; only its envelopes have it.
    """

    metrics: dict[str, Floats]
    devices: dict[str, dict[str, Floats]]


class FleetModel:
    """`nodes` nodes of a cluster under a seed, from `start_ms` on, with faults."""

    def __init__(
        self,
        nodes: int,
        seed: int = 1,
        *,
        start_ms: int,
        cluster: str = "sim",
        sample_interval: float = 10.0,
        publish_interval: float = 30.0,
        faults: Sequence[Fault] = (),
    ) -> None:
        self.nodes = nodes
        self.start_ms = start_ms
        self.faults = tuple(faults)
        self._seed = seed
        self._sample_ms = round(sample_interval * 1000)
        self._publish_ms = round(publish_interval * 1000)
        self._samples = self._publish_ms // self._sample_ms
        self._lifetimes = Lifetimes(cluster, seed, start_ms, self._publish_ms, self.faults)
        self._parts = self._divide()

    def readings(self, nodes: Sequence[int], time_ms: Integers) -> Readings:
        """The readings of nodes of one pool; `time_ms` has shape (nodes, times)."""
        return self._readings(pool_of(nodes[0]), nodes, Noise(self._seed, nodes), time_ms)

    def envelopes(self, until_ms: int | None = None) -> Iterator[Due]:
        """Every envelope that is published up to `until_ms` (None: without end), in the order of publishing."""
        for publish in count():
            for cohort in self._parts:
                due = [due for part in cohort for due in self._publish(part, publish)]
                due.sort(key=lambda one: one.at_ms)
                for one in due:
                    if until_ms is not None and one.at_ms > until_ms:
                        return
                    yield one
            if until_ms is not None and self.start_ms + publish * self._publish_ms > until_ms:
                return

    def encoded(self, until_ms: int) -> Iterator[tuple[str, bytes]]:
        """The same as (node, bytes as they go to Event Hubs)."""
        for due in self.envelopes(until_ms):
            yield due.envelope.node, encode(due.envelope)

    def labels(self, until_ms: int) -> list[Label]:
        """The ground truth: what happens to which node from when to when, if it begins before `until_ms`."""
        until = (until_ms - self.start_ms) / 1000
        return [label for fault in self.faults for label in fault.labels(self.start_ms, until)]

    def active_faults(self, at_ms: int) -> list[str]:
        """Names of the faults and events that some node has at a moment."""
        elapsed = (at_ms - self.start_ms) / 1000
        return sorted({fault.name for fault in self.faults if fault.is_active(elapsed)})

    def _divide(self) -> list[list[_Part]]:
        """Groups nodes by when in a publish interval they publish (cohorts), and within that by pool (parts)."""
        cohorts: list[dict[str, list[int]]] = [{} for _ in range(_COHORTS)]
        phases = {node: self._phase_ms(node) for node in range(self.nodes)}
        for node, phase in phases.items():
            cohort = cohorts[(phase - 1) * _COHORTS // self._publish_ms]
            cohort.setdefault(pool_of(node).name, []).append(node)
        return [
            [
                _Part(
                    pool_of(nodes[0]),
                    nodes,
                    [node_name(node) for node in nodes],
                    np.array([phases[node] for node in nodes]),
                    Noise(self._seed, nodes),
                )
                for nodes in cohort.values()
            ]
            for cohort in cohorts
            if cohort
        ]

    def _phase_ms(self, node: int) -> int:
        """When in the publish interval a node publishes, 1 ms to the whole interval."""
        return 1 + int((node + 1) * _GOLDEN_SECTION % 1.0 * self._publish_ms)

    def _publish(self, part: _Part, publish: int) -> Iterator[Due]:
        """The envelopes of a part's nodes in one round of publishing."""
        at_ms = self.start_ms + part.phases_ms + publish * self._publish_ms
        lives = [
            self._lifetimes.at(node, phase, publish)
            for node, phase in zip(part.nodes, part.phases_ms.tolist(), strict=True)
        ]
        if not any(lives):
            return
        time_ms = at_ms[:, None] + np.arange(1 - self._samples, 1) * self._sample_ms
        columns = self._columns(part, time_ms)
        times = time_ms.tolist()
        for row, life in enumerate(lives):
            if life is not None:
                envelope = assemble(columns, row, times[row], part.pool, part.names[row], life)
                yield Due(times[row][-1], envelope)

    def _columns(self, part: _Part, time_ms: Integers) -> Columns:
        readings = self._readings(part.pool, part.nodes, part.noise, time_ms)
        return round_columns(readings.metrics, readings.devices, part.pool)

    def _readings(self, pool: Pool, nodes: Sequence[int], noise: Noise, time_ms: Integers) -> Readings:
        elapsed = (time_ms - self.start_ms) / 1000.0
        group = Group(pool, nodes, noise, time_ms, time_ms / 1000.0, elapsed, self._sample_ms / 1000.0)
        causes = causes_of(group)
        for fault in self.faults:
            fault.disturb(causes, group)
        return Readings(node_metrics(group, causes), device_metrics(group, causes))


class _Part(NamedTuple):
    """Nodes of one pool that publish at nearly the same moment."""

    pool: Pool
    nodes: list[int]
    names: list[str]
    phases_ms: Integers
    noise: Noise
