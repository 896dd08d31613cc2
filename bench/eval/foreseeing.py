"""The predictive alerts of a fleet: what the function app's forecasts tell of the nodes' levels.

The watch over what runs out is asked as its timer asks it; Log Analytics' answers are made of the nodes' windows, a
point for each quarter of an hour. What counts is what NodeAnomalies_CL then says.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import numpy as np
import orjson

from bench.eval.incidents import Incident
from bench.eval.minute_features import LEVELS, MINUTE_MS
from functions.adapters.memory import MemoryBlobs, MemoryMaintenanceCalendar, MemoryRowSink
from functions.core.forecast.exhaustion_watch import FILESYSTEM_LEVELS, NODE_LEVELS, OPEN_ALARMS, ExhaustionWatch
from functions.core.forecast.level_history import BIN_S
from functions.core.forecast.resources import OF_FILESYSTEMS, OF_NODES
from functions.core.policy.incidents import Phase
from functions.core.ports import Columns
from local.fleet.pools import node_name, pool_of
from telemetry.layout import Floats
from telemetry.tables import NODE_ANOMALIES_TABLE

MINUTES = BIN_S * 1000 // MINUTE_MS
TIMER_AFTER = 5
"""Minutes from the end of a point until the timer of functions/bindings/forecast.py fires."""
_KEPT_MINUTES = 1_440
_OF_NODES = [resource.metric for resource in OF_NODES]
_OF_FILESYSTEMS = [resource.metric for resource in OF_FILESYSTEMS]


class Foreseeing:
    """When something will run out on some nodes."""

    def __init__(self, nodes: Sequence[int]) -> None:
        self._stored = _Stored(nodes)
        self._sink = MemoryRowSink()
        self._place = {node_name(node): place for place, node in enumerate(nodes)}
        self._watch = ExhaustionWatch(self._stored, str, MemoryBlobs(), self._sink, MemoryMaintenanceCalendar())

    def feed(self, minute: int, levels: Floats) -> Iterator[Incident]:
        """Takes (minutes, nodes, LEVELS) from `minute` (since the epoch) on; minutes ascend.

        The first minute begins a point, or ValueError is raised; of a last point that is not whole nothing is said.
        """
        if minute % MINUTES:
            raise ValueError(f"the first minute must begin a point of {MINUTES} minutes, got {minute}")
        points = len(levels) // MINUTES
        self._stored.keep(minute, levels[: points * MINUTES])
        for point in range(1, points + 1):
            at = minute + point * MINUTES + TIMER_AFTER
            self._watch.run(at * MINUTE_MS)
            for row in map(orjson.loads, self._sink.tables.pop(NODE_ANOMALIES_TABLE, [])):
                if row["State"] == Phase.BEGIN:
                    place = self._place[row["Node"]]
                    yield Incident(place, at - 1, row["Kind"], row["Metric"], row["IncidentId"])
            self._sink.tables.clear()


class _Stored:
    """What Log Analytics would answer to the queries about levels."""

    def __init__(self, nodes: Sequence[int]) -> None:
        self._names = [node_name(node) for node in nodes]
        self._pools = [pool_of(node) for node in nodes]
        self._points: dict[int, tuple[Floats, Floats]] = {}
        """By the minute it begins with: lowest and highest of each level, (nodes, LEVELS)."""

    def keep(self, minute: int, levels: Floats) -> None:
        """Stores the points of these minutes, beside those of the day before."""
        self._points = {begin: point for begin, point in self._points.items() if begin >= minute - _KEPT_MINUTES}
        for first in range(0, len(levels), MINUTES):
            of_point = levels[first : first + MINUTES]
            self._points[minute + first] = np.fmin.reduce(of_point, axis=0), np.fmax.reduce(of_point, axis=0)

    def query(self, kql: str, since: datetime, until: datetime) -> Columns:
        """The answer to the query of this name."""
        if kql == OPEN_ALARMS:
            return defaultdict(tuple)  # asked before anything was told: every column is empty
        resources = {NODE_LEVELS: OF_NODES, FILESYSTEM_LEVELS: OF_FILESYSTEMS}[kql]
        names = ["Start", "Cluster", "Node", "Pool", "Device"]
        names += [name for resource in resources for name in (resource.low, resource.high)]
        rows: list[list[object]] = []
        first, last = (int(moment.timestamp()) // 60 for moment in (since, until))
        for minute in range(first, last, MINUTES):
            if minute in self._points:
                rows += self._rows(kql, minute)
        return dict(zip(names, zip(*rows, strict=True) if rows else [()] * len(names), strict=True))

    def _rows(self, kql: str, minute: int) -> Iterator[list[object]]:
        start = datetime.fromtimestamp(minute * 60, UTC)
        low, high = (side.tolist() for side in self._points[minute])
        for place, (name, pool) in enumerate(zip(self._names, self._pools, strict=True)):
            if kql == NODE_LEVELS:
                of_devices = {"": [LEVELS.index(metric) for metric in _OF_NODES]}
            else:
                of_devices = {
                    filesystem.mountpoint: [_nth(metric, number) for metric in _OF_FILESYSTEMS]
                    for number, filesystem in enumerate(pool.filesystems)
                }
            for device, levels in of_devices.items():
                values = [side[place][level] for level in levels for side in (low, high)]
                known = [None if value != value else value for value in values]
                if any(value is not None for value in known):
                    yield [start, "sim", name, pool.name, device, *known]


def _nth(metric: str, number: int) -> int:
    """Where the level of the filesystem of this number is among LEVELS."""
    return [place for place, name in enumerate(LEVELS) if name == metric][number]
