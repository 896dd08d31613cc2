"""The score of the Numenta Anomaly Benchmark: early alarms in windows count, alarms elsewhere cost.

Each window counts its earliest alarm: 1 at its left edge, falling to nearly 0 at its right edge; -1 without any. Each
alarm outside costs, a little less just after a window. The beginning of a file, where a detector learns, is not
scored. 100 is an alarm at every window's left edge and none elsewhere, 0 is no alarm at all; it can be negative.

Lavin, Ahmad: Evaluating Real-time Anomaly Detection Algorithms - the Numenta Anomaly Benchmark, ICMLA 2015.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from bench.eval.layout import Flags

STANDARD = 0.11
"""Cost of a false alarm in the standard profile."""
LOW_FP = 0.22
"""The same in the profile that rewards few false alarms."""
_PROBATION_SHARE, _PROBATION_ROWS = 0.15, 750
_STEEPNESS = 5.0

Windows = Sequence[tuple[int, int]]
"""First and last row of each anomaly, ascending."""


class FileTally(NamedTuple):
    """What the alarms of one file came to."""

    detected: tuple[bool, ...]
    """Of each window that is scored."""
    earned: float
    """By alarms in windows and by windows without any."""
    spoilt: float
    """By false alarms, each counting up to 1: times the profile's cost it is to be subtracted."""
    false_alarms: int


def probation(rows: int) -> int:
    """How many rows at the beginning of a file are not scored."""
    return min(int(_PROBATION_SHARE * rows), _PROBATION_ROWS)


def tally(alarms: Flags, windows: Windows) -> FileTally:
    """Counts and weighs the alarms of a file."""
    first = probation(len(alarms))
    rows = np.flatnonzero(alarms)
    rows = rows[rows >= first]
    outside = np.ones(len(alarms), np.bool_)
    detected: list[bool] = []
    earned = 0.0
    for start, end in windows:
        outside[start : end + 1] = False
        if end < first:
            continue
        hits = rows[(rows >= start) & (rows <= end)]
        detected.append(hits.size > 0)
        earned += _value((hits[0] - end - 1) / (end - start + 1)) / _value(-1.0) if hits.size else -1.0
    wrong = rows[outside[rows]]
    return FileTally(tuple(detected), earned, sum(_cost(int(row), windows) for row in wrong), wrong.size)


def score(tallies: Iterable[FileTally], false_alarm_cost: float) -> float:
    """The benchmark's score of all files together. Raises ValueError where no window is scored."""
    tallies = list(tallies)
    windows = sum(len(one.detected) for one in tallies)
    if windows == 0:
        raise ValueError("no file has a window that is scored; at least one is needed")
    reached = sum(one.earned - false_alarm_cost * one.spoilt for one in tallies)
    return 100.0 * (reached + windows) / (2.0 * windows)


def _value(position: float) -> float:
    """What an alarm is worth at a position relative to a window: -1 its left edge, 0 its right one, 1 as far behind."""
    return 2.0 / (1.0 + math.exp(_STEEPNESS * position)) - 1.0


def _cost(row: int, windows: Windows) -> float:
    before = [window for window in windows if window[1] < row]
    if not before:
        return 1.0
    start, end = before[-1]
    position = (row - end) / max(end - start, 1)
    return -_value(position) if position < 3.0 else 1.0
