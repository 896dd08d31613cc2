"""What people use instead: rolling median and MAD, EWMA z-score, nearest neighbours of subsequences.

Streaming like the shipped detectors: the score of a point depends on it and on earlier ones. Series have shape
(series, points) and no gaps; scores have the same shape. Parameters are usual ones for one-minute metrics; they were
set once and not tuned, neither to a rival's favour nor against it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from telemetry.layout import Floats

HISTORY = 720
"""Points that the rolling median and the neighbours are taken from: half a day of minutes."""
DIMENSION, NEIGHBOUR = 4, 5
EWMA_WEIGHT = 0.01
_RELATIVE_FLOOR, _TINY = 1e-3, 1e-9
_BLOCK = 512
"""Points computed at once."""


def rolling_mad(series: Floats) -> Floats:
    """Distance from the median of the last HISTORY points, in units of their median absolute deviation."""
    return np.stack([_rolling_mad(values) for values in series])


def _rolling_mad(values: Floats) -> Floats:
    past = sliding_window_view(np.concatenate([np.full(HISTORY, values[0]), values]), HISTORY)
    scores = np.zeros_like(values)
    for start in range(0, len(values), _BLOCK):
        x = values[start : start + _BLOCK]
        history = past[start : start + len(x)]
        median = _median(history)
        deviation = 1.4826 * _median(np.abs(history - median[:, None]))
        scores[start : start + len(x)] = np.abs(x - median) / (deviation + _RELATIVE_FLOOR * np.abs(median) + _TINY)
    scores[:HISTORY] = 0.0  # as long as there is no such history
    return scores


def _median(rows: Floats) -> Floats:
    middle = rows.shape[1] // 2
    return np.partition(rows, [middle - 1, middle], axis=1)[:, middle - 1 : middle + 1].mean(axis=1)


def ewma_z(series: Floats) -> Floats:
    """Distance from the exponentially weighted mean in standard deviations weighted alike."""
    scores = np.zeros_like(series)
    mean, variance = series[:, 0].copy(), np.zeros(len(series))
    for point in range(series.shape[1]):
        distance = series[:, point] - mean
        scores[:, point] = np.abs(distance) / (np.sqrt(variance) + _RELATIVE_FLOOR * np.abs(mean) + _TINY)
        mean += EWMA_WEIGHT * distance
        variance = (1.0 - EWMA_WEIGHT) * (variance + EWMA_WEIGHT * distance**2)
    scores[:, : round(1.0 / EWMA_WEIGHT)] = 0.0
    return scores


def knn(series: Floats) -> Floats:
    """Distance of the last DIMENSION points to the NEIGHBOUR-th most similar subsequence of the last HISTORY points."""
    return np.stack([_knn(values) for values in series])


def _knn(values: Floats) -> Floats:
    """Subsequences that overlap the one that is scored are no neighbours of it."""
    scores = np.zeros_like(values)
    candidates = HISTORY - DIMENSION
    for start in range(HISTORY + DIMENSION, len(values), _BLOCK):
        points = np.arange(start, min(start + _BLOCK, len(values)))
        squares = np.zeros((len(points), candidates))
        for lag in range(DIMENSION):
            history = sliding_window_view(values, candidates)[points - HISTORY + 1 - lag]
            squares += (history - values[points - lag, None]) ** 2
        scores[points] = np.sqrt(np.partition(squares, NEIGHBOUR - 1, axis=1)[:, NEIGHBOUR - 1])
    return scores


RIVALS: Mapping[str, Callable[[Floats], Floats]] = {"rolling_mad": rolling_mad, "ewma_z": ewma_z, "knn": knn}
"""By the name that figures have."""
