"""Forecasts hourly what every node pool will need in the next 24 h, from its stored rows, and tells it.

Pure but for the ports. What is known of the last two weeks is kept, so that an hour asks for two hours of rows and not
for two weeks; the newest forecasts are kept apart for the capacity endpoint. A run that broke off is repeated by the
next and makes rows of the same keys.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import numpy as np
import orjson

from functions.core.forecast.day_ahead import DAY, HISTORY, STEP_S, DayAhead, day_ahead
from functions.core.forecast.demand_memory import (
    MEASURES,
    METRICS,
    DemandHistory,
    PoolForecast,
    PoolForecasts,
    PoolKey,
    decode_forecasts,
    decode_history,
    step_of,
)
from functions.core.forecast.sealed import ForecastStateUnreadable
from functions.core.ports import Columns, History, RowSink, VersionedBlobs
from functions.core.rows import timestamp
from telemetry.errors import HistoryUnavailable
from telemetry.tables import NODE_FORECASTS_TABLE

HISTORY_BLOB, FORECASTS_BLOB = "pool-history", "pool-forecasts"
POOL_DEMAND = "pool_demand"
"""The query it asks, by its name in functions/queries."""
HOUR_S = 3600
GRACE_S = 240
"""After the end of an hour until its rows can be expected to be there."""
ASKED_AGAIN = HOUR_S // STEP_S
"""Steps that are asked for again: rows may have come late."""
ASKED_AT_ONCE = 2 * DAY
"""Steps of one query."""
_TOLD_STEPS = 3
"""Rows are of 15 minutes each."""


class DemandForecast:
    """Forecasts all pools; one run at a time."""

    def __init__(self, history: History, queries: Callable[[str], str], blobs: VersionedBlobs, sink: RowSink) -> None:
        self._history, self._queries, self._blobs, self._sink = history, queries, blobs, sink
        self.problems: list[str] = []
        """What went wrong and was overcome; whoever runs this tells and clears them."""

    def run(self, now_ms: int) -> PoolForecasts | None:
        """Forecasts from the newest full hour on; None if that is done already. Raises TransientError."""
        at_s = (now_ms // 1000 - GRACE_S) // HOUR_S * HOUR_S
        forecasts, forecasts_version = self._load_forecasts()
        if forecasts is not None and forecasts.at_s >= at_s:
            return None
        past, past_version = self._load_history()
        self._learn(past, step_of(at_s))
        made = PoolForecasts(at_s, {key: _forecast(values) for key, values in past.pools.items()})
        rows = [row for key, pool in made.pools.items() for row in _rows(at_s, key, pool)]
        if rows:
            self._sink.write(NODE_FORECASTS_TABLE, rows)
        self._blobs.save(HISTORY_BLOB, past.encode(), past_version)
        self._blobs.save(FORECASTS_BLOB, made.encode(), forecasts_version)
        return made

    def _load_forecasts(self) -> tuple[PoolForecasts | None, str | None]:
        stored = self._blobs.load(FORECASTS_BLOB)
        assert stored is not None
        if stored.blob is not None:
            try:
                return decode_forecasts(stored.blob), stored.version
            except ForecastStateUnreadable as error:
                self.problems.append(f"forecasts of pools are made anew: {error}")
        return None, stored.version

    def _load_history(self) -> tuple[DemandHistory, str | None]:
        stored = self._blobs.load(HISTORY_BLOB)
        assert stored is not None
        if stored.blob is not None:
            try:
                return decode_history(stored.blob), stored.version
            except ForecastStateUnreadable as error:
                self.problems.append(f"histories of pools are asked for anew: {error}")
        return DemandHistory(0), stored.version

    def _learn(self, past: DemandHistory, until: int) -> None:
        first = max(past.until - ASKED_AGAIN, until - HISTORY)
        past.move(until)
        while first < until:
            before = min(first + ASKED_AT_ONCE, until)
            since, to = (datetime.fromtimestamp(number * STEP_S, UTC) for number in (first, before))
            for key, number, values in _steps(self._history.query(self._queries(POOL_DEMAND), since, to)):
                if first <= number < before:
                    past.put(key, number, values)
            first = before
        past.forget()


def _steps(columns: Columns) -> Iterator[tuple[PoolKey, int, tuple[float, ...]]]:
    try:
        measures = zip(*(columns[name] for name in MEASURES), strict=True)
        for cluster, pool, start, values in zip(
            columns["Cluster"], columns["Pool"], columns["Start"], measures, strict=True
        ):
            numbers = tuple(np.nan if value is None else float(value) for value in values)
            yield (cluster, pool), step_of(start.timestamp()), numbers
    except (LookupError, AttributeError, TypeError, ValueError) as error:
        raise HistoryUnavailable(f"Log Analytics gave the demand of pools in another form: {error!r}") from error


def _forecast(values: np.ndarray[tuple[int, int], np.dtype[np.float64]]) -> PoolForecast:
    nodes = values[MEASURES.index("Nodes"), -_TOLD_STEPS:]
    found = {measure: day_ahead(values[MEASURES.index(measure)]) for measure in METRICS}
    return PoolForecast(
        0 if np.isnan(nodes).all() else int(np.nanmax(nodes)),
        int(np.count_nonzero(~np.isnan(values[0, -DAY:]))) * STEP_S,
        {measure: ahead for measure, ahead in found.items() if ahead is not None},
    )


def _rows(at_s: int, key: PoolKey, pool: PoolForecast) -> Iterator[bytes]:
    """Rows of NodeForecasts_CL: every quarter of an hour of every measure."""
    at = timestamp(at_s * 1000)
    for measure, ahead in pool.ahead.items():
        quarters = DayAhead(*(curve.reshape(-1, _TOLD_STEPS).mean(axis=1).round(4) for curve in ahead))
        for number, (value, lower, upper) in enumerate(zip(*(curve.tolist() for curve in quarters), strict=True)):
            yield orjson.dumps(
                {
                    "TimeGenerated": at,
                    "WindowStart": at,
                    "Cluster": key[0],
                    "Node": "",
                    "Pool": key[1],
                    "Kind": "demand",
                    "Metric": METRICS[measure],
                    "Device": "",
                    "ForecastTime": timestamp((at_s + number * _TOLD_STEPS * STEP_S) * 1000),
                    "SecondsLeft": None,
                    "Confidence": None,
                    "Value": value,
                    "Lower": lower,
                    "Upper": upper,
                    "Limit": None,
                    "IncidentId": "",
                }
            )
