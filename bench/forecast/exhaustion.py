"""How many leaks are foreseen 4 h ahead, and how often something is that is none; beside two common ways."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from bench.forecast.leaks import START_MS, Levels
from functions.core.forecast.exhaustion import QUIET_POINTS, update
from functions.core.forecast.level_history import BIN_S, Flags, new_levels
from telemetry.layout import Floats

WEEK = 7 * 86_400 // BIN_S
_AFTER = 24
"""Points after a leak's end in which what is still told is no false alarm."""

Way = Callable[[Levels], Flags]
"""Says at each point of each series whether its limit is foreseen."""


class Tally(NamedTuple):
    """What a way was worth on some levels."""

    leads: dict[str, list[tuple[float, float]]]
    """By kind of leak: hours it lasted, hours ahead it was told of (-1: not at all)."""
    false_alarms: dict[str, int]
    """By kind of series, alarms that begin outside of leaks."""
    series_weeks: float
    node_weeks: float

    @property
    def recall(self) -> float:
        """Share of leaks told of 4 h ahead."""
        return self.recall_of(0.0, np.inf)

    def recall_of(self, shortest: float, longest: float) -> float:
        """The same of leaks that lasted so many hours; NaN where there are none."""
        found = [lead >= 4.0 for many in self.leads.values() for lasts, lead in many if shortest <= lasts < longest]
        return sum(found) / len(found) if found else float("nan")


def tally(levels: Levels, foreseen: Flags) -> Tally:
    """Compares what was foreseen with what was so."""
    leads: dict[str, list[tuple[float, float]]] = {}
    for leak in levels.leaks:
        told = np.flatnonzero(foreseen[leak.begin : leak.end + 1, leak.series])
        points = leak.end - leak.begin - int(told[0]) if told.size else None
        lead = -1.0 if points is None else points * BIN_S / 3600
        leads.setdefault(leak.kind, []).append(((leak.end - leak.begin) * BIN_S / 3600, lead))
    excused = np.zeros(foreseen.shape, np.bool_)
    for leak in levels.leaks:
        excused[leak.begin : leak.over + _AFTER, leak.series] = True
    false_alarms = dict.fromkeys(dict.fromkeys(levels.kind), 0)
    for point, series in np.argwhere(foreseen & ~excused).tolist():
        if not foreseen[max(point - QUIET_POINTS, 0) : point, series].any():
            false_alarms[levels.kind[series]] += 1
    weeks = len(foreseen) / WEEK
    return Tally(leads, false_alarms, foreseen.shape[1] * weeks, len(set(levels.node)) * weeks)


def ours(levels: Levels) -> Flags:
    """The product's, point by point."""
    states = new_levels(levels.high.shape[1])
    foreseen = np.zeros(levels.high.shape, np.bool_)
    for point, (low, high) in enumerate(zip(levels.low, levels.high, strict=True)):
        foreseen[point] = update(states, START_MS / 1000 + point * BIN_S, low, high, levels.limit).foreseen
    return foreseen


def static(levels: Levels) -> Flags:
    """More than 85 % used."""
    found: Flags = levels.high >= 0.85
    return found


def linear_6h(levels: Levels, horizon_h: float = 4.0) -> Flags:
    """What `predict_linear(...[6h], 4 * 3600)` does: a straight line through six hours, carried on for four."""
    width = 6 * 3600 // BIN_S
    hours = (np.arange(width) - width + 1) * BIN_S / 3600
    centred = hours - hours.mean()
    windows = np.lib.stride_tricks.sliding_window_view(levels.high, width, axis=0)
    slope: Floats = windows @ centred / (centred @ centred)
    ahead = windows.mean(axis=2) + slope * (horizon_h - hours.mean())
    found = np.zeros(levels.high.shape, np.bool_)
    found[width - 1 :] = ahead >= levels.limit
    return found


WAYS: dict[str, Way] = {"ours": ours, "static_85": static, "linear_6h": linear_6h}
