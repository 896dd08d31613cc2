"""How the days of the week differ from the daily profile: an offset for every four hours of the week.

Pure; for `daily_profile.py`. Offsets are whole numbers of a unit per series, which doubles when one would not fit into
a byte and halves when all are small: 46 bytes hold a week whatever the metric is measured in.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from functions.core.detectors.series_state import HOURS, PARTS, State
from telemetry.layout import Floats

HOUR_WEIGHT = 0.25
"""How much an hour counts in the offset of its part of the week: two thirds of it are known after the first week."""
_HOURS_PER_PART = HOURS // PARTS
_MOST, _LEAST = 100.0, 40.0
"""Between these the greatest offset of a series is kept, in units."""
_SMALLEST = 1e-12
"""The smallest unit; a state has how often it was doubled."""

Indexes = np.ndarray[Any, np.dtype[np.intp]]


def offset(states: State, series: Indexes, hour: Indexes) -> Floats:
    """What is added to the profile of the day in hours of the week (0: Thursday 0:00 UTC) of some series."""
    day, part = hour // HOURS, hour % HOURS // _HOURS_PER_PART
    return np.asarray(states["week"][series, day, part] * _units(states, series), dtype=np.float64)


def learn(states: State, series: Indexes, hour: Indexes, step: Floats) -> None:
    """Takes in by how much the means of hours were off."""
    each, day, part = np.arange(series.size), hour // HOURS, hour % HOURS // _HOURS_PER_PART
    week = states["week"][series].astype(np.float64)
    unit = _units(states, series)
    value = week[each, day, part] * unit + HOUR_WEIGHT * step
    doublings = np.ceil(np.log2(np.maximum(np.abs(value) / (_MOST * unit), 1.0)))
    unit *= np.exp2(doublings)
    week /= np.exp2(doublings)[:, None, None]
    week[each, day, part] = value / unit
    doublings += states["week_unit"][series]
    small = (np.abs(week).max(axis=(1, 2)) < _LEAST) & (doublings >= 1.0)
    week[small] *= 2.0
    doublings[small] -= 1.0
    states["week"][series] = np.rint(week)
    states["week_unit"][series] = doublings


def _units(states: State, series: Indexes) -> Floats:
    return np.asarray(_SMALLEST * np.exp2(states["week_unit"][series].astype(np.float64)), dtype=np.float64)
