"""Rows of nodes as arrays, as models are trained and checked with them. Pure.

They come from functions/queries/fleet_history.kql: single windows of one minute, every so many minutes. Means over
longer times would be calmer than what ingest scores, and alarm thresholds learnt from them too low.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from sys import intern
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


class Answer(NamedTuple):
    """An answer to fleet_history.kql in numbers: a tenth of what the same takes as objects."""

    minutes: Indexes
    nodes: list[PoolKey]
    """(cluster, node)."""
    pools: list[PoolKey]
    features: Floats


def answer_of(columns: Mapping[str, Sequence[Any]]) -> Answer:
    """One answer. Raises LookupError, TypeError, ValueError or AttributeError for what is none."""
    starts = columns["WindowStart"]
    features = np.empty((len(starts), len(FEATURES)))
    for place, column in enumerate(COLUMNS):
        features[:, place] = np.array(columns[column], np.float64)  # None becomes NaN
    features[~np.isfinite(features)] = np.nan
    clusters, nodes, pools = ([intern(str(name)) for name in columns[key]] for key in ("Cluster", "Node", "Pool"))
    minutes = np.array([int(start.timestamp()) // 60 for start in starts], np.intp)
    return Answer(minutes, list(zip(clusters, nodes, strict=True)), list(zip(clusters, pools, strict=True)), features)


def rows_of(answers: Sequence[Answer], disturbances: Sequence[Disturbance] = ()) -> Rows:
    """Rows of several answers, without those of incidents."""
    if not answers:
        nobody = np.zeros(0, np.intp)
        return Rows(nobody, nobody, nobody, (), np.zeros((0, len(FEATURES))))
    names = tuple(dict.fromkeys(pool for answer in answers for pool in answer.pools))
    places = {name: place for place, name in enumerate(names)}
    numbers = {key: number for number, key in enumerate(dict.fromkeys(key for one in answers for key in one.nodes))}
    rows = Rows(
        np.concatenate([answer.minutes for answer in answers]),
        np.array([numbers[key] for answer in answers for key in answer.nodes], np.intp),
        np.array([places[pool] for answer in answers for pool in answer.pools], np.intp),
        names,
        np.concatenate([answer.features for answer in answers]),
    )
    healthy = np.ones(len(rows), np.bool_)
    for cluster, node, first, last in disturbances:
        number = numbers.get((cluster, node))
        if number is not None:
            healthy &= (rows.nodes != number) | (rows.minutes < first) | (rows.minutes > last)
    kept = np.flatnonzero(healthy)
    return rows.where(kept[np.argsort(rows.minutes[kept], kind="stable")])
