"""Waiting for what other processes do, within bounds."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE_SECONDS = 30.0


def eventually[T](look: Callable[[], T], what: str) -> T:
    """The first true value of `look`, which is tried until it has one; fails after a bounded time."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(0.02)
    raise AssertionError(f"never saw {what}")
