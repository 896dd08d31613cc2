"""A clock that is moved by hand. For tests."""

from __future__ import annotations

import threading


class ManualClock:
    """Both clocks stand still until `advance`, `step_wall_clock` or a wait moves them."""

    def __init__(self, epoch_ms: int = 1_792_000_000_000, monotonic: float = 1000.0) -> None:
        self._epoch_ms = float(epoch_ms)
        self._monotonic = monotonic
        self.oversleep = 0.0
        """How much later than asked for the next wait ends; then 0 again."""

    def monotonic(self) -> float:
        """Seconds, as moved."""
        return self._monotonic

    def epoch_ms(self) -> int:
        """Milliseconds, as moved and stepped."""
        return int(self._epoch_ms)

    def advance(self, seconds: float) -> None:
        """Lets time pass on both clocks."""
        self._monotonic += seconds
        self._epoch_ms += seconds * 1000

    def step_wall_clock(self, seconds: float) -> None:
        """Sets the wall clock forward or back, as an administrator or NTP does."""
        self._epoch_ms += seconds * 1000

    def wait_until(self, monotonic: float, stop: threading.Event) -> bool:
        """Moves the clocks there at once, unless `stop` is set."""
        if not stop.is_set():
            self.advance(max(0.0, monotonic - self._monotonic) + self.oversleep)
            self.oversleep = 0.0
        return stop.is_set()
