"""The shipped detectors behind the interface that outside benchmarks use: product code, shipped defaults, nothing else.

    detector = Detector()
    alarm, score = detector.update(datetime(2026, 1, 1, tzinfo=UTC), 0.42)

Times without a time zone are UTC. A value may be missing (NaN): the score is 0 then.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np

from functions.core.detectors.series_state import DetectorStateUnreadable, decode_states, encode_states, new_states
from functions.core.detectors.streaming import update
from functions.core.detectors.tails import Flags
from telemetry.layout import Floats

Times = Sequence[datetime] | np.ndarray[Any, np.dtype[Any]]


class Detector:
    """One series, one point after the other."""

    def __init__(self) -> None:
        self.states_unreadable = 0
        """How often `set_state` was given something it could not read and began anew."""
        self._states = new_states(1)

    def update(self, timestamp: datetime, value: float) -> tuple[bool, float]:
        """Whether an incident begins with this point, and its score in [0, 1]; then learns the point."""
        verdict = update(self._states, np.array([_epoch_seconds(timestamp)]), np.array([value], dtype=np.float64))
        return bool(verdict.alarm[0]), float(verdict.score[0])

    def get_state(self) -> bytes:
        """Everything the detector knows, at most 1024 bytes."""
        return encode_states(self._states)

    def set_state(self, state: bytes) -> None:
        """Goes on where `get_state` was; begins anew, and counts it, where the bytes cannot be read."""
        try:
            self._states = decode_states(state, 1)
        except DetectorStateUnreadable:
            self._states = new_states(1)
            self.states_unreadable += 1


class Batch:
    """Many series that know nothing of each other: the same as a `Detector` each, but much faster."""

    def __init__(self, n: int) -> None:
        self._states = new_states(n)

    def update(self, timestamps: Times, values: Any, mask: Any = None) -> tuple[Flags, Floats]:
        """Alarms and scores of one point per series; series where `mask` is false have no point: no alarm, score 0.

        `timestamps` are datetimes, a datetime64 array, or epoch seconds: one per series.
        """
        count = len(self._states)
        given = np.ones(count, np.bool_) if mask is None else np.asarray(mask, dtype=np.bool_)
        at = np.flatnonzero(given)
        alarms, scores = np.zeros(count, np.bool_), np.zeros(count)
        if at.size:
            states = self._states if at.size == count else self._states[at]
            verdict = update(states, _all_epoch_seconds(timestamps, at), np.asarray(values, dtype=np.float64)[at])
            self._states[at] = states
            alarms[at], scores[at] = verdict.alarm, verdict.score
        return alarms, scores


def make_batch(n: int) -> Batch:
    """Detectors of `n` series."""
    return Batch(n)


def _epoch_seconds(time: datetime) -> float:
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()


def _all_epoch_seconds(times: Times, at: np.ndarray[Any, np.dtype[np.intp]]) -> Floats:
    if isinstance(times, np.ndarray) and times.dtype.kind == "M":
        return np.asarray(times[at].astype("datetime64[us]").astype(np.float64) / 1e6)
    if isinstance(times, np.ndarray) and times.dtype.kind in "fiu":
        return np.asarray(times[at], dtype=np.float64)
    return np.array([_epoch_seconds(times[place]) for place in at.tolist()])
