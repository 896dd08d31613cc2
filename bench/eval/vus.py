"""VUS-PR: the volume under the precision-recall surface, over thresholds and over tolerances around labels.

A score that rises some points early or late is not wrong altogether: labels are widened by a falling slope, for all
widths from 0 to LONGEST points, and the areas under the precision-recall curves are averaged. 1 is perfect, a random
score gets about the share of points that are labelled. Whether an anomaly was hit at all counts too, but no point of
it is credited for its neighbours', as point adjustment does.

Paparrizos et al.: Volume Under the Surface, PVLDB 2022, in the form of the TSB-AD benchmark (NeurIPS 2024); sums are
cumulated instead of taken anew for each threshold. That benchmark takes thresholds at 250 evenly spaced ranks. Of a
score that rises only now and then this skips much of what matters, so `exact` takes every value of the score.
"""

from __future__ import annotations

import numpy as np

from bench.eval.layout import Flags
from telemetry.layout import Floats

LONGEST = 100
"""Points by which labels are widened at most, half of it on each side."""
THRESHOLDS = 250
"""Of the published form."""


def vus_pr(score: Floats, labels: Flags, *, exact: bool = False) -> float:
    """VUS-PR of a score against labels. Raises ValueError where no point is labelled."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], labels.astype(np.int8), [0]])))
    anomalies = list(zip(edges[::2].tolist(), (edges[1::2] - 1).tolist(), strict=True))
    if not anomalies:
        raise ValueError("no point is labelled; VUS-PR needs at least one anomaly")
    ascending = np.sort(score)
    ranks = np.arange(len(score)) if exact else np.linspace(0, len(score) - 1, THRESHOLDS).astype(np.intp)
    thresholds = np.unique(ascending[::-1][ranks])[::-1]
    predicted = len(score) - np.searchsorted(ascending, thresholds)
    inside = _count_reaching(score[labels], np.ones(int(labels.sum())), thresholds)
    areas = [
        _area(score, labels, anomalies, width, thresholds, predicted.astype(np.float64), inside)
        for width in range(LONGEST + 1)
    ]
    return float(np.mean(areas))


def _area(
    score: Floats, labels: Flags, anomalies: list[tuple[int, int]], width: int,
    thresholds: Floats, predicted: Floats, inside: Floats,
) -> float:  # fmt: skip
    """The area under the precision-recall curve for one width of the slopes."""
    slopes = _slopes(labels, anomalies, width)
    on_slope = np.flatnonzero(slopes)
    reached = _count_reaching(score[on_slope], slopes[on_slope], thresholds)
    true = inside + reached
    # Only what was predicted of the slopes is asked for: a score that ends with the label loses nothing.
    recall = np.minimum(true / (labels.sum() + reached / 2.0), 1.0)
    wide = np.flatnonzero(np.diff(np.concatenate([[0], (labels | (slopes > 0)).astype(np.int8), [0]])))
    highest = np.sort([score[start:end].max() for start, end in zip(wide[::2], wide[1::2], strict=True)])
    existence = (len(highest) - np.searchsorted(highest, thresholds)) / len(highest)
    steps = np.diff(recall * existence, prepend=0.0)
    return float((steps * true / predicted).sum())


def _slopes(labels: Flags, anomalies: list[tuple[int, int]], width: int) -> Floats:
    """Weights of points beside anomalies, falling with the distance; 0 within them."""
    slopes = np.zeros(len(labels))
    for first, last in anomalies if width else ():
        after = np.arange(last + 1, min(last + width // 2 + 1, len(labels)))
        slopes[after] += np.sqrt(1.0 - (after - last) / width)
        before = np.arange(max(first - width // 2, 0), first)
        slopes[before] += np.sqrt(1.0 - (first - before) / width)
    return np.where(labels, 0.0, np.minimum(slopes, 1.0))


def _count_reaching(score: Floats, weights: Floats, thresholds: Floats) -> Floats:
    """Per threshold the weights of the points whose score is at least as high."""
    order = np.argsort(score)
    from_top = np.concatenate([np.cumsum(weights[order][::-1])[::-1], [0.0]])
    return from_top[np.searchsorted(score[order], thresholds)]
