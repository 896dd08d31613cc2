"""The tail of one side of a series: its highest peaks, and how far beyond them a value is.

Pure; for `streaming.py`. A tail is the highest peak, the scale (mean distance of the other peaks below it), and those
distances in units of the scale; a peak that is not there yet is infinitely far below.

A value that exceeds the highest of N peaks by s scales is about e^-s times as likely as one that only reaches it,
if the tail is exponential; heavier tails have wider scales. So the same threshold means the same rarity everywhere.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from functions.core.detectors.series_state import HIGHEST, SCALE, SIDES, State
from telemetry.layout import Floats

Flags = np.ndarray[Any, np.dtype[np.bool_]]
Stored = np.ndarray[Any, np.dtype[np.floating[Any]]]

FEWEST = 4
"""Peaks before REACH applies."""
REACH = 4.0
"""A peak teaches no more than so many scales beyond the highest: one absurd value does not blind a side for good."""
FLOOR = 1e-3
"""The scale is at least this share of the magnitude: a change in the fourth digit is no anomaly."""
_TINY = 1e-12


class Tails(NamedTuple):
    """The tails of all sides of some series: views of their records, (series, sides)."""

    highest: Stored
    scale: Stored
    below: Stored
    """(series, sides, peaks but the highest)"""

    def surprise(self, values: Floats) -> Floats:
        """How many scales values are beyond the highest peak; 0 for what has been there before."""
        with np.errstate(invalid="ignore"):  # a block without values has no highest: -inf beyond -inf
            return np.maximum((values - self.highest) / self.scale, 0.0)

    def teach(self, peaks: Floats, where: Flags, magnitude: Floats, still: Flags) -> None:
        """Adds peaks, in place, where they are among the highest.

        `magnitude`: of what a peak is a part or a change of, where that is more than the peak. `still`: series that
        have not moved; what they say is nothing new, so a higher peak takes the place of the highest.
        """
        lowest = np.where(still[:, None], self.highest, self.highest - self.below[:, :, -1] * self.scale)
        at = np.nonzero(where & (peaks > lowest))
        if at[0].size == 0:
            return
        highest = self.highest[at].astype(np.float64)
        scale = self.scale[at].astype(np.float64)
        below = self.below[at].astype(np.float64)
        tops = np.empty((highest.size, below.shape[1] + 2))
        tops[:, 0] = np.where(still[at[0]], -np.inf, highest)
        tops[:, 1:-1] = highest[:, None] - below * scale[:, None]
        reach = np.where(np.isfinite(tops[:, FEWEST - 1]), highest + REACH * scale, np.inf)
        tops[:, -1] = np.minimum(peaks[at], reach)
        tops = -np.sort(-tops, axis=1)[:, :-1]
        highest = tops[:, 0]
        below = highest[:, None] - tops[:, 1:]
        known = np.isfinite(below)
        others = np.maximum(known.sum(axis=1), 1)
        scale = np.where(known, below, 0.0).sum(axis=1) / others
        scale += FLOOR * np.maximum(np.abs(highest), magnitude[at]) + _TINY
        self.highest[at] = highest
        self.scale[at] = scale
        self.below[at] = np.where(known, np.minimum(below / scale[:, None], 6e4), np.inf)


def fast_tails(states: State) -> Tails:
    """Those that learn a peak at once."""
    now = states["now"]
    return Tails(now[:, HIGHEST][:, :SIDES], now[:, SCALE][:, :SIDES], states["below_fast"])


def slow_tails(states: State) -> Tails:
    """Those that learn an unusual peak when it has proved to be none."""
    now = states["now"]
    return Tails(now[:, HIGHEST][:, SIDES:], now[:, SCALE][:, SIDES:], states["below_slow"])
