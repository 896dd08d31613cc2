"""An event loop whose clock jumps over every wait: hours of asyncio in milliseconds."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from agent.manual_clock import ManualClock


class _JumpingSelector(selectors.DefaultSelector):
    """Reports what is ready; where there is nothing, the time passes at once instead of being waited for."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> Sequence[Any]:
        ready = super().select(0)
        if not ready and timeout is None:
            raise RuntimeError("the simulation waits for something that nothing will ever do")
        if not ready and timeout:
            self._clock.advance(timeout)
        return ready


def simulate[T](scene: Callable[[ManualClock], Coroutine[Any, Any, T]]) -> T:
    """Runs a coroutine in simulated time; the clock it is given moves with its waits."""
    clock = ManualClock()
    loop = asyncio.SelectorEventLoop(_JumpingSelector(clock))
    loop.time = clock.monotonic  # type: ignore[method-assign]
    try:
        return loop.run_until_complete(scene(clock))
    finally:
        loop.close()
