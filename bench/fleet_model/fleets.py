"""Simulated fleets as the fleet model sees them: rows to train with, and minutes with known faults to be found."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from bench.eval.minute_features import MINUTE_MS, START_MS, SimulatedNodes
from bench.eval.schedule import WITHOUT_METRICS, labels, plan
from functions.core.fleet_model.history import PoolKey, Rows
from local.fleet.pools import pool_of
from telemetry.layout import Floats
from telemetry.tables import FEATURES

DAYS, TRAINED_DAYS = 14, 7
STEP = 15
"""Minutes from row to row of a node, as functions/queries/fleet_history.kql has them."""
DAY = 1440
START_MINUTE = START_MS // MINUTE_MS
AFTER = 15
"""Minutes after a fault in which an incident still counts as its."""
Flags = np.ndarray[Any, np.dtype[np.bool_]]


class Event(NamedTuple):
    """A fault of a node, in minutes of the judged time."""

    kind: str
    node: int
    start: int
    end: int


class Judged(NamedTuple):
    """The second week of a fleet, in which faults are."""

    features: Floats
    """(minutes, nodes, FEATURES)."""
    faulty: Flags
    """(minutes, nodes)."""
    events: list[Event]


class SimulatedFleet:
    """One fleet of a seed; its faults are in the second week, or there are none."""

    def __init__(self, nodes: int, seed: int, *, healthy: bool = False) -> None:
        planned = plan(nodes, DAYS, seed)
        self.nodes = nodes
        faults = tuple(fault for fault in planned.faults if not (healthy and fault.is_fault))
        self._faults = faults
        self._simulated = SimulatedNodes(nodes, seed, range(nodes), faults)
        pools = [("sim", pool_of(node).name) for node in range(nodes)]
        self.names: tuple[PoolKey, ...] = tuple(dict.fromkeys(pools))
        self.pools = np.array([self.names.index(pool) for pool in pools], np.intp)

    def rows(self, first_day: float = 0, last_day: float = TRAINED_DAYS) -> Rows:
        """Rows between two days, one of each node every STEP minutes."""
        times = np.arange(int(first_day * DAY) + 7, int(last_day * DAY), STEP)
        found = np.concatenate([self._simulated.minutes(time, 1).features for time in times.tolist()])
        return self.as_rows(times, found)

    def as_rows(self, times: np.ndarray[Any, Any], features: Floats) -> Rows:
        """Rows of windows (times, nodes, FEATURES) at minutes since the simulation's start, without those of nobody."""
        number = np.tile(np.arange(self.nodes), len(times))
        minutes = START_MINUTE + np.repeat(times, self.nodes)
        rows = Rows(minutes, number, self.pools[number], self.names, features.reshape(-1, len(FEATURES)))
        return rows.where(np.flatnonzero(~np.isnan(rows.features).all(axis=1)))

    def judged(self) -> Judged:
        """Every minute of the second week."""
        first, count = TRAINED_DAYS * DAY, (DAYS - TRAINED_DAYS) * DAY
        features = np.concatenate(
            [self._simulated.minutes(start, 360).features for start in range(first, first + count, 360)]
        )
        faulty = np.zeros((count, self.nodes), np.bool_)
        events = []
        for label in labels(self._faults, DAYS, are_faults=True):
            if label.kind not in WITHOUT_METRICS:
                start, end = int(label.start // 60) - first, int(label.end // 60) - first
                faulty[start:end, label.node] = True
                events.append(Event(label.kind, label.node, start, end))
        return Judged(features, faulty, events)
