"""What is usual at this time: a profile of 24 hours that is learnt day by day, and what days of the week add to it.

Pure; for `streaming.py`. Hours are UTC: what matters is that they return. Arrays have shape (columns of `now`, series).
"""

from __future__ import annotations

import numpy as np

from functions.core.detectors import weekly_pattern
from functions.core.detectors.series_state import (
    AGE,
    HOUR_COUNT,
    HOUR_MEAN,
    HOURS,
    LEVEL,
    NOISE,
    OFF,
    SPREAD,
    USUAL,
    WEEK_TIME,
    State,
    from_upper_half,
    upper_half,
)
from functions.core.detectors.weekly_pattern import Indexes
from telemetry.layout import Floats

DAY_WEIGHT = 0.2
"""How much a day counts in the profile: five days or so are remembered."""
REACH = 3.0
"""An hour moves the profile by no more than so many spreads: what was unusual does not become the norm at once."""
NOISE_WEIGHT = 0.005
NOISE_REACH = 5.0
"""A point moves the noise as if it were no further off than so many times the noise."""
HOUR, DAY, WEEK = 3_600.0, 86_400.0, 604_800.0
LONGEST_STEP = HOUR
"""What passes between two points counts as seen up to here; the rest is a gap."""
FARTHEST = 30.0
"""Residuals end here: what is far off at one point is forgotten after some more."""
OFF_SHARE = 0.02
ROUNDING = 1e-4
"""Differences of less than this share of a value are no news: a change in the fifth digit is none."""
_TINY = 1e-12


def enter_hours(states: State, now: Floats, time: Floats) -> None:
    """Moves on to the hours the points (epoch seconds) are in: ends those they were in, says what is usual now."""
    week_time = np.floor(time) % WEEK  # whole seconds are exact as they are stored
    before = now[WEEK_TIME]
    begun = before >= 0
    step = (week_time - before) % WEEK
    # More than half a week forward is rather a step back.
    now[AGE] += np.minimum(step, LONGEST_STEP) * (begun & (step < WEEK / 2))
    hour = week_time // HOUR
    changed = np.flatnonzero(hour != before // HOUR)
    if changed.size:
        _end_hours(states, now, changed[begun[changed]])
        usual, spread = usual_at(states, changed, hour[changed].astype(np.intp))
        now[USUAL, changed] = usual
        now[SPREAD, changed] = spread
        now[HOUR_MEAN, changed] = now[HOUR_COUNT, changed] = 0.0
    now[WEEK_TIME] = week_time


def usual_at(states: State, series: Indexes, hour: Indexes) -> tuple[Floats, Floats]:
    """What is usual in hours of the week for some series, and how far hours usually are from it; NaN: not known."""
    at = hour % HOURS
    usual = states["profile"][series, at] + weekly_pattern.offset(states, series, hour)
    return usual, from_upper_half(states["spread"][series, at])


def _end_hours(states: State, now: Floats, ended: Indexes) -> None:
    """Puts the means of hours that have ended into the profile and the week."""
    if ended.size == 0:
        return
    of = now[:, ended]
    hour = (of[WEEK_TIME] // HOUR).astype(np.intp)
    at = hour % HOURS
    mean = of[HOUR_MEAN]
    usual, spread = of[USUAL], of[SPREAD]
    first = np.isnan(usual)
    limit = REACH * (spread + of[NOISE])
    step = np.clip(mean - usual, -limit, limit)
    profile = states["profile"][ended, at].astype(np.float64)
    states["profile"][ended, at] = np.where(first, mean, profile + DAY_WEIGHT * step)
    # Whether a single day's hour is a habit is not known: what it differs from the level by counts as uncertainty.
    settled = spread + DAY_WEIGHT * (np.abs(step) - spread)
    states["spread"][ended, at] = upper_half(np.where(first, np.abs(mean - of[LEVEL]), settled))
    weekly_pattern.learn(states, ended, hour, np.where(first, 0.0, step))


def residual(now: Floats, x: Floats, jump: Floats, level_weight: Floats | float) -> Floats:
    """How far values are from what is usual at their hour, in units of how far they usually are; 0 on the first day.

    Learns the noise: how far values are from what is usual within an hour, at first from one point to the next.
    """
    now[HOUR_COUNT] += 1.0
    now[HOUR_MEAN] += (x - now[HOUR_MEAN]) / now[HOUR_COUNT]
    noise = now[NOISE]
    distance: Floats = x - now[USUAL]
    off = np.abs(distance)
    np.minimum(off, np.where(noise > 0.0, NOISE_REACH * noise + _TINY, np.inf), out=off)
    settled = noise + NOISE_WEIGHT * (off - noise)
    distance /= unit(now)
    np.minimum(distance, FARTHEST, out=distance)
    np.maximum(distance, -FARTHEST, out=distance)
    unknown = np.isnan(distance)
    if unknown.any():
        settled = np.where(unknown, noise + level_weight * (jump - noise), settled)
        distance[unknown] = 0.0
    now[NOISE] = settled
    return distance


def unit(now: Floats) -> Floats:
    """How far values usually are from what is usual: what residuals are measured in.

    Where nearly all values are the same, as of a metric that is seldom not 0, this would be nothing: it is at least
    a little of how far they usually are from their level.
    """
    usually: Floats = now[SPREAD] + now[NOISE]
    usually += ROUNDING * np.abs(now[USUAL])
    usually += OFF_SHARE * now[OFF]
    usually += _TINY
    return usually
