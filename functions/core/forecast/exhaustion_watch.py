"""Foresees from stored rows what will be used up, on every node of the workspace, and tells of it.

Pure but for the ports. Asks for the points of 15 minutes that are over since the last run, in order, has `exhaustion`
look at them, and writes rows; then it remembers. A run that broke off is repeated by the next and makes the same rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np

from functions.core.forecast.exhaustion import Foreseen, update
from functions.core.forecast.exhaustion_answers import Point, Points, alarms_of, points_of
from functions.core.forecast.exhaustion_memory import (
    REMEMBERED,
    Alarm,
    ExhaustionMemory,
    Series,
    decode_exhaustion,
)
from functions.core.forecast.exhaustion_rows import Foresight, alarm_row, end_row, forecast_row
from functions.core.forecast.level_history import BIN_S, levels
from functions.core.forecast.resources import OF_FILESYSTEMS, OF_NODES
from functions.core.forecast.sealed import ForecastStateUnreadable
from functions.core.policy.incidents import Kind, Phase, incident_id
from functions.core.policy.maintenance import MaintenanceWindow, in_maintenance
from functions.core.policy.rules import Severity
from functions.core.ports import History, MaintenanceCalendar, RowSink, VersionedBlobs
from telemetry.errors import HistoryUnavailable
from telemetry.layout import Floats
from telemetry.tables import NODE_ANOMALIES_TABLE, NODE_FORECASTS_TABLE

BLOB = "exhaustion"
NODE_LEVELS, FILESYSTEM_LEVELS, OPEN_ALARMS = "node_levels", "filesystem_levels", "open_exhaustion"
"""The queries it asks, by their names in functions/queries."""
GRACE_S = 240
"""After the end of a point until its rows can be expected to be there."""
ASKED_AT_ONCE = 32
"""Points of one query: eight hours."""
WAITS_FOR = 96
"""Points without any row that are asked for again: a day in which nothing was stored may be stored yet."""
URGENT_S = 4 * 3600
"""An alarm is an error from so little time left on."""
SILENT_POINTS = 24
"""Points that a series with an alarm may be missing until nobody can tell any more."""


class Report(NamedTuple):
    """What a run did."""

    points: int
    """Looked at, of 15 minutes."""
    series: int
    foreseen: int
    """Series that will be used up, by the newest point."""
    alarms: int
    """Open ones."""


class ExhaustionWatch:
    """Looks at all nodes; one run at a time."""

    def __init__(
        self,
        history: History,
        queries: Callable[[str], str],
        blobs: VersionedBlobs,
        sink: RowSink,
        calendar: MaintenanceCalendar,
    ) -> None:
        self._history, self._queries, self._blobs = history, queries, blobs
        self._sink, self._calendar = sink, calendar
        self.problems: list[str] = []
        """What went wrong and was overcome; whoever runs this tells and clears them."""

    def run(self, now_ms: int, has_time: Callable[[], bool] = lambda: True) -> Report:
        """Looks at all points that are over, or as many as there is time for. Raises TransientError."""
        last = (now_ms // 1000 - GRACE_S) // BIN_S - 1
        memory, version = self._load(last)
        first = max(memory.newest + 1, last - REMEMBERED + 1)
        foreseen, looked_at, asked, at_once = 0, 0, False, ASKED_AT_ONCE
        while first <= last and (not asked or has_time()):
            until = min(first + at_once - 1, last)
            try:
                points, asked = self._ask(first, until), True
            except HistoryUnavailable:  # which it also is when the answer would be too large
                if until == first or not has_time():
                    raise
                at_once = (until - first + 1) // 2
                continue
            foreseen = self._look(memory, points, until)
            # What has no rows yet is asked for again, for a while.
            memory.newest = max([*points, memory.newest, until - WAITS_FOR])
            memory.forget()
            version = self._blobs.save(BLOB, memory.encode(), version)
            looked_at += len(points)
            first = until + 1
        return Report(looked_at, len(memory.series), foreseen, len(memory.alarms))

    def _load(self, last: int) -> tuple[ExhaustionMemory, str | None]:
        stored = self._blobs.load(BLOB)
        assert stored is not None
        if stored.blob is not None:
            try:
                return decode_exhaustion(stored.blob), stored.version
            except ForecastStateUnreadable as error:
                self.problems.append(f"levels begin anew: {error}")
        memory = ExhaustionMemory(last - REMEMBERED, last)
        memory.adopt(self._ask_alarms(last))
        return memory, stored.version

    def _ask_alarms(self, last: int) -> dict[Series, Alarm]:
        """Those that were told and never ended: whoever told them has forgotten."""
        since, until = (datetime.fromtimestamp(n * BIN_S, UTC) for n in (last - REMEMBERED, last + 2))
        return alarms_of(self._history.query(self._queries(OPEN_ALARMS), since, until))

    def _ask(self, first: int, until: int) -> Points:
        since, before = (datetime.fromtimestamp(n * BIN_S, UTC) for n in (first, until + 1))
        points: Points = {}
        for name, resources in ((NODE_LEVELS, OF_NODES), (FILESYSTEM_LEVELS, OF_FILESYSTEMS)):
            columns = self._history.query(self._queries(name), since, before)
            for number, series, point in points_of(columns, resources):
                if first <= number <= until:
                    points.setdefault(number, {})[series] = point
        return points

    def _look(self, memory: ExhaustionMemory, points: Points, until: int) -> int:
        """Looks at points in order, writes rows; how many series will be used up by the newest."""
        forecasts: list[bytes] = []
        anomalies: list[bytes] = []
        maintenance: Sequence[MaintenanceWindow] | None = None
        count = 0
        for number in sorted(points):
            found = _learn(memory, number, points[number])
            count = int(found.foreseen.sum())
            if number < memory.tells_from:
                continue
            if maintenance is None:
                maintenance = self._calendar.windows()
            anomalies += _told(memory, number, found, maintenance)
            at_ms = (number + 1) * BIN_S * 1000
            for place in np.flatnonzero(found.foreseen).tolist():
                series = memory.series[place]
                identity = memory.alarms[series].id
                forecasts.append(forecast_row(series, memory.pools[place], at_ms, _foresight(found, place), identity))
        if until >= memory.tells_from:
            anomalies += _ended(memory, until)
        for table, rows in ((NODE_FORECASTS_TABLE, forecasts), (NODE_ANOMALIES_TABLE, anomalies)):
            if rows:
                self._sink.write(table, rows)
        return count


def _learn(memory: ExhaustionMemory, number: int, point: dict[Series, Point]) -> Foreseen:
    memory.admit({series: pool for series, (_, _, pool) in point.items()})
    low: Floats = np.full(len(memory.series), np.nan)
    high = low.copy()
    for series, (lowest, highest, _) in point.items():
        place = memory.places[series]
        low[place], high[place] = lowest, highest
    return update(memory.states, number * BIN_S, low, high, memory.limits)


def _told(
    memory: ExhaustionMemory, number: int, found: Foreseen, maintenance: Sequence[MaintenanceWindow]
) -> Iterator[bytes]:
    """Alarms that begin with a point, or become worse; those that are quiet end."""
    at_ms = (number + 1) * BIN_S * 1000
    for place in np.flatnonzero(found.foreseen).tolist():
        series, pool = memory.series[place], memory.pools[place]
        foresight = _foresight(found, place)
        severity = Severity.ERROR if foresight.seconds < URGENT_S else Severity.WARNING
        suppressed = in_maintenance(maintenance, series.cluster, series.node, pool, at_ms)
        alarm = memory.alarms.get(series)
        if alarm is None:
            identity = incident_id(series.cluster, series.node, Kind.EXHAUSTION, series.metric, series.device, number)
            since_ms = at_ms - round(foresight.age * 1000)
            alarm = memory.alarms[series] = Alarm(identity, pool, since_ms, severity, suppressed)
            yield alarm_row(series, alarm, at_ms, Phase.BEGIN, foresight)
        elif severity > alarm.severity or (alarm.suppressed and not suppressed):
            alarm.severity = max(alarm.severity, severity)
            alarm.suppressed = alarm.suppressed and suppressed
            yield alarm_row(series, alarm, at_ms, Phase.UPDATE, foresight)
    for series, alarm in list(memory.alarms.items()):
        place = memory.places[series]
        if not memory.states["open"][place] and memory.states["bin"][place] >= 0:
            del memory.alarms[series]
            yield end_row(series, alarm, at_ms, _level(memory, place))
    yield from _ended(memory, number)


def _ended(memory: ExhaustionMemory, until: int) -> Iterator[bytes]:
    """Alarms of what was not heard of for hours end."""
    for series, alarm in list(memory.alarms.items()):
        last = max(int(memory.states["bin"][memory.places[series]]), memory.tells_from) + SILENT_POINTS
        if last <= until:
            del memory.alarms[series]
            memory.states["open"][memory.places[series]] = 0
            yield end_row(series, alarm, (last + 1) * BIN_S * 1000, None)


def _foresight(found: Foreseen, place: int) -> Foresight:
    return Foresight(
        float(found.seconds[place]),
        float(found.confidence[place]),
        float(found.level[place]),
        float(found.base[place]),
        float(found.age[place]),
    )


def _level(memory: ExhaustionMemory, place: int) -> float:
    """The newest level of a series, rounded."""
    return round(float(levels(memory.states["raw"][place : place + 1])[0]), 4)
