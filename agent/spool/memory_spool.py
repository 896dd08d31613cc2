"""A spool in memory: the simplest thing that keeps a spool's promises. For tests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from agent.clock import Clock
from agent.spool.drops import Drops
from agent.spool.spool import DropReason, Spooled


class MemorySpool:
    """Keeps envelopes until the process ends."""

    disk_failing = False

    def __init__(self, max_bytes: int, max_age: float, clock: Clock) -> None:
        self._max_bytes = max_bytes
        self._max_age = max_age
        self._clock = clock
        self._waiting: list[tuple[Spooled, float]] = []
        self._bytes = 0
        self._next = 1
        self._drops = Drops()

    @property
    def drops(self) -> Mapping[DropReason, int]:
        """How many envelopes were forgotten, by reason."""
        return self._drops.counts

    @property
    def dropped(self) -> int:
        """How many envelopes were forgotten."""
        return sum(self._drops.counts.values())

    @property
    def waiting_bytes(self) -> int:
        """How many bytes the envelopes that wait have together."""
        return self._bytes

    def append(self, body: bytes) -> None:
        """Adds an envelope at the end; drops from the front what is then over the bounds."""
        self._waiting.append((Spooled(self._next, body), self._clock.monotonic()))
        self._bytes += len(body)
        self._next += 1
        self._enforce()
        self._drops.appended()

    def oldest(self, max_count: int, max_bytes: int) -> list[Spooled]:
        """Gives the oldest envelopes in order, at most so many and so large together; one at least if there is any."""
        self._enforce()
        taken: list[Spooled] = []
        size = 0
        for spooled, _ in self._waiting[:max_count]:
            if taken and size + len(spooled.body) > max_bytes:
                break
            taken.append(spooled)
            size += len(spooled.body)
        return taken

    def oldest_age(self) -> float:
        """Gives the seconds for which the oldest envelope has waited; 0 when none waits."""
        return self._clock.monotonic() - self._waiting[0][1] if self._waiting else 0.0

    def remove(self, numbers: Iterable[int]) -> None:
        """Removes envelopes; numbers it does not have are ignored."""
        gone = set(numbers)
        self._bytes -= sum(len(spooled.body) for spooled, _ in self._waiting if spooled.number in gone)
        self._waiting = [item for item in self._waiting if item[0].number not in gone]

    def __len__(self) -> int:
        """How many envelopes wait."""
        return len(self._waiting)

    def _enforce(self) -> None:
        while self._waiting:
            if self.waiting_bytes > self._max_bytes:
                reason = DropReason.OVER_BYTES
            elif self.oldest_age() > self._max_age:
                reason = DropReason.OVER_AGE
            else:
                break
            self._bytes -= len(self._waiting.pop(0)[0].body)
            self._drops.add(reason)
