"""Accumulators of one-minute windows, side by side in arrays, so that folding is vectorised over nodes.

Pure; used by `fleet` and `fold`. A table holds the windows of all nodes of one shape. A *slot* is one window of
one node: per column the number of values, their sum, minimum and maximum.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from telemetry.layout import Floats, Indexes, Shape

WINDOW_MS = 60_000
_FIRST_SLOTS = 4
"""A node with pods has a shape of its own, and three windows."""

Counts = np.ndarray[Any, np.dtype[np.int32]]
Samples = np.ndarray[Any, np.dtype[np.int64]]


class WindowTable:
    """Growable columns of accumulators for windows of nodes with the same shape."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.width = shape.width
        self.count: Counts = np.zeros((0, self.width), np.int32)
        self.total: Floats = np.zeros((0, self.width))
        self.low: Floats = np.zeros((0, self.width))
        self.high: Floats = np.zeros((0, self.width))
        self.samples: Samples = np.zeros(0, np.int64)
        """How many samples were folded into the slot."""
        self.emitted: Samples = np.zeros(0, np.int64)
        """How many samples the slot had when its last row was made."""
        self._free: list[int] = []

    def allocate(self) -> int:
        """An empty slot."""
        if not self._free:
            self._grow()
        return self._free.pop()

    def release(self, slots: Sequence[int]) -> None:
        """Gives slots back, emptied."""
        if slots:
            index = np.array(slots, np.intp)
            self._clear(index)
            self._free += slots

    @property
    def is_empty(self) -> bool:
        """Whether no slot is in use."""
        return len(self._free) == len(self.samples)

    def add(self, slots: Indexes, samples: Floats) -> None:
        """Folds samples (rows, width) into their slots (rows,); NaN is no value. A slot may occur many times."""
        starts = _run_starts(slots)
        unique, rows = slots[starts], samples
        if len(np.unique(unique)) < len(unique):  # a slot comes back after another: bring its samples together
            order = np.argsort(slots, kind="stable")
            slots, rows = slots[order], samples[order]
            starts = _run_starts(slots)
            unique = slots[starts]
        sizes = np.diff(starts, append=len(slots))
        for size in np.unique(sizes).tolist():  # runs of equal length at once: ten times faster than reduceat
            alike = np.flatnonzero(sizes == size)
            self._merge(unique[alike], rows[starts[alike][:, None] + np.arange(size)])

    def _merge(self, slots: Indexes, samples: Floats) -> None:
        """Folds samples (slots, samples, width) into their slots, each named once."""
        missing = np.isnan(samples)
        never = missing[0, 0]
        if (missing == never).all():  # nothing is missing, or what no agent of these sends: three times faster
            self.count[slots] += samples.shape[1] * ~never
            total, low, high = samples.sum(axis=1), samples.min(axis=1), samples.max(axis=1)
            total[:, never], low[:, never], high[:, never] = 0.0, np.inf, -np.inf
        else:
            self.count[slots] += (~missing).sum(axis=1, dtype=np.int32)
            total = np.where(missing, 0.0, samples).sum(axis=1)
            low = np.where(missing, np.inf, samples).min(axis=1)
            high = np.where(missing, -np.inf, samples).max(axis=1)
        self.total[slots] += total
        self.low[slots] = np.minimum(self.low[slots], low)
        self.high[slots] = np.maximum(self.high[slots], high)
        self.samples[slots] += samples.shape[1]

    def mean(self, slots: Indexes) -> Floats:
        """Mean per slot and column; NaN where there was no value."""
        count = self.count[slots]
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(self.total[slots] / count)

    def minimum(self, slots: Indexes) -> Floats:
        """Minimum per slot and column; NaN where there was no value."""
        return np.where(self.count[slots] > 0, self.low[slots], np.nan)

    def maximum(self, slots: Indexes) -> Floats:
        """Maximum per slot and column; NaN where there was no value."""
        return np.where(self.count[slots] > 0, self.high[slots], np.nan)

    def dump(self, slot: int) -> bytes:
        """The accumulators of a slot as bytes: counts, sums, minima, maxima."""
        return b"".join(array[slot].tobytes() for array in (self.count, self.total, self.low, self.high))

    def load(self, slot: int, data: bytes, source: Indexes, target: Indexes) -> None:
        """Fills an empty slot's `target` columns from the `source` columns of `dump`'s bytes.

        Raises ValueError or IndexError if they are not of that width.
        """
        width = len(data) // self.dump_size(1)
        counts = np.frombuffer(data[: 4 * width], np.int32)
        total, low, high = np.frombuffer(data[4 * width :]).reshape(3, width)
        self.count[slot, target] = counts[source]
        self.total[slot, target], self.low[slot, target], self.high[slot, target] = (
            total[source],
            low[source],
            high[source],
        )

    @staticmethod
    def dump_size(width: int) -> int:
        """How many bytes `dump` gives for so many columns."""
        return 28 * width

    def _grow(self) -> None:
        have = len(self.samples)
        more = max(_FIRST_SLOTS, have)
        self.count = np.concatenate([self.count, np.zeros((more, self.width), np.int32)])
        self.total = np.concatenate([self.total, np.zeros((more, self.width))])
        self.low = np.concatenate([self.low, np.zeros((more, self.width))])
        self.high = np.concatenate([self.high, np.zeros((more, self.width))])
        self.samples = np.concatenate([self.samples, np.zeros(more, np.int64)])
        self.emitted = np.concatenate([self.emitted, np.zeros(more, np.int64)])
        self._clear(np.arange(have, have + more))
        self._free += range(have + more - 1, have - 1, -1)

    def _clear(self, slots: Indexes) -> None:
        self.count[slots] = 0
        self.total[slots] = 0.0
        self.low[slots] = np.inf
        self.high[slots] = -np.inf
        self.samples[slots] = 0
        self.emitted[slots] = 0


def _run_starts(slots: Indexes) -> Indexes:
    """Where runs of equal slots begin."""
    changes = np.empty(len(slots), np.bool_)
    changes[0] = True
    np.not_equal(slots[1:], slots[:-1], out=changes[1:])
    return np.flatnonzero(changes)
