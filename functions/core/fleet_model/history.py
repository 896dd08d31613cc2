"""Rows of nodes as arrays, as models are trained and checked with them. Pure.

They come from functions/queries/FleetHistory.kql: single windows of one minute, every so many minutes. Means over
longer times would be calmer than what ingest scores, and alarm thresholds learnt from them too low.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from telemetry.catalogue import NODE_METRICS
from telemetry.layout import Floats, Indexes
from telemetry.tables import FEATURES, SCORED, TOTALS

COLUMNS: tuple[str, ...] = (
    *(f"{NODE_METRICS[index].column}Avg" for index in SCORED),
    *(f"{metric.column}{'Avg' if metric.total == 'sum' else 'Max'}" for _, _, metric in TOTALS),
)
"""Of NodeMetrics_CL, one per FEATURES."""

PoolKey = tuple[str, str]
"""(cluster, pool)."""


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Windows of nodes, ordered by time."""

    minutes: Indexes
    """Epoch minutes."""
    nodes: Indexes
    """A number per node."""
    pools: Indexes
    """Places in `names`."""
    names: tuple[PoolKey, ...]
    features: Floats
    """(rows, FEATURES); NaN is missing."""

    def __len__(self) -> int:
        return len(self.minutes)

    def where(self, chosen: Indexes | np.ndarray[Any, np.dtype[np.bool_]]) -> Rows:
        """Some of the rows."""
        return Rows(
            self.minutes[chosen], self.nodes[chosen], self.pools[chosen], self.names, self.features[chosen]
        )  # fmt: skip


class Disturbance(NamedTuple):
    """An incident of a node: its windows are no example of a healthy one."""

    cluster: str
    node: str
    first: int
    last: int
    """Minutes, inclusive."""


def rows_of(answers: Sequence[Mapping[str, Sequence[Any]]], disturbances: Sequence[Disturbance] = ()) -> Rows:
    """Rows of the answers to FleetHistory.kql, without those of incidents. Raises LookupError for a column missing."""
    minutes = [minute for answer in answers for minute in answer["Minute"]]
    clusters = [str(cluster) for answer in answers for cluster in answer["Cluster"]]
    nodes = [str(node) for answer in answers for node in answer["Node"]]
    pools = [str(pool) for answer in answers for pool in answer["Pool"]]
    features = np.full((len(minutes), len(FEATURES)), np.nan)
    for place, column in enumerate(COLUMNS):
        values = [value for answer in answers for value in answer[column]]
        features[:, place] = np.array(values, np.float64)  # None becomes NaN
    features[~np.isfinite(features)] = np.nan
    names = tuple(dict.fromkeys(zip(clusters, pools, strict=True)))
    places = {name: place for place, name in enumerate(names)}
    numbers = {key: number for number, key in enumerate(dict.fromkeys(zip(clusters, nodes, strict=True)))}
    rows = Rows(
        np.array(minutes, np.int64).astype(np.intp),
        np.array([numbers[key] for key in zip(clusters, nodes, strict=True)], np.intp),
        np.array([places[key] for key in zip(clusters, pools, strict=True)], np.intp),
        names,
        features,
    )
    healthy = np.ones(len(rows), np.bool_)
    for cluster, node, first, last in disturbances:
        number = numbers.get((cluster, node))
        if number is not None:
            healthy &= (rows.nodes != number) | (rows.minutes < first) | (rows.minutes > last)
    kept = np.flatnonzero(healthy)
    return rows.where(kept[np.argsort(rows.minutes[kept], kind="stable")])
