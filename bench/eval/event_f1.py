"""F1 over events: an anomaly is found or not, and false alarms are counted by the slots of time they spoil.

A slot is SLOT points. Ten alarms within an hour are one disturbance to who is on call, and so is one; anomalies are
events however long they are. Never point-adjusted: there random scores look excellent.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from bench.eval.layout import Flags
from telemetry.layout import Floats

SLOT = 60
GRACE = 5
"""Points after an anomaly in which an alarm is still about it."""


class Events(NamedTuple):
    """What alarms came to; add them with `together`."""

    found: int
    missed: int
    false_slots: int
    slots: int
    """Slots in which there was nothing to find."""

    @property
    def f1(self) -> float:
        """Harmonic mean of precision (of events and false slots) and recall (of events); 0 where nothing was found."""
        return 2 * self.found / (2 * self.found + self.missed + self.false_slots) if self.found else 0.0


def events(alarms: Flags, labels: Flags) -> Events:
    """Counts one series."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], labels.astype(np.int8), [0]])))
    about = labels.copy()
    for end in edges[1::2].tolist():
        about[end : end + GRACE] = True
    found = found_by_turn(alarms, labels)
    slot = np.arange(len(labels)) // SLOT
    quiet = np.bincount(slot, about) == 0
    false = np.unique(slot[alarms & ~about]).size
    return Events(sum(found), len(found) - sum(found), false, int(quiet.sum()))


def found_by_turn(alarms: Flags, labels: Flags) -> list[bool]:
    """Of each anomaly of a series, in order, whether it was found."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], labels.astype(np.int8), [0]])))
    return [
        bool(alarms[first : end + GRACE].any())
        for first, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)
    ]


def together(counted: Sequence[Events]) -> Events:
    """Sums over series."""
    return Events(*(sum(column) for column in zip(*counted, strict=True)))


def best_events(scores: Sequence[Floats], labels: Sequence[Flags], candidates: int = 60) -> tuple[float, Events]:
    """The threshold, the same for all series, that gives the best F1 with hindsight; alarms are its upward crossings.

    No detector has that hindsight: it is what a rival could reach at most.
    """
    pooled = np.sort(np.concatenate(scores))
    # Alarms are rare: thresholds lie between the median and the top, ever closer to the top.
    shares = 1.0 - np.geomspace(0.5, 1.0 / len(pooled), candidates)
    best = (float(pooled[-1]), together([Events(0, 1, 0, 0)]))
    for threshold in np.unique(pooled[(shares * (len(pooled) - 1)).astype(np.intp)]).tolist():
        total = together(
            [events(crossings(score, threshold), label) for score, label in zip(scores, labels, strict=True)]
        )
        if total.f1 > best[1].f1:
            best = (threshold, total)
    return best


def crossings(score: Floats, threshold: float) -> Flags:
    """Where a score rises above a threshold."""
    over = score > threshold
    return np.asarray(over & ~np.concatenate([[False], over[:-1]]))
