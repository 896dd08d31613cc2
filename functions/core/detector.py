"""Scores windows: how unusual is each metric of each node, given its own past.

Pure; used by `close`. A detector holds no state itself: state is an array per node that lives in the node's
entity, so that any instance of the function app can score any node.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from telemetry.layout import Floats

State = np.ndarray[Any, np.dtype[np.float32]]


class Detector(Protocol):
    """Scores before it learns, for many nodes at once. NaN in is a missing value: score 0, nothing learnt."""

    version: int
    """Changes when states of an older version cannot be read; they are then made anew."""
    planes: int
    """Numbers of state per metric."""

    def score(self, state: State, x: Floats) -> Floats:
        """Scores values (nodes, metrics) in [0, 1], given states (nodes, planes, metrics)."""

    def learn(self, state: State, x: Floats) -> None:
        """Updates the states in place."""

    def band(self, state: State) -> tuple[Floats, Floats]:
        """Lower and upper end of what is usual (nodes, metrics)."""


class RobustBand:
    """A band around an exponentially weighted centre, as wide as eight times the usual deviation.

    Centre and deviation follow the last few hours (weight 1/120 a window). A value outside the band moves them
    no further than a value at its edge would, so that an outlier does not teach and a level shift is learnt within
    hours. The score is 0.5 at the band's edge and tends to 1. No scores in the first 30 windows.
    """

    version = 1
    planes = 3  # centre, deviation, windows seen
    weight = 1.0 / 120.0
    width = 8.0
    grace = 30
    relative_floor = 0.02
    absolute_floor = 0.005

    def score(self, state: State, x: Floats) -> Floats:
        """Scores values; see `Detector.score`."""
        distance = np.abs(x - state[:, 0]) / self._half_width(state)
        scores = distance**2 / (1.0 + distance**2)
        return np.where((state[:, 2] >= self.grace) & ~np.isnan(x), scores, 0.0)

    def learn(self, state: State, x: Floats) -> None:
        """Updates centre and deviation; see `Detector.learn`."""
        seen = state[:, 2]
        weight = np.maximum(self.weight, 1.0 / (seen + 1.0))
        half_width = np.where(seen >= self.grace, self._half_width(state), np.inf)
        step = np.clip(x - state[:, 0], -half_width, half_width)
        known = ~np.isnan(step)
        step = np.where(known, step, 0.0)
        weight = np.where(known, weight, 0.0)
        state[:, 0] += weight * step
        state[:, 1] += weight * (np.abs(step) * (seen > 0) - state[:, 1])
        state[:, 2] = np.minimum(seen + known, 1e6)

    def band(self, state: State) -> tuple[Floats, Floats]:
        """Lower and upper end of the band; see `Detector.band`."""
        half_width = self._half_width(state)
        return np.maximum(state[:, 0] - half_width, 0.0), state[:, 0] + half_width

    def _half_width(self, state: State) -> Floats:
        floor = np.maximum(np.abs(state[:, 0]) * self.relative_floor, self.absolute_floor)
        return np.asarray(self.width * np.maximum(state[:, 1], floor), dtype=np.float64)


class ConsecutivePolicy:
    """Decides apart from the score: an anomaly begins with the third window in a row that scores over the threshold."""

    threshold = 0.8
    windows = 3

    def decide(self, runs: State | Floats, scores: Floats) -> tuple[Floats, Any]:
        """New run lengths, and where an anomaly begins (both (nodes, metrics)), from the old run lengths."""
        lengths = np.where(scores >= self.threshold, np.minimum(runs + 1.0, 1e6), 0.0)
        return lengths, lengths == self.windows
