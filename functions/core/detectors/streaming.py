"""Scores series point by point: what has not been there before, in any of eleven views, is a surprise.

Pure; used by `close`, the evaluation and the benchmarks. Vectorised over series; one call is one point of each.

The views ("sides") of a series: its value and three smoothings of it, what remains of it once the time of day is
accounted for, its jumps, its restlessness; of some also the low side. Each side keeps its highest peaks (`tails.py`).
The evidence against a point is the sum over sides of how far it is beyond those, each side by 1 at most, so no single
view decides alone. Two sets of peaks are kept. The fast one learns a peak at once and raises the alarm, so that an
anomaly is told once. The slow one does not learn from what is unusual until it has come three times or has stayed: by
it something very strange that returns after a long rest is told again, and it gives the score, which therefore lasts
as long as the anomaly; how far a point is from the last hours and from what is usual at its time, and how restless the
series is, are in the score too.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from functions.core.detectors.daily_profile import DAY, ROUNDING, WEEK, enter_hours, residual
from functions.core.detectors.series_state import (
    ACTIVITY,
    AGE,
    BEFORE,
    CHANGING,
    COUNT,
    EXPECTED,
    FAST,
    HIGHEST,
    JUMP,
    LEARNT,
    LEVEL,
    LOW,
    NEWS,
    OF_CHANGE,
    OF_RESIDUAL,
    OFF,
    PEAK,
    QUIET,
    RESIDUAL,
    RESTLESS,
    SCALE,
    SIDES,
    SMOOTH,
    STRONGEST,
    UNSEEN,
    USUAL,
    VALUE,
    State,
)
from functions.core.detectors.tails import Flags, fast_tails, slow_tails
from telemetry.layout import Floats

SPANS = np.array([5.0, 20.0, 80.0])
"""Points that the smoothings remember."""
RESIDUAL_SPANS = np.array([5.0, 20.0])
ACTIVITY_SPAN = 20.0
SMOOTH_WEIGHT = (2.0 / (SPANS + 1.0))[:, None]
RESIDUAL_WEIGHT = (2.0 / (RESIDUAL_SPANS + 1.0))[:, None]
ACTIVITY_WEIGHT = 2.0 / (ACTIVITY_SPAN + 1.0)
LEVEL_WEIGHT = 0.01
BLOCK = 8
"""Points of which the highest is one peak: neighbours are not independent."""
WARM_UP = 150
"""Points before a side says anything; sides of the daily residual count theirs from the second day on."""
DECAYS_PER_SCALE = float(np.mean(np.cumsum(1.0 / np.arange(1, FAST))))
"""A scale is so many decays of an exponential tail: the mean of 1 + 1/2 + ... + 1/k over k < FAST."""
CAUTION = 1.5
THRESHOLD = 1.2
"""Evidence that makes an alarm. docs/detection.md gives the rate of alarms on healthy series."""
INCIDENT = 60
"""Points without evidence before the next alarm is another incident."""
EPISODES, LONGEST_EPISODE = 3, 200
"""What is unusual becomes normal when it comes for the third time, or stays for so many blocks."""
HELD_FROM = 0.5
"""Scales beyond the highest peak from which the slow tails hold a peak back."""
NEWS_WEIGHT = 1.0 / 50.0
NEWS_DISCOUNT = 5.0
"""A series that brings something new all the time, as a counter or a random walk does, has to bring more of it."""
APART, STRONGER = 5, 2.0
"""So many points after the last evidence, what is so many times as strong as any before is another incident already."""
STRANGE, REST = 4.0, 1_500
"""Evidence by the slow tails, and points without evidence by any, that make what returns an incident again.

