"""The predictive alerts of a fleet: what functions.core.forecast foresees of the nodes' levels, point by point.

A point is a quarter of an hour of a level's windows. What an episode of foresight begins with is told once, at the end
of its point.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from bench.eval.incidents import Incident
from bench.eval.minute_features import LEVELS, MINUTE_MS
from functions.core.forecast.exhaustion import update
from functions.core.forecast.level_history import BIN_S, new_levels
from telemetry.layout import Floats

KIND = "exhaustion"
MINUTES = BIN_S * 1000 // MINUTE_MS
_LIMIT = {"MemoryUtilization": 0.95}
"""Where programs are killed; everything else can be used up."""


class Foreseeing:
    """When something will run out on some nodes."""

    def __init__(self, nodes: Sequence[int]) -> None:
        self._states = new_levels(len(nodes) * len(LEVELS))
        self._limit = np.tile([_LIMIT.get(level, 1.0) for level in LEVELS], len(nodes))

    def feed(self, minute: int, levels: Floats) -> Iterator[Incident]:
        """Takes (minutes, nodes, LEVELS) from `minute` (since the epoch) on; minutes ascend.

        The first minute begins a point, or ValueError is raised; of a last point that is not whole nothing is said.
        """
        if minute % MINUTES:
            raise ValueError(f"the first minute must begin a point of {MINUTES} minutes, got {minute}")
        count = len(levels) // MINUTES
        points = levels[: count * MINUTES].reshape(count, MINUTES, len(self._limit))
        for number, point in enumerate(points):
            begin = minute + number * MINUTES
            low, high = np.fmin.reduce(point, axis=0), np.fmax.reduce(point, axis=0)
            begins = update(self._states, begin * 60.0, low, high, self._limit).begins
            for series in np.flatnonzero(begins).tolist():
                node, level = divmod(series, len(LEVELS))
                yield Incident(node, begin + MINUTES - 1, KIND, LEVELS[level])
