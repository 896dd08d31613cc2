"""What the streaming detectors cost: microseconds of CPU time a point, bytes a series."""

from __future__ import annotations

import time

import numpy as np

from bench.figures import Figures
from functions.core.detectors.series_state import encode_states, new_states
from functions.core.detectors.streaming import update

LEARNING = 2_880
"""Points before the clock runs: two days, so that every view is asked."""
ROUND = 480
"""Points of a round: eight hours ended and sixty blocks."""
ROUNDS = 12


def detect_figures(figures: Figures) -> None:
    """`detect.us_per_point` of few and many series, with and without gaps, and `detect.state_bytes_per_series`."""
    figures.add("detect.us_per_point", microseconds_per_point(50), "us, 50 series at once")
    figures.add("detect.us_per_point_with_gaps", microseconds_per_point(50, missing=0.02), "us, 2 % missing")
    figures.add("detect.us_per_point_1000_series", microseconds_per_point(1_000), "us")
    figures.add("detect.us_per_point_alone", microseconds_per_point(1), "us, one series")
    figures.add("detect.state_bytes_per_series", len(encode_states(new_states(1))), "B, stored alone")


def microseconds_per_point(series: int, missing: float = 0.0) -> float:
    """Of the best of some rounds of eight hours of one-minute points."""
    random = np.random.default_rng(1)
    states = new_states(series)
    best = np.inf
    points = LEARNING + ROUNDS * ROUND
    minutes = np.arange(points)
    x = 5.0 + 2.0 * np.sin(minutes / 1_440 * 2 * np.pi)[:, None] + random.normal(size=(points, series))
    x[random.random(x.shape) < missing] = np.nan
    times = np.repeat(60.0 * minutes[:, None], series, axis=1)
    for start in (0, *range(LEARNING, points, ROUND)):
        end = start + ROUND if start else LEARNING
        began = time.process_time()
        for point in range(start, end):
            update(states, times[point], x[point])
        if start:
            best = min(best, time.process_time() - began)
    return best / ROUND / series * 1e6
