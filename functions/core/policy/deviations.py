"""How far windows are from what is usual, in units of what matters, and where that has lasted.

Pure; for `watch`. Arrays are (nodes, METRICS) unless said otherwise; METRICS, LEAST and so on are those of `rules.py`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from functions.core.detectors.series_state import LEVEL, NOISE, SPREAD, USUAL, State
from functions.core.detectors.streaming import THRESHOLD
from functions.core.policy.rules import FULL, LEAST, METRICS, NEED, SPAN
from telemetry.layout import Floats

WIDTHS = 6.0
"""A rise of less than so many times the usual deviation is none."""
HEADROOM = 0.85
"""Of what room a metric has: a rise that uses up so much of it matters, however restless the metric is."""
UNKNOWN_HOUR = 2.0
"""On a node's first day, when nothing is known of the time of day, a rise must be so many times as large."""
UNLEARNT = 0.8
"""Score from which a rise is news although the like was there before: that is not yet known to be normal."""
RETURNING = 0.7
"""The same, of a metric that was part of an incident of the node before, once its hours are known."""
HABIT = 3
"""Incidents of a metric after which a score makes none any more: what comes again and again is how the node is."""
NEWS_LASTS = 10
"""Windows that news counts for, beyond those that persistence is counted in."""
RELEASE = 0.5
"""A rise is over when it is less than this share of the least that matters."""
NEVER = 255
"""Windows since there was news, when there was none for long."""
_BITS = 16

Flags = np.ndarray[Any, np.dtype[np.bool_]]
Bits = np.ndarray[Any, np.dtype[np.uint16]]
Ages = np.ndarray[Any, np.dtype[np.uint8]]
_MASKS = ((1 << SPAN.astype(np.int64)) - 1).astype(np.uint16)
_OLDER = (0xFFFF >> SPAN.astype(np.int64)).astype(np.int64)
"""All windows that are remembered but for a metric's span."""
_LONGEST = (SPAN + NEWS_LASTS).astype(np.uint8)


class Usual(NamedTuple):
    """What was to be expected of windows."""

    value: Floats
    limit: Floats
    """The rise above that which begins to matter."""
    known: Flags
    """Whether it is that of the hour; else of the last hours."""


def usual(states: State) -> Usual:
    """What was usual at the time of the points that the detectors' states (nodes, METRICS) were updated with last.

    It is learnt for each hour of the day; on the first day it is the level of the last hours.
    """
    profile, spread, level, noise = (states["now"][..., [USUAL, SPREAD, LEVEL, NOISE]]).transpose(2, 0, 1)
    known = ~np.isnan(profile)
    value = np.where(known, profile, level).astype(np.float64)
    width = np.where(known, noise + spread, noise).astype(np.float64)
    width *= WIDTHS
    limit = np.maximum(np.minimum(width, HEADROOM * (FULL - value)), LEAST)
    return Usual(value, np.where(known, limit, UNKNOWN_HOUR * np.maximum(width, LEAST)), known)


def strengths(x: Floats, expected: Usual) -> Floats:
    """How strong rises are: from 1 on they matter. 0 for missing values and falls."""
    strength = (x - expected.value) / expected.limit
    return np.where(strength > 0.0, strength, 0.0)


class Course(NamedTuple):
    """The recent past of some nodes."""

    strong: Bits
    """Bit i: the rise mattered i windows ago."""
    quiet: Ages
    """Windows since there was news; NEVER: for long."""


CALM = Course(np.zeros(len(METRICS), np.uint16), np.full(len(METRICS), NEVER, np.uint8))
"""Of a node to which nothing happened for long; its arrays are shared and never written to."""


def advance(
    course: Course,
    minutes: np.ndarray[Any, np.dtype[np.int64]],
    strength: Floats,
    evidence: Floats,
    score: Floats,
    needed: Floats,
) -> Course:
    """The past with this window, which comes so many `minutes` (nodes) after the one before it.

    There are two ways to be news: evidence, which what has been there before does not have, and the `needed` score,
    which lasts until it is normal. A rise that has been there for all the windows that are remembered is no news.
    """
    steps = np.clip(minutes, 1, NEVER)[:, None]
    is_strong = strength >= 1.0
    strong = course.strong.astype(np.int64) << np.minimum(steps, _BITS) & 0xFFFF | is_strong
    goes_on = strong >> SPAN == _OLDER
    news = (evidence > THRESHOLD) | (is_strong & ~goes_on & (score >= needed))
    quiet = np.where(news, 0, np.minimum(course.quiet + steps, NEVER))
    return Course(strong.astype(np.uint16), quiet.astype(np.uint8))


def confirmed(course: Course) -> Flags:
    """Where a rise that matters is going on, has lasted, and was not there before: what begins incidents."""
    recent = course.strong & _MASKS
    enough = np.bitwise_count(recent) >= NEED
    found: Flags = enough & (recent & 1 == 1) & (course.quiet < _LONGEST)
    return found


def windows_since(strong: int, metric: int) -> int:
    """How many windows ago the rise that is confirmed began: the oldest within the metric's span."""
    return (strong & int(_MASKS[metric])).bit_length() - 1
