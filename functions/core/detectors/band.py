"""The band a value was expected in: what an explanation shows beside the value of an alarm. Pure."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from functions.core.detectors.daily_profile import enter_hours, unit
from functions.core.detectors.series_state import (
    ACTIVITY,
    COUNT,
    EXPECTED,
    HIGHEST,
    JUMP,
    LEARNT,
    LOW,
    RESIDUAL,
    SCALE,
    SIDES,
    SMOOTH,
    USUAL,
    VALUE,
    State,
)
from functions.core.detectors.streaming import (
    ACTIVITY_WEIGHT,
    RESIDUAL_WEIGHT,
    SMOOTH_WEIGHT,
    THRESHOLD,
    allowance,
    discount,
    warm,
)
from telemetry.layout import Floats


class Band(NamedTuple):
    """Ends of the band, one of each per series; infinite where nothing is known yet."""

    lower: Floats
    upper: Floats


def band(states: State, time: Floats) -> Band:
    """The values that would be no news at the next point (epoch seconds): one that is news enough to tell lies outside.

    Each side says up to which value it would stay below its share of the evidence of an alarm; the band is what all
    agree on. Where they cannot agree, because an incident is under way, both ends are in the middle between them.
    To be asked before `update`, which learns the point; changes nothing.
    """
    ahead = states.copy()
    now = ahead["now"].T.astype(np.float64, order="C")
    enter_hours(ahead, now, time)
    now[COUNT] += 1.0
    now[EXPECTED] += ~np.isnan(now[USUAL])
    share = THRESHOLD / SIDES * discount(now) + allowance(now)
    most = now[HIGHEST][:SIDES] + share * now[SCALE][:SIDES]
    most[~warm(now)] = np.inf
    up, low = most[: LOW.start], most[LOW]
    known = ~np.isnan(now[USUAL])
    usual, units = np.where(known, now[USUAL], 0.0), np.where(known, unit(now), 1.0)

    def reached(smooth: Floats, limit: Floats, weight: Floats | float) -> Floats:
        """The value with which a smoothing comes to its limit."""
        return smooth + (limit - smooth) / weight

    smooth, residual = now[SMOOTH], now[RESIDUAL]
    move = reached(now[ACTIVITY], up[ACTIVITY], ACTIVITY_WEIGHT)
    upper = np.minimum(up[0], np.minimum(now[VALUE] + up[JUMP], now[LEARNT] + move))
    upper = np.minimum(upper, reached(smooth, up[SMOOTH], SMOOTH_WEIGHT).min(axis=0))
    upper = np.minimum(upper, usual + units * reached(residual, up[RESIDUAL], RESIDUAL_WEIGHT).min(axis=0))
    lower = np.maximum(now[VALUE] - up[JUMP], now[LEARNT] - move)
    lower = np.maximum(lower, reached(smooth[0], -low[0], SMOOTH_WEIGHT[0]))
    lower = np.maximum(lower, usual + units * reached(residual, -low[1:], RESIDUAL_WEIGHT).max(axis=0))
    apart = lower > upper
    lower[apart] = upper[apart] = (lower[apart] + upper[apart]) / 2.0
    return Band(lower, upper)
