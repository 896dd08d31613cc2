"""The outliers of a fleet: nodes that the fleet model finds unlike their pool, told as `functions.core` tells them.

Every group of nodes has a model of its own, as `train` makes one: daily, of one window per node and 15 minutes. After a
week the model stays: the one of the timer is replaced by a better one only, and windows of incidents do not teach it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from bench.eval.incidents import Incident
from functions.core.fleet_model.history import PoolKey, Rows
from functions.core.fleet_model.model import FleetModel
from functions.core.fleet_model.outliers import Course, Outliers, Scored
from functions.core.fleet_model.training import NotEnoughHistory, fit, split
from functions.core.policy.incidents import Kind, Phase
from local.fleet.pools import node_name, pool_of
from telemetry.layout import Floats, Indexes

STEP, OFFSET = 15, 7
"""Minutes from row to row of a node, and from the quarter to its row, as functions/queries/fleet_history.kql has it."""
_DAY = 1_440
_TRAINED_AT = 160
"""Minute of the day, as the timer of functions/bindings/train.py has it."""
_LAST_TRAINING = 7 * _DAY + _TRAINED_AT


class Outlying:
    """Which of some nodes are unlike their pool."""

    def __init__(self, nodes: Sequence[int]) -> None:
        self._keys = [("sim", node_name(node)) for node in nodes]
        pools: list[PoolKey] = [("sim", pool_of(node).name) for node in nodes]
        self._names = tuple(dict.fromkeys(pools))
        self._pools = np.array([self._names.index(pool) for pool in pools], np.intp)
        self._courses = [Course() for _ in nodes]
        self._outliers = Outliers()
        self._model: FleetModel | None = None
        self._rows: list[tuple[int, Indexes, Floats]] = []

    def feed(self, minute: int, nodes: Indexes, features: Floats) -> Iterator[Incident]:
        """Scores; learns when it is time to."""
        if minute % STEP == OFFSET:
            self._rows.append((minute, nodes, features.copy()))
        if minute % _DAY == _TRAINED_AT and self._rows and minute - self._rows[0][0] <= _LAST_TRAINING:
            self._train(minute)
        places = nodes.tolist()
        windows = [
            Scored(self._keys[place], self._names[self._pools[place]][1], minute, self._courses[place])
            for place in places
        ]
        for place, verdict in zip(places, self._outliers.judge(self._model, windows, features), strict=True):
            told = verdict.told
            if told is not None and told.phase is Phase.BEGIN:
                metric = told.contributions[0].feature if told.contributions else ""
                yield Incident(place, minute, Kind.OUTLIER, metric, told.id)

    def _train(self, minute: int) -> None:
        numbers = np.concatenate([nodes for _, nodes, _ in self._rows])
        rows = Rows(
            np.concatenate([np.full(len(nodes), at, np.intp) for at, nodes, _ in self._rows]),
            numbers,
            self._pools[numbers],
            self._names,
            np.concatenate([features for _, _, features in self._rows]),
        )
        try:
            self._model = fit(split(rows), f"at-{minute}")
        except NotEnoughHistory:
            return  # nor would the function app have one
