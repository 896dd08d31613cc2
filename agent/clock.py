"""The two clocks of the agent, the instants it samples at, and the stamps it gives. For the sampling loop.

The monotonic clock measures, the wall clock labels. Nobody else in the agent asks for the time of day to decide
when to sample.
"""

from __future__ import annotations

import math
import threading
import time
from typing import NamedTuple, Protocol

LONGEST_HOLD_MS = 10 * 60 * 1000
"""How far the wall clock may be behind the last stamp before the last stamp is taken for the wrong one."""


class Clock(Protocol):
    """Tells the time and waits."""

    def monotonic(self) -> float:
        """Seconds of a clock that never steps."""

    def epoch_ms(self) -> int:
        """Milliseconds since 1970 as the node believes; may step either way."""

    def wait_until(self, monotonic: float, stop: threading.Event) -> bool:
        """Waits for an instant of the monotonic clock; True as soon as `stop` is set, else False."""


class SystemClock:
    """The clocks of this machine."""

    def monotonic(self) -> float:
        """Seconds of CLOCK_MONOTONIC."""
        return time.monotonic()

    def epoch_ms(self) -> int:
        """Milliseconds of CLOCK_REALTIME."""
        return time.time_ns() // 1_000_000

    def wait_until(self, monotonic: float, stop: threading.Event) -> bool:
        """Sleeps until then, or until `stop` is set."""
        return stop.wait(max(0.0, monotonic - time.monotonic()))


class Tick(NamedTuple):
    """When to take the next sample."""

    at: float
    """On the monotonic clock."""
    missed: int
    """How many ticks have passed without a sample; they are not made up for."""


class Schedule:
    """Ticks at the wall clock's multiples of the interval, the same instants on every node.

    Every tick is planned anew from both clocks, so nothing adds up. When the wall clock steps, one gap is between
    half and one and a half intervals long: ticks never bunch and never stop.
    """

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._last: float | None = None

    def next(self, monotonic: float, epoch_ms: int) -> Tick:
        """Plans the tick after the one planned last, later than `monotonic`."""
        ahead = epoch_ms / 1000 - monotonic
        if self._last is None:
            at = math.ceil((monotonic + ahead) / self._interval) * self._interval - ahead
            self._last = at
            return Tick(at, 0)
        at = (round((self._last + ahead) / self._interval) + 1) * self._interval - ahead
        missed = 0
        if at <= monotonic:
            missed = math.floor((monotonic - at) / self._interval) + 1
            at += missed * self._interval
        self._last = at
        return Tick(at, missed)


class Stamps:
    """Gives every sample a stamp later than the one before, whatever the wall clock does.

    While the wall clock is behind the last stamp (it was set back), stamps go on by one millisecond: order and
    number of samples stay right, and the wall clock is followed again as soon as it has caught up. If it is behind
    by more than ten minutes, the earlier stamps came from a clock in the future, which receivers refuse anyway:
    stamps then follow the wall clock back, and the envelope builder starts a new envelope, because time must
    increase within one.
    """

    def __init__(self) -> None:
        self._last = 0

    def next(self, epoch_ms: int) -> int:
        """Gives the stamp of a sample taken at `epoch_ms` of the wall clock."""
        if self._last - LONGEST_HOLD_MS <= epoch_ms <= self._last:
            self._last += 1
        else:
            self._last = epoch_ms
        return self._last
