"""A publisher that keeps what it is given and fails on demand. For tests."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence

from agent.publisher.publisher import EnvelopeTooLarge, PublishFailed


class RecordingPublisher:
    """Acknowledges everything up to `max_bytes`, unless told how the next calls are to end."""

    def __init__(self, max_bytes: int = 1024 * 1024) -> None:
        self._max_bytes = max_bytes
        self.acknowledged: list[bytes] = []
        self.calls = 0
        self.closed = False
        self.script: deque[Exception | str] = deque()
        """How the next calls end: an exception is raised; "lost_ack" accepts, then fails; "hang" never returns."""
        self.down = False
        """While set, every call fails."""

    async def publish(self, envelopes: Sequence[bytes]) -> None:
        """Does what the script says; without one, acknowledges."""
        self.calls += 1
        await asyncio.sleep(0)
        for index, body in enumerate(envelopes):
            if len(body) > self._max_bytes:
                raise EnvelopeTooLarge(index, len(body), self._max_bytes)
        if self.down:
            raise PublishFailed("the event hub is down")
        step = self.script.popleft() if self.script else None
        if isinstance(step, Exception):
            raise step
        if step == "hang":
            await asyncio.Event().wait()
        self.acknowledged += envelopes
        if step == "lost_ack":
            raise PublishFailed("the acknowledgement got lost")

    async def close(self) -> None:
        """Notes that it was closed."""
        self.closed = True
