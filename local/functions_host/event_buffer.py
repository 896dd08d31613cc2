"""A bounded queue between a partition's receiver and its pump. For the event hub listener only."""

import asyncio
from collections import deque

from local.functions_host.event import Event


class EventBuffer:
    """Holds received events in order; a full buffer holds back the receiver, and so the broker."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._events: deque[Event] = deque()
        self._filled = asyncio.Event()
        self._drained = asyncio.Event()
        self._closed = False

    async def put(self, event: Event) -> None:
        """Append an event, as soon as there is room."""
        while len(self._events) >= self._capacity:
            self._drained.clear()
            await self._drained.wait()
        self._events.append(event)
        self._filled.set()

    async def take(self, minimum: int, maximum: int, max_wait: float) -> list[Event]:
        """The next events, at most `maximum`, empty once the buffer is closed.

        Returns as soon as `minimum` events are there, or `max_wait` seconds after the first of them was seen.
        """
        deadline: float | None = None
        loop = asyncio.get_running_loop()
        while not self._closed and len(self._events) < minimum:
            if self._events and deadline is None:
                deadline = loop.time() + max_wait
            self._filled.clear()
            try:
                async with asyncio.timeout_at(deadline):
                    await self._filled.wait()
            except TimeoutError:
                break
        if self._closed:
            return []
        batch = [self._events.popleft() for _ in range(min(maximum, len(self._events)))]
        self._drained.set()
        return batch

    def close(self) -> None:
        """Make `take` return nothing from now on; what is still held was never handed to the function."""
        self._closed = True
        self._filled.set()