More than four sides have to agree. The points are a day of minutes and an hour: what comes every night is told once.
"""
USUAL_WEIGHT = 0.002
USUAL_REACH = 3.0
"""A point moves what an amount usually is as if it were no more than so many times that."""
MOST_RESTLESS = 16.0
"""So many times as restless as usual, or more: a single great move would be in the score for long."""
HALF = 5.5
"""Weight of what speaks against a point with a score of 0.5."""
SLOWEST = SMOOTH.stop - 1
"""The side that is not asked for the score: for hours it says that there was something."""
GLITCH = 20.0
"""Scales beyond the highest value, the lowest and the median of the last three, from where on one is cut off."""
LIMIT = 1e18
"""Values beyond are no measurements: no metric of a machine is greater."""
_YOUNG = max(WARM_UP, 1.0 / LEVEL_WEIGHT)
_USUAL_YOUNG = max(WARM_UP, 1.0 / USUAL_WEIGHT)
_BITS = 1 << np.arange(SIDES, dtype=np.uint16)
_TINY = 1e-12


class Verdict(NamedTuple):
    """What is thought of one point of each series; arrays of their number."""

    score: Floats
    """0 to 1: 0 where nothing is known yet or the value is missing."""
    evidence: Floats
    """Against the point being usual: that it is new. Beyond THRESHOLD it makes an alarm."""
    alarm: Flags
    """Whether an incident begins with this point."""
    by_side: Floats
    """The evidence side by side, (series, sides) in the order of SIDE_NAMES: which view is surprised."""


def update(states: State, time: Floats, x: Floats) -> Verdict:
    """Scores points (epoch seconds, values), then learns them, in place.

    Values that are NaN or beyond LIMIT, or have no time, are missing: score 0, nothing learnt.
    """
    known = (np.abs(x) <= LIMIT) & np.isfinite(time)
    if known.all():
        verdict = _update(states, time, x)
    else:
        nothing = np.zeros(len(x))
        verdict = Verdict(nothing, nothing.copy(), np.zeros(len(x), np.bool_), np.zeros((len(x), SIDES)))
        at = np.flatnonzero(known)
        if at.size:
            some = states[at]
            found = _update(some, time[at], x[at])
            states[at] = some
            for whole, part in zip(verdict, found, strict=True):
                whole[at] = part
    _count_blocks(states)
    return verdict


def _update(states: State, time: Floats, x: Floats) -> Verdict:
    columns = states["now"]
    now = columns.T.astype(np.float64, order="C")
    x = x.astype(np.float32).astype(np.float64)  # as it will be remembered: what stays is no change
    far = _times_usual(now, OFF, np.abs(x - now[LEVEL]) * (now[COUNT] > 0.0))
    sides = _views(states, now, time, x)
    restless = np.minimum(_times_usual(now, RESTLESS, now[ACTIVITY]), MOST_RESTLESS)
    fast, slow = _surprises(now, sides)
    weight = 1.0 / discount(now)
    fast *= weight
    np.minimum(fast, 1.0, out=fast)
    evidence = fast.sum(axis=0)
    alarm = _alarms(now, evidence, np.minimum(slow * weight, 1.0).sum(axis=0))
    np.maximum(now[PEAK], sides, out=now[PEAK])
    columns[:, CHANGING] = now[CHANGING].T
    return Verdict(_score(now, slow, (1.0 + far) * (1.0 + restless) ** 2), evidence, alarm, fast.T)


def _times_usual(now: Floats, usual: int, amount: Floats) -> Floats:
    """How many times what it usually is an amount is, `usual` being the column that remembers that; learns it."""
    usually, count = now[usual], now[COUNT]
    unit = usually + ROUNDING * np.abs(now[LEVEL]) + _TINY
    times: Floats = amount / unit
    unit *= USUAL_REACH
    weight: Floats | float = USUAL_WEIGHT
    if count.min() < _USUAL_YOUNG:
        young = count < WARM_UP
        times[young] = 0.0
        unit[young] = np.inf
        weight = np.maximum(USUAL_WEIGHT, 1.0 / (count + 1.0))
    usually += weight * (np.minimum(amount, unit) - usually)
    return times


def _views(states: State, now: Floats, time: Floats, x: Floats) -> Floats:
    """The sides' values (sides, series); learns what they are made of."""
    count = now[COUNT]
    youngest = count.min()
    if youngest < 1.0:
        first = np.flatnonzero(count < 1.0)
        now[[[VALUE], [BEFORE], [LEARNT], [LEVEL]], first] = x[first]
        now[SMOOTH, first] = x[first]
    activity_weight, level_weight = ACTIVITY_WEIGHT, LEVEL_WEIGHT
    if youngest < _YOUNG:
        activity_weight = np.maximum(activity_weight, 1.0 / np.maximum(count, 1.0))
        level_weight = np.maximum(level_weight, 1.0 / (count + 1.0))
    enter_hours(states, now, time)
    jump = np.abs(x - now[VALUE])
    learnt = _learnable(now, x)
    move = np.abs(learnt - now[LEARNT])
    now[BEFORE], now[VALUE], now[LEARNT] = now[VALUE], x, learnt
    now[SMOOTH] += SMOOTH_WEIGHT * (learnt - now[SMOOTH])
    now[ACTIVITY] += activity_weight * (move - now[ACTIVITY])
    now[LEVEL] += level_weight * (learnt - now[LEVEL])
    z = residual(now, learnt, move, level_weight)
    now[RESIDUAL] += RESIDUAL_WEIGHT * (z - now[RESIDUAL])
    now[EXPECTED] += ~np.isnan(now[USUAL])
    now[COUNT] += 1.0
    sides = np.empty((SIDES, x.size))
    sides[:JUMP] = now[:JUMP]
    sides[JUMP] = jump
    np.negative(now[SMOOTH.start], out=sides[LOW.start])
    np.negative(now[RESIDUAL], out=sides[LOW.start + 1 :])
    return sides


