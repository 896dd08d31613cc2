"""Rows about exhaustion: what is foreseen, in NodeForecasts_CL, and what people are told of, in NodeAnomalies_CL.

Pure; for `exhaustion_watch.py`. Every row has a key that comes out the same when the same points are looked at again.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import orjson

from functions.core.forecast.exhaustion_memory import Alarm, Series
from functions.core.forecast.resources import RESOURCES
from functions.core.policy.incidents import Kind, Phase
from functions.core.rows import anomaly_row, timestamp

HOUR = 3600.0


class Foresight(NamedTuple):
    """What is foreseen of one series."""

    seconds: float
    confidence: float
    level: float
    base: float
    """The level it grew from."""
    age: float
    """Seconds that took."""


def forecast_row(series: Series, pool: str, at_ms: int, foresight: Foresight, incident_id: str) -> bytes:
    """One row of NodeForecasts_CL."""
    at = timestamp(at_ms)
    return orjson.dumps(
        {
            "TimeGenerated": at,
            "WindowStart": at,
            "Cluster": series.cluster,
            "Node": series.node,
            "Pool": pool,
            "Kind": Kind.EXHAUSTION,
            "Metric": series.metric,
            "Device": series.device,
            "ForecastTime": timestamp(at_ms + round(foresight.seconds * 1000)),
            "SecondsLeft": round(foresight.seconds),
            "Confidence": round(foresight.confidence, 3),
            "Value": round(foresight.level, 4),
            "Lower": None,
            "Upper": None,
            "Limit": RESOURCES[series.metric].limit,
            "IncidentId": incident_id,
        }
    )


def alarm_row(series: Series, alarm: Alarm, at_ms: int, phase: Phase, foresight: Foresight) -> bytes:
    """One row of NodeAnomalies_CL about an alarm that begins, or became worse."""
    level, limit = round(foresight.level, 4), RESOURCES[series.metric].limit
    return _row(
        series,
        alarm,
        at_ms,
        phase,
        sentence(series, foresight),
        Score=round(foresight.confidence, 3),
        Value=level,
        Metrics=[
            {
                "Metric": series.metric,
                "Device": series.device,
                "Value": level,
                "Limit": limit,
                "Before": round(foresight.base, 4),
                "Since": timestamp(alarm.since_ms),
                "SecondsLeft": round(foresight.seconds),
                "Confidence": round(foresight.confidence, 3),
            }
        ],
    )


def end_row(series: Series, alarm: Alarm, at_ms: int, level: float | None) -> bytes:
    """One row of NodeAnomalies_CL about an alarm that is over; the level is None where nothing is known any more."""
    resource = RESOURCES[series.metric]
    name = resource.of(series.device)
    if level is None:
        told = f"nothing was told of {name} for hours"
    elif level >= resource.limit:
        told = f"{name} is {resource.used_up}: {level:.0%}"
    else:
        told = f"{name} is not expected to be {resource.used_up} any more: {level:.0%} now"
    return _row(series, alarm, at_ms, Phase.END, told.replace("%", " %"), Score=0.0, Value=level)


def sentence(series: Series, foresight: Foresight) -> str:
    """One line for people: what will be used up when, how sure that is, and what it rests on."""
    resource = RESOURCES[series.metric]
    return (
        f"{resource.of(series.device)} will be {resource.used_up} in about {_duration(foresight.seconds)} "
        f"(confidence {foresight.confidence:.2g}): {100 * foresight.level:.3g} % now, "
        f"was {100 * foresight.base:.3g} % {_duration(foresight.age)} ago"
    )


def _row(series: Series, alarm: Alarm, at_ms: int, phase: Phase, explanation: str, **rest: Any) -> bytes:
    return anomaly_row(
        (series.cluster, series.node), alarm.pool, at_ms,
        identity=alarm.id, kind=Kind.EXHAUSTION, phase=phase, severity=alarm.severity, since_ms=alarm.since_ms,
        explanation=explanation, suppressed=alarm.suppressed, Metric=series.metric, **rest,
    )  # fmt: skip


def _duration(seconds: float) -> str:
    """About how long, as people say it."""
    if seconds < HOUR:
        return f"{max(round(seconds / 60), 1)} min"
    hours = seconds / HOUR
    return f"{hours:.2g} h" if hours < 10 else f"{hours:.0f} h"
