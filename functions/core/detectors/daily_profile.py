"""What is usual at this time of day: a profile of 24 hours that is learnt day by day.

Pure; for `streaming.py`. Hours are UTC: what matters is that they return.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from functions.core.detectors.series_state import BINS, State
from telemetry.layout import Floats

DAY_WEIGHT = 0.2
"""How much a day counts in the profile: five days or so are remembered."""
REACH = 3.0
"""A day moves the profile by no more than so many spreads: what was unusual does not become the norm at once."""
NOISE_WEIGHT = 0.005
LEVEL_WEIGHT = 0.01
_TINY = 1e-12

Bins = np.ndarray[Any, np.dtype[np.intp]]


def residual(states: State, time: Floats, x: Floats) -> Floats:
    """How far a value is from what is usual at its hour, in units of how far it usually is; NaN on the first day.

    Learns: the hours that have ended, the level, the noise.
    """
    hour = ((time % 86_400.0) // (86_400 // BINS)).astype(np.intp)
    _end_hours(states, hour)
    states["bin"] = hour
    states["bin_sum"] += x
    states["bin_count"] = np.minimum(states["bin_count"] + 1, 60_000)
    states["level"] += np.maximum(LEVEL_WEIGHT, 1.0 / (states["count"] + 1.0)) * (x - states["level"])
    each = np.arange(len(states))
    distance = x - states["profile"][each, hour]
    noise = states["noise"].astype(np.float64)
    usual = states["spread"][each, hour] + noise + 1e-9 * np.abs(states["level"]) + _TINY
    known = ~np.isnan(distance)
    off = np.minimum(np.abs(distance), np.where(noise > 0, 5.0 * noise + _TINY, np.inf))
    settled = noise + NOISE_WEIGHT * (off - noise)
    first_day = noise + np.maximum(LEVEL_WEIGHT, 1.0 / (states["count"] + 1.0)) * (np.abs(x - states["value"]) - noise)
    states["noise"] = np.where(known, settled, first_day)
    states["expected_points"] += known
    return np.asarray(distance / usual, dtype=np.float64)


def _end_hours(states: State, hour: Bins) -> None:
    """Puts the mean of an hour that has ended into the profile."""
    ended = np.flatnonzero((states["bin"] != hour) & (states["bin"] >= 0))
    if ended.size == 0:
        return
    done = states[ended]
    at = done["bin"].astype(np.intp)
    each = np.arange(ended.size)
    mean = done["bin_sum"] / np.maximum(done["bin_count"], 1)
    usual, spread = done["profile"][each, at], done["spread"][each, at]
    first = np.isnan(usual)
    limit = REACH * (spread + done["noise"])
    step = mean - usual
    # Whether a single day's hour is a habit is not known: what it differs from the level by counts as uncertainty.
    states["profile"][ended, at] = np.where(first, mean, usual + DAY_WEIGHT * np.clip(step, -limit, limit))
    states["spread"][ended, at] = np.where(
        first, np.abs(mean - done["level"]), spread + DAY_WEIGHT * (np.minimum(np.abs(step), limit) - spread)
    )
    states["bin_sum"][ended] = 0.0
    states["bin_count"][ended] = 0