def _learnable(now: Floats, x: Floats) -> Floats:
    """Values as they are learnt: a single one far beyond everything known is taken for a glitch and cut off.

    What lasts is in the median of the last three values; a glitch never is.
    """
    one, other = now[BEFORE], now[VALUE]
    median = np.maximum(np.minimum(one, other), np.minimum(np.maximum(one, other), x))
    margin = GLITCH * now[SCALE.start]
    if now[COUNT].min() < BLOCK:
        margin[now[COUNT] < BLOCK] = np.inf  # there is no scale yet
    most = np.maximum(median, now[HIGHEST.start]) + margin
    least = np.minimum(median, -now[HIGHEST.start + LOW.start]) - margin
    learnable: Floats = np.maximum(np.minimum(x, most), least)
    return learnable


def _surprises(now: Floats, sides: Floats) -> Floats:
    """How far the sides are beyond their fast and slow tails, (2, sides, series)."""
    surprise = (sides - now[HIGHEST].reshape(2, SIDES, -1)) / now[SCALE].reshape(2, SIDES, -1)
    young = now[AGE].min() < WEEK
    if young:
        surprise -= allowance(now)
    if young or now[EXPECTED].min() < WARM_UP:
        surprise[:, ~warm(now)] = 0.0
    np.maximum(surprise, 0.0, out=surprise)
    return surprise


def allowance(now: Floats) -> Floats:
    """Scales that are no surprise in a series' first week.

    The last of N peaks is the highest with a chance of 1/N: the younger a series, the more it takes to be as rare. And
    the fewer peaks there are, the less their scale is known, so it takes CAUTION times that.
    """
    return np.asarray(CAUTION / DECAYS_PER_SCALE * np.log(WEEK / np.clip(now[AGE], 1.0, WEEK)), dtype=np.float64)


def discount(now: Floats) -> Floats:
    """By what surprises are divided: the more, the more news there has been in recent blocks."""
    return np.asarray(1.0 + NEWS_DISCOUNT * now[NEWS], dtype=np.float64)


def warm(now: Floats) -> Flags:
    """Which sides have seen enough to be asked, (sides, series)."""
    enough: Flags = np.where(OF_RESIDUAL[:, None], now[EXPECTED], now[COUNT]) >= WARM_UP
    return enough


