"""Foresees when a level (used share of a disk, of memory, of open files) reaches its limit. Pure, streaming.

Vectorised over series; one call is one point of each: its lowest and highest level within 15 minutes. What the method
rests on: logs that are rotated, images and garbage that are collected never rise above their old peaks, a leak does. So
only growth beyond the highest level of the week counts, or growth at a speed this series never had before, or lowest
levels that climb hour after hour as they never did. It is looked at over several ages at once, from an hour to two
days, by two envelopes, the peaks and the troughs. Growth counts when all four quarters of its age took part (a step did
it in one), when it does not fade out (a cache that fills does), and when it need not go on for much longer than it has
been going on already. docs/forecasts.md gives reasons and figures.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from functions.core.forecast.level_history import (
    BIN_S,
    BINS,
    BINS_PER_HOUR,
    Flags,
    States,
    hours,
    recent,
    remember,
)
from telemetry.layout import Floats

HOUR = 3600.0
HORIZON = 72 * HOUR
"""Further ahead nothing is foreseen."""
BIN_AGES = (4, 8, 16)
"""Ages of growth in points; then in hours, of the peaks, and of the lowest levels of so many hours."""
HOUR_AGES = (8, 16, 24, 48)
TROUGH_AGES = {2: (4, 8, 16, 24, 48), 6: (8, 16, 24, 48)}
KNOWN_HOURS = 36
"""So much must be known from before the growth, and at least twice its age."""
STEADY = 0.1
"""The slowest quarter must have this share of the mean speed."""
FADING = 0.03
"""How much slower, in parts, the second half may be than the first and still be no slower."""
NEAR, FAR = 6 * HOUR, 24 * HOUR
NEAR_REACH, FAR_REACH = 8.0, 1.0
"""Growth is carried on for so many times its age when that ends within NEAR, or beyond FAR; between them in between."""
FASTER = 1.2
"""Growth this many times as fast as the fastest of the week counts below the highest level, too,"""
FASTER_STEADY, FASTER_REACH, FASTER_HORIZON, FASTER_LEAST = 0.4, 5.0, 6 * HOUR, 0.02
"""if it is this steady, for that many times its age, when that ends this soon, and if it is more than that;"""
USUAL = 0.5
"""but only from this quantile of the hours' peaks on: climbing back to the usual level is no growth."""
CLIMB_HOURS = (3, 4, 6)
"""The lowest levels of so many hours, each above the one before, count where peaks come and go above them,"""
CLIMB_FASTER, CLIMB_STEADY, CLIMB_LEAST = 1.5, 0.4, 0.06
"""if the slowest of these hours is this many times as fast as the slowest of an hour less of them ever was, if it has
this share of the mean speed, if it is more than that together;"""
CLIMB_REACH, CLIMB_HORIZON = 4.0, 10 * HOUR
"""for that many times as long, when that ends this soon;"""
CLIMB_USUAL = 0.8
"""and only from this quantile of the hours' lowest levels on."""
LEAST_CONFIDENCE, MORE_CONFIDENCE, MOST_CONFIDENCE = 0.8, 0.3, 0.99
"""Fitted to what came true of forecasts on hard series, half of which leak; where fewer do it is too high."""
QUIET_POINTS = 24
"""An episode ends with so many points in a row that foresee nothing."""
_BLOCK = 512
"""Series looked at together: what is reckoned with takes some 30 kB each."""
_QUARTERS_AGO = {age: [-1 - age // 4 * ago for ago in (4, 3, 2, 1, 0)] for age in (*BIN_AGES, *HOUR_AGES)}
"""Age -> the places of its five moments, from its beginning to now."""


class Foreseen(NamedTuple):
    """What is foreseen after a point of each series; arrays of their number."""

    foreseen: Flags
    """Whether the limit will be reached within the horizon."""
    begins: Flags
    """Whether an episode begins with this point: what people are told of."""
    seconds: Floats
    """From the end of the point to the limit; infinite where nothing is foreseen."""
    confidence: Floats
    """0 to 1; 0 where nothing is foreseen."""
    level: Floats
    """The level it grows from now on; NaN where the point is missing."""
    base: Floats
    """The level it grew from, looking as far back as the growth was seen; NaN where nothing is foreseen."""
    age: Floats
    """Seconds that took; NaN where nothing is foreseen."""


class _Growths(NamedTuple):
    """Levels at five moments, the last one now, (growths, 5, series); the hours between them, (growths, 4); the hours
    known before each, (growths, series).
    """

    levels: Floats
    hours: Floats
    known: Floats


class _Outlook(NamedTuple):
    """What each growth leads to; arrays of (growths, series)."""

    seconds: Floats
    """To the limit; infinite where the growth leads nowhere."""
    base: Floats
    age: Floats
    confidence: Floats
    """0 where the growth leads nowhere."""


def update(states: States, time: float, low: Floats, high: Floats, limit: Floats) -> Foreseen:
    """Learns the point that begins at `time` (epoch s), in place, and says what is foreseen after it.

    NaN is missing. A series without this point, or with a newer one, foresees nothing.
    """
    taken = np.flatnonzero(remember(states, time, low, high))
    count = len(states)
    found = Foreseen(
        np.zeros(count, np.bool_),
        np.zeros(count, np.bool_),
        np.full(count, np.inf),
        np.zeros(count),
        *np.full((3, count), np.nan),
    )
    for first in range(0, len(taken), _BLOCK):
        block = taken[first : first + _BLOCK]
        some = states[block]
        outlook, level = _foresee(some, int(time), limit[block])
        holds = np.isfinite(outlook.seconds)
        found.foreseen[block] = holds
        found.begins[block] = _tell(some, holds)
        # A level counts once the point after it is no lower: one point of the way has gone already.
        found.seconds[block] = np.maximum(outlook.seconds - BIN_S, 0.0)
        found.confidence[block] = outlook.confidence
        found.base[block] = np.where(holds, outlook.base, np.nan)
        found.age[block] = np.where(holds, outlook.age, np.nan)
        found.level[block] = level
        states[block] = some
    return found


def _tell(states: States, holds: Flags) -> Flags:
    """Follows the episodes; says where one begins."""
    begins: Flags = holds & (states["open"] == 0)
    states["quiet"] = np.where(holds, 0, np.minimum(states["quiet"] + 1, QUIET_POINTS))
    states["open"] = (holds | (states["open"] == 1)) & (states["quiet"] < QUIET_POINTS)
    return begins


def _foresee(states: States, time: int, limit: Floats) -> tuple[_Outlook, Floats]:
    """The soonest end of all growth, how long and from where it has been going on, (series), and the level now."""
    points, peaks, troughs = recent(states), hours(states, "high"), hours(states, "low")
    level = np.fmax(points[:, -1], points[:, -2])
    remaining = np.maximum(limit - level, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        outlooks = [_carried_on(_growths(time, points, peaks, troughs), remaining)]
        outlooks += _faster_than_ever(points, peaks, remaining)
        outlooks += _climbing(troughs, remaining)
    all_of = _Outlook(*(np.concatenate(parts) for parts in zip(*outlooks, strict=True)))
    holds, series = np.isfinite(all_of.seconds), np.arange(len(states))
    oldest = np.where(holds, all_of.age, -1.0).argmax(axis=0), series
    return (
        _Outlook(all_of.seconds.min(axis=0), all_of.base[oldest], all_of.age[oldest], all_of.confidence.max(axis=0)),
        level,
    )


def _growths(time: int, points: Floats, peaks: Floats, troughs: Floats) -> _Growths:
    """Growth beyond the highest level before it, by age and envelope."""
    levels, between, before = [], [], []
    known = np.cumsum(~np.isnan(peaks), axis=1, dtype=np.float64)
    records = np.fmax.accumulate(peaks, axis=1)
    before_points = -1 - BINS // BINS_PER_HOUR
    highest = np.fmax.accumulate(np.fmax(points, records[:, [before_points]]), axis=1)
    for age in BIN_AGES:
        quarter = age // 4
        levels.append(highest[:, _QUARTERS_AGO[age]].T)
        between.append([quarter / BINS_PER_HOUR] * 4)
        before.append(known[:, before_points])
    into_hour = (time % 3600 // (3600 // BINS_PER_HOUR) + 1) / BINS_PER_HOUR
    for width, ages in ((1, HOUR_AGES), *TROUGH_AGES.items()):
        envelope = records if width == 1 else np.fmax.accumulate(_lowest_of(troughs, width), axis=1)
        for age in ages:
            quarter = age // 4
            levels.append(envelope[:, _QUARTERS_AGO[age]].T)
            between.append([quarter, quarter, quarter, quarter - 1 + into_hour])
            before.append(known[:, -age - width])
    return _Growths(np.array(levels), np.array(between), np.array(before))


def _lowest_of(troughs: Floats, width: int) -> Floats:
    """The lowest level of the `width` hours up to each hour; NaN in the first ones.

    The last hour is not over: it is added to those before it, or its troughs would seem higher for being fewer.
    """
    lowest = troughs.copy()
    for back in range(1, width):
        lowest[:, back:] = np.fmin(lowest[:, back:], troughs[:, :-back])
    lowest[:, : width - 1] = np.nan
    lowest[:, -1] = np.fmin(lowest[:, -1], lowest[:, -2])
    return lowest


def _carried_on(growths: _Growths, remaining: Floats) -> _Outlook:
    """What comes of growth that goes on as it did."""
    age = growths.hours.sum(axis=1)[:, None]
    quarters = np.diff(growths.levels, axis=1) / growths.hours[:, :, None]
    base = growths.levels[:, 0]
    speed = (growths.levels[:, 4] - base) / age
    seconds = remaining / speed * HOUR
    reach = np.interp(np.log(seconds), np.log([NEAR, FAR]), np.log([NEAR_REACH, FAR_REACH]))
    first, second = quarters[:, :2].mean(axis=1), quarters[:, 2:].mean(axis=1)
    fading = np.clip(second / first + FADING, 0.0, 1.0)
    to_come = second * age / 2 * fading / (1.0 - fading)
    holds = (
        (speed > 0.0)
        & (seconds <= np.minimum(HORIZON, np.exp(reach) * age * HOUR))
        & (quarters.min(axis=1) >= STEADY * speed)
        & (to_come >= remaining)
        & (growths.known >= np.maximum(KNOWN_HOURS, 2 * age))
    )
    return _outlook(holds, seconds, base, age * HOUR)


def _faster_than_ever(points: Floats, peaks: Floats, remaining: Floats) -> Iterator[_Outlook]:
    """What comes of growth at a speed that the series never had, which may begin below its highest level.

    Nothing where no series has such growth, which is nearly always.
    """
    for age in BIN_AGES:
        span = age // BINS_PER_HOUR
        before = peaks[:, : -1 - span]
        fastest = np.fmax.reduce(before[:, span + 1 :] - before[:, : -1 - span], axis=1)
        start = np.fmax(points[:, -1 - age], before[:, -1])
        candidates = points[:, -1] - start >= np.maximum(FASTER * fastest, FASTER_LEAST)
        if not candidates.any():
            continue
        quarters = np.diff(points[:, _QUARTERS_AGO[age]], axis=1)
        candidates &= quarters.min(axis=1) >= FASTER_STEADY / 4 * quarters.sum(axis=1)
        candidates &= np.count_nonzero(~np.isnan(before), axis=1) >= KNOWN_HOURS
        base = np.full(len(points), np.nan)
        base[candidates] = np.fmax(start[candidates], _quantile(before[candidates], USUAL))
        growth = points[:, -1] - base
        seconds = remaining / growth * span * HOUR
        holds = (growth >= FASTER_LEAST) & (seconds <= min(FASTER_HORIZON, FASTER_REACH * span * HOUR))
        yield _outlook(holds[None], seconds[None], base[None], np.array([[span * HOUR]]))


def _climbing(troughs: Floats, remaining: Floats) -> Iterator[_Outlook]:
    """What comes of lowest levels that climb for some hours as they never did; nothing where none do.

    The last hour is not over and may yet fall: what it adds is compared with an hour less of the past.
    """
    steps = np.diff(troughs, axis=1)
    slowest = steps
    for span in range(2, max(CLIMB_HOURS) + 1):
        shorter, slowest = slowest, np.minimum(slowest[:, :-1], steps[:, span - 1 :])
        if span not in CLIMB_HOURS:
            continue
        base, before = troughs[:, -1 - span], troughs[:, : -1 - span]
        mean, ever = (troughs[:, -1] - base) / span, np.fmax.reduce(shorter[:, :-span], axis=1)
        holds = (slowest[:, -1] >= np.maximum(CLIMB_FASTER * ever, CLIMB_STEADY * mean)) & (mean * span >= CLIMB_LEAST)
        if not holds.any():
            continue
        holds &= np.count_nonzero(~np.isnan(before), axis=1) >= KNOWN_HOURS
        seconds = remaining / mean * HOUR
        holds &= seconds <= min(CLIMB_HORIZON, CLIMB_REACH * span * HOUR)
        holds[holds] = troughs[holds, -1] >= _quantile(before[holds], CLIMB_USUAL)
        yield _outlook(holds[None], seconds[None], base[None], np.array([[span * HOUR]]))


def _outlook(holds: Flags, seconds: Floats, base: Floats, age_s: Floats) -> _Outlook:
    """Where it holds; its confidence grows with the share of the way that is gone already."""
    confidence = np.minimum(LEAST_CONFIDENCE + MORE_CONFIDENCE * age_s / (age_s + seconds), MOST_CONFIDENCE)
    ages = np.broadcast_to(age_s, seconds.shape)
    return _Outlook(np.where(holds, seconds, np.inf), base, ages, np.where(holds, confidence, 0.0))


def _quantile(values: Floats, share: float) -> Floats:
    """The quantile of each row's known values; there must be one."""
    known = np.count_nonzero(~np.isnan(values), axis=1)
    place = np.rint((known - 1) * share).astype(np.intp)
    return np.asarray(np.sort(values, axis=1)[np.arange(len(values)), place])
