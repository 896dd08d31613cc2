"""Turns counters into rates. For the sampler."""

from __future__ import annotations

from collections.abc import Hashable
from typing import NamedTuple

WRAP_MARGIN = 1 / 16
"""A counter that went down has wrapped only if it grew by less than this share of its range meanwhile."""


class _Last(NamedTuple):
    value: float
    at: float
    seen: float


class RateMeter:
    """Remembers the last value of every counter and gives the increase per second since then.

    A counter that goes down was reset (the device was attached anew), or has wrapped. Only a wrap is repaired, and
    only where the two can be told apart: where the counter is known to wrap, was close to its end, and the rate
    across the wrap is possible. Times are seconds of a monotonic clock; a counter that somebody else reads comes
    with the time of their reading (`at`), of their own clock, beside that of ours (`now`).
    """

    def __init__(self, longest_gap: float) -> None:
        """A counter unseen for more than `longest_gap` seconds starts anew: its mean since then says little."""
        self._longest_gap = longest_gap
        self._last: dict[Hashable, _Last] = {}

    def rate(
        self,
        series: Hashable,
        value: float,
        at: float,
        *,
        upper: float,
        wraps_at: float | None = None,
        now: float | None = None,
    ) -> float | None:
        """Gives the increase per second; None at the first value, after a reset, after a gap, at no elapsed time."""
        last = self._last.get(series)
        self._last[series] = _Last(value, at, at if now is None else now)
        if last is None:
            return None
        elapsed, increase = at - last.at, value - last.value
        if not 0 < elapsed <= self._longest_gap:
            return None
        if increase >= 0:
            return increase / elapsed
        if wraps_at is None:
            return None
        increase += wraps_at
        if increase < 0 or increase > wraps_at * WRAP_MARGIN or increase / elapsed > upper:
            return None
        return increase / elapsed

    def forget_unseen(self, now: float) -> None:
        """Drops the counters of devices that are gone, so that devices that come and go do not fill the memory."""
        oldest = now - self._longest_gap
        for series in [series for series, last in self._last.items() if last.seen < oldest]:
            del self._last[series]

    def __len__(self) -> int:
        """Number of counters remembered."""
        return len(self._last)
