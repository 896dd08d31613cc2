"""Answers of the queries of `exhaustion_watch.py`, as it needs them. Pure.

What has another form than functions/queries give is no answer: HistoryUnavailable.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from functions.core.forecast.exhaustion_memory import Alarm, Series
from functions.core.forecast.level_history import BIN_S
from functions.core.forecast.resources import RESOURCES, Resource
from functions.core.policy.rules import Severity
from functions.core.ports import Columns
from telemetry.errors import HistoryUnavailable

Point = tuple[float, float, str]
"""Lowest and highest level, and the pool."""
Points = dict[int, dict[Series, Point]]
"""By number."""


def points_of(columns: Columns, resources: Sequence[Resource]) -> Iterator[tuple[int, Series, Point]]:
    """Number, series, lowest and highest level and pool of every point of an answer."""
    try:
        starts = [int(start.timestamp()) // BIN_S for start in columns["Start"]]
        devices = columns.get("Device") or [""] * len(starts)
        keys = list(zip(starts, columns["Cluster"], columns["Node"], devices, columns["Pool"], strict=True))
        for resource in resources:
            for (number, cluster, node, device, pool), low, high in zip(
                keys, columns[resource.low], columns[resource.high], strict=True
            ):
                if low is not None and high is not None:
                    yield number, Series(cluster, node, resource.metric, device), (float(low), float(high), pool or "")
    except (LookupError, AttributeError, TypeError, ValueError) as error:
        raise HistoryUnavailable(f"Log Analytics gave levels in another form: {error!r}") from error


def alarms_of(columns: Columns) -> dict[Series, Alarm]:
    """Open alarms; those of what is no resource any more are left out."""
    names = ("Cluster", "Node", "Metric", "Device", "IncidentId", "Pool", "Since", "Severity", "Suppressed")
    found = {}
    try:
        for cluster, node, metric, device, identity, pool, since, severity, suppressed in zip(
            *(columns[name] for name in names), strict=True
        ):
            if metric in RESOURCES:
                since_ms = round(since.timestamp() * 1000)
                worst = Severity[severity.upper()]
                found[Series(cluster, node, metric, device)] = Alarm(identity, pool, since_ms, worst, bool(suppressed))
    except (LookupError, AttributeError, TypeError, ValueError) as error:
        raise HistoryUnavailable(f"Log Analytics gave open alarms in another form: {error!r}") from error
    return found
