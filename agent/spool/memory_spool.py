"""A spool in memory: the simplest thing that keeps a spool's promises. For tests."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from agent.spool.spool import Spooled


class MemorySpool:
    """Keeps envelopes until the process ends."""

    def __init__(self, max_bytes: int, max_age: float, epoch_ms: Callable[[], int]) -> None:
        self._max_bytes = max_bytes
        self._max_age_ms = max_age * 1000
        self._epoch_ms = epoch_ms
        self._waiting: list[tuple[Spooled, int]] = []
        self._next = 1
        self.dropped = 0

    def append(self, body: bytes) -> None:
        """Adds an envelope at the end; drops from the front what is then over the bounds."""
        self._waiting.append((Spooled(self._next, body), self._epoch_ms()))
        self._next += 1
        self._enforce()

    def oldest(self, max_count: int, max_bytes: int) -> list[Spooled]:
        """Gives the oldest envelopes in order, at most so many and so large together; one at least if there is any."""
        self._enforce()
        taken: list[Spooled] = []
        for spooled, _ in self._waiting[:max_count]:
            if taken and sum(len(t.body) for t in taken) + len(spooled.body) > max_bytes:
                break
            taken.append(spooled)
        return taken

    def remove(self, numbers: Iterable[int]) -> None:
        """Removes envelopes; numbers it does not have are ignored."""
        gone = set(numbers)
        self._waiting = [item for item in self._waiting if item[0].number not in gone]

    def __len__(self) -> int:
        """How many envelopes wait."""
        return len(self._waiting)

    def _enforce(self) -> None:
        oldest_ms = self._epoch_ms() - self._max_age_ms
        while self._waiting and (
            sum(len(spooled.body) for spooled, _ in self._waiting) > self._max_bytes or self._waiting[0][1] < oldest_ms
        ):
            self._waiting.pop(0)
            self.dropped += 1