def _alarms(now: Floats, evidence: Floats, strange: Floats) -> Flags:
    """Whether incidents begin: with evidence after a quiet time, or far stronger than all before; with a return."""
    over = evidence > THRESHOLD
    unlearnt = strange > STRANGE
    quiet, unseen, strongest = now[QUIET], now[UNSEEN], now[STRONGEST]
    rested = quiet >= INCIDENT
    strongest[rested] = 0.0
    alarm: Flags = over & (rested | ((quiet >= APART) & (evidence > STRONGER * strongest)))
    alarm |= rested & unlearnt & (unseen >= REST)
    np.maximum(strongest, evidence, out=strongest)
    for points, ended in ((quiet, over), (unseen, over | unlearnt)):
        points += 1.0
        points[ended] = 0.0
    return alarm


def _score(now: Floats, slow: Floats, unlike: Floats) -> Floats:
    """The most surprised view by the slow tails, and how unlike itself a series is, as a number below 1.

    Less on the first day.
    """
    np.minimum(slow, 1e20, out=slow)
    slow[SLOWEST] = 0.0
    unlike *= 1.0 + np.abs(now[RESIDUAL.start]) * (now[COUNT] >= WARM_UP)
    weight: Floats = np.log((1.0 + slow.max(axis=0)) * unlike)
    weight *= weight
    if now[AGE].min() < DAY:
        weight *= np.minimum(now[AGE] / DAY, 1.0)
    return weight / (weight + HALF**2)


def _count_blocks(states: State) -> None:
    """Ends the blocks that are complete. Missing points count, so that series which began together stay in step."""
    points = states["block_points"]
    points += 1
    complete = points >= BLOCK
    if complete.all():
        _end_blocks(states)
    elif complete.any():
        blocks = states[complete]
        _end_blocks(blocks)
        states[complete] = blocks


def _end_blocks(states: State) -> None:
    """Teaches the tails the peaks of the blocks that have ended."""
    now = states["now"]
    peaks = now[:, PEAK].astype(np.float64)
    warming = now[:, EXPECTED] < RESIDUAL_SPANS[-1]
    real = np.isfinite(peaks) & ~(OF_RESIDUAL & warming[:, None])
    asked = real & warm(now.T).T
    fast = fast_tails(states)
    found = np.where(asked, np.minimum(fast.surprise(peaks), 1.0), 0.0).sum(axis=1)
    now[:, NEWS] += NEWS_WEIGHT * (found - now[:, NEWS])
    magnitude = np.where(OF_RESIDUAL, 1.0, np.where(OF_CHANGE, np.abs(now[:, LEVEL])[:, None], 0.0))
    still = peaks[:, JUMP] <= 0.0
    fast.teach(peaks, real, magnitude, still)
    _teach_slow(states, peaks, real, asked, magnitude, still)
    now[:, PEAK] = -np.inf
    states["block_points"] = 0


def _teach_slow(states: State, peaks: Floats, real: Flags, asked: Flags, magnitude: Floats, still: Flags) -> None:
    """Holds back peaks that are unusual until they are normal."""
    slow = slow_tails(states)
    unusual = asked & (slow.surprise(peaks) > HELD_FROM)
    held, episodes = states["held"], states["held_episodes"]
    blocks, calm = states["held_blocks"], states["calm"]
    if unusual.any():
        episodes += unusual & (blocks == 0)
        held[unusual] = np.maximum(held, peaks)[unusual]
        blocks += unusual & (blocks < 255)
        normal_now = unusual & ((episodes >= EPISODES) | (blocks > LONGEST_EPISODE))
        slow.teach(np.where(normal_now, held, peaks), real & (~unusual | normal_now), magnitude, still)
        held[normal_now] = -np.inf
        episodes[normal_now] = 0
    else:
        slow.teach(peaks, real, magnitude, still)
    usual = ~unusual
    blocks[usual & (calm[:, None] & _BITS != 0)] = 0  # the second block in a row that is not unusual ends an episode
    calm[:] = usual @ _BITS
