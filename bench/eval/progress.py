"""Says on standard error how far a long run is: at most one line every few seconds."""

from __future__ import annotations

import sys
import time


class Progress:
    """Tells of steps and of how much of a step is done."""

    def __init__(self, every_seconds: float = 5.0) -> None:
        self._began = time.monotonic()
        self._every = every_seconds
        self._told = 0.0

    def step(self, text: str) -> None:
        """Something new begins."""
        self._say(text)

    def part(self, text: str, done: int, total: int) -> None:
        """So much of it is done; not told when something was told a moment ago."""
        if time.monotonic() - self._told >= self._every:
            self._say(f"{text}: {100 * done // max(total, 1)} %")

    def _say(self, text: str) -> None:
        self._told = time.monotonic()
        print(f"[{self._told - self._began:6.1f} s] {text}", file=sys.stderr, flush=True)
