"""Runs the shipped streaming detectors over series, strictly one point after the other.

Series beside each other in a batch know nothing of each other; what a point gets depends on it and on earlier ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from bench.eval.crew import Tell
from bench.eval.layout import Flags
from functions.core.detectors.band import band
from functions.core.detectors.series_state import new_states
from functions.core.detectors.streaming import update
from telemetry.layout import Floats


class Judged(NamedTuple):
    """What the detectors said of each point of a series."""

    score: Floats
    evidence: Floats
    alarm: Flags
    lower: Floats
    upper: Floats
    """Ends of the band in which a value is no news; infinite where nothing is known yet."""


def judge(times: Sequence[Floats], series: Sequence[Floats], tell: Tell = lambda done, total: None) -> list[Judged]:
    """Verdicts on series with their own times (epoch seconds) each; `tell` hears of points done and points in all."""
    lengths = np.array([len(values) for values in series])
    points = int(lengths.max())
    time = np.stack([np.pad(one, (0, points - len(one)), mode="edge") for one in times])
    x = np.stack([np.pad(one, (0, points - len(one)), constant_values=np.nan) for one in series])
    states = new_states(len(series))
    score, evidence, lower, upper = (np.zeros(x.shape) for _ in range(4))
    alarm = np.zeros(x.shape, np.bool_)
    for point in range(points):
        lower[:, point], upper[:, point] = band(states, time[:, point])
        verdict = update(states, time[:, point], x[:, point])
        score[:, point], evidence[:, point], alarm[:, point] = verdict.score, verdict.evidence, verdict.alarm
        if point % 256 == 0:
            tell(point, points)
    tell(points, points)
    return [
        Judged(
            score[row, :length], evidence[row, :length], alarm[row, :length], lower[row, :length], upper[row, :length]
        )
        for row, length in enumerate(lengths.tolist())
    ]
