"""The tail of one side of a series: its highest peaks, and how far beyond them a value is.

Pure; for `streaming.py`. Arrays have shape (series, sides). A tail is a field of SERIES: the highest peak, the scale
(mean distance of the other peaks below it), and those distances in units of the scale.

A value that exceeds the highest of N peaks by s scales is about e^-s times as likely as one that only reaches it,
if the tail is exponential; heavier tails have wider scales. So the same threshold means the same rarity everywhere.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from functions.core.detectors.series_state import State
from telemetry.layout import Floats

Flags = np.ndarray[Any, np.dtype[np.bool_]]

FEWEST = 4
"""Peaks before a tail says anything."""
REACH = 8.0
"""A peak teaches no more than so many scales beyond the highest: one absurd value does not blind a side for good."""
FLOOR = 1e-3
"""The scale is at least this share of the peak: a change in the fourth digit is no anomaly."""
_TINY = 1e-12


def surprise(tail: State, values: Floats) -> Floats:
    """How many scales a value is beyond the highest peak; 0 for what has been there before."""
    beyond = (values - tail["highest"]) / np.maximum(tail["scale"], _TINY)
    return np.where(tail["count"] >= FEWEST, np.maximum(beyond, 0.0), 0.0)


def teach(tail: State, peaks: Floats, where: Flags) -> None:
    """Adds peaks to the tails, in place, where they are among the highest."""
    size = tail["below"].shape[2] + 1
    count = tail["count"]
    lowest = tail["highest"] - tail["below"][:, :, -1].astype(np.float64) * tail["scale"]
    row, side = np.nonzero(where & ((count < size) | (peaks > lowest)))
    if row.size == 0:
        return
    count = count[row, side].astype(np.intp)
    highest = tail["highest"][row, side].astype(np.float64)
    scale = tail["scale"][row, side].astype(np.float64)
    peak = np.where(count >= FEWEST, np.minimum(peaks[row, side], highest + REACH * scale), peaks[row, side])
    tops = np.empty((row.size, size + 1))
    tops[:, 0] = highest
    tops[:, 1:size] = highest[:, None] - tail["below"][row, side].astype(np.float64) * scale[:, None]
    tops[:, :size][np.arange(size) >= count[:, None]] = -np.inf
    tops[:, size] = peak
    tops = -np.sort(-tops, axis=1)[:, :size]
    count = np.minimum(count + 1, size)
    known = np.arange(size) < count[:, None]
    highest = tops[:, 0]
    rest = np.where(known, tops, 0.0)[:, 1:].sum(axis=1) / np.maximum(count - 1, 1)
    scale = np.where(count > 1, highest - rest, 0.0) + FLOOR * np.abs(highest) + _TINY
    below = np.where(known[:, 1:], (highest[:, None] - tops[:, 1:]) / scale[:, None], 0.0)
    tail["highest"][row, side] = highest
    tail["scale"][row, side] = scale
    tail["below"][row, side] = np.minimum(below, 6e4)
    tail["count"][row, side] = count
