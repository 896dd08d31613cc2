"""Scores series point by point: what has not been there before, in any of eleven views, is a surprise.

Pure; used by `close`, the evaluation and the benchmarks. Vectorised over series; one call is one point of each.

The views ("sides") of a series: its value and three smoothings of it, what remains of it once the time of day is
accounted for, its jumps, its restlessness; of some also the low side. Each side keeps its highest peaks (`tails.py`).
The evidence against a point is the sum over sides of how far it is beyond those, each side by 1 at most, so no single
view decides alone. Two sets of peaks are kept: the fast one learns a peak at once and raises the alarm, so that an
anomaly is told once; the slow one does not learn from what is unusual until it has come three times or has stayed,
and gives the score, which therefore lasts as long as the anomaly.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from functions.core.detectors import tails
from functions.core.detectors.daily_profile import residual
from functions.core.detectors.series_state import SIDES, State
from functions.core.detectors.tails import Flags
from telemetry.layout import Floats

SPANS = np.array([5.0, 20.0, 80.0])
"""Points that the smoothings remember."""
RESIDUAL_SPANS = np.array([5.0, 20.0])
ACTIVITY_SPAN = 20.0
BLOCK = 8
"""Points of which the highest is one peak: neighbours are not independent."""
WARM_UP = 150
"""Points before a side says anything; sides of the daily residual count theirs from the second day on."""
THRESHOLD = 1.2
"""Evidence that makes an alarm. docs/detection.md gives the rate of alarms on healthy series."""
QUIET = 60
"""Points without evidence before the next alarm is another incident."""
EPISODES, LONGEST_EPISODE = 3, 200
"""What is unusual becomes normal when it comes for the third time, or stays for so many blocks."""
HELD_FROM = 0.5
"""Scales beyond the highest peak from which the slow tails hold a peak back."""
HALF = 3.0
"""Weight of evidence with a score of 0.5."""
LIMIT = 1e18
"""Values beyond are cut off: no metric of a machine is greater."""


class Verdict(NamedTuple):
    """What is thought of one point of each series; arrays of their number."""

    score: Floats
    """0 to 1: 0 where nothing is known yet or the value is missing."""
    evidence: Floats
    """Against the point being usual; an alarm needs THRESHOLD."""
    alarm: Flags
    """Whether an incident begins with this point."""


def update(states: State, time: Floats, x: Floats) -> Verdict:
    """Scores points (epoch seconds, values), then learns them, in place. NaN and infinity are missing values."""
    known = np.isfinite(x)
    if known.all():
        return _update(states, time, np.clip(x, -LIMIT, LIMIT))
    verdict = Verdict(np.zeros(len(x)), np.zeros(len(x)), np.zeros(len(x), np.bool_))
    at = np.flatnonzero(known)
    if at.size:
        some = states[at]
        found = _update(some, time[at], np.clip(x[at], -LIMIT, LIMIT))
        states[at] = some
        for whole, part in zip(verdict, found, strict=True):
            whole[at] = part
    return verdict


def _update(states: State, time: Floats, x: Floats) -> Verdict:
    values, z = _views(states, time, x)
    warm = _warm(states)
    fast = np.where(warm, tails.surprise(states["fast"], values), 0.0)
    slow = np.where(warm, tails.surprise(states["slow"], values), 0.0)
    evidence = np.minimum(fast, 1.0).sum(axis=1)
    weight = np.log1p(slow).sum(axis=1) + np.where(states["count"] >= WARM_UP, np.log1p(np.abs(z)), 0.0)
    over = evidence > THRESHOLD
    alarm = over & (states["quiet_points"] >= QUIET)
    states["quiet_points"] = np.where(over, 0, np.minimum(states["quiet_points"] + 1, QUIET))
    states["peak"] = np.maximum(states["peak"], values)
    states["block_points"] += 1
    full = np.flatnonzero(states["block_points"] >= BLOCK)
    if full.size:
        blocks = states[full]
        _end_blocks(blocks)
        states[full] = blocks
    return Verdict(weight / (weight + HALF), evidence, alarm)


def _views(states: State, time: Floats, x: Floats) -> tuple[Floats, Floats]:
    """The sides' values, (series, sides), and the residual; learns what they are made of."""
    first = states["count"] == 0
    for field in ("value", "level"):
        states[field] = np.where(first, x, states[field])
    states["smooth"] = np.where(first[:, None], x[:, None], states["smooth"])
    jump = np.abs(x - states["value"])
    states["smooth"] += 2.0 / (SPANS + 1.0) * (x[:, None] - states["smooth"])
    weight = np.maximum(2.0 / (ACTIVITY_SPAN + 1.0), 1.0 / np.maximum(states["count"], 1.0))
    states["activity"] += weight * (jump - states["activity"])
    z = np.nan_to_num(residual(states, time, x))
    states["residual"] += 2.0 / (RESIDUAL_SPANS + 1.0) * (z[:, None] - states["residual"])
    states["value"] = x
    states["count"] += 1.0
    smooth, residuals = states["smooth"].astype(np.float64), states["residual"].astype(np.float64)
    values = np.concatenate(
        [
            x[:, None],
            smooth,
            jump[:, None],
            states["activity"][:, None],
            -smooth[:, :1],
            residuals,
            -residuals,
        ],
        axis=1,
    )
    return values, z


_OF_RESIDUAL = np.arange(SIDES) >= SIDES - 4


def _warm(states: State) -> Flags:
    """Which sides have seen enough to be asked."""
    seen = np.where(_OF_RESIDUAL, states["expected_points"][:, None], states["count"][:, None])
    return seen >= WARM_UP


def _end_blocks(states: State) -> None:
    """Teaches the tails the peaks of blocks that are complete."""
    peak = states["peak"].astype(np.float64)
    warming = states["expected_points"] < np.max(RESIDUAL_SPANS)
    real = np.isfinite(peak) & ~(_OF_RESIDUAL & warming[:, None])
    tails.teach(states["fast"], peak, real)
    unusual = real & _warm(states) & (tails.surprise(states["slow"], peak) > HELD_FROM)
    states["held_episodes"] += unusual & (states["held_blocks"] == 0)
    states["held"] = np.where(unusual, np.maximum(states["held"], peak), states["held"])
    blocks = np.minimum(states["held_blocks"].astype(np.int64) + 1, 255)
    states["held_blocks"] = np.where(unusual, blocks, states["held_blocks"])
    states["quiet_blocks"] = np.where(unusual, 0, np.minimum(states["quiet_blocks"], 253) + 1)
    normal_now = unusual & ((states["held_episodes"] >= EPISODES) | (states["held_blocks"] > LONGEST_EPISODE))
    tails.teach(states["slow"], np.where(normal_now, states["held"], peak), real & (~unusual | normal_now))
    states["held"] = np.where(normal_now, -np.inf, states["held"])
    states["held_episodes"] = np.where(normal_now, 0, states["held_episodes"])
    states["held_blocks"] = np.where(~unusual & (states["quiet_blocks"] >= 2), 0, states["held_blocks"])
    states["peak"] = -np.inf
    states["block_points"] = 0
