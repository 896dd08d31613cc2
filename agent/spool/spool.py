"""What a spool promises. For everything that stores, sends or reports on envelopes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import NamedTuple, Protocol


class DropReason(StrEnum):
    """Why an envelope left the spool without having been sent."""

    OVER_BYTES = "over_bytes"
    """It was the oldest, and there was no room for it and the newer ones."""
    OVER_AGE = "over_age"
    """It had waited for longer than it may."""
    MEMORY_FULL = "memory_full"
    """It waited in memory, because the disk did not take it, and there was no more room there."""
    DAMAGED = "damaged"
    """Its file does not hold what was written, or cannot be read."""
    MISSING = "missing"
    """Its file has been taken away: by a second agent that sent it, or by a person."""


class Spooled(NamedTuple):
    """An envelope in the spool."""

    number: int
    """Its place in the order of appending; unique within a spool."""
    body: bytes
    """The envelope as it goes to Event Hubs."""


class Spool(Protocol):
    """Keeps envelopes in order until they are removed; forgets the oldest when there are too many or they are too old.

    Nothing it does raises on account of its storage: a spool that cannot write keeps what it can in memory. An
    envelope ages by the monotonic clock: steps of the wall clock make none older or younger.
    """

    @property
    def drops(self) -> Mapping[DropReason, int]:
        """How many envelopes were forgotten or lost without having been removed; every reason is a key."""

    @property
    def dropped(self) -> int:
        """The sum of `drops`."""

    @property
    def waiting_bytes(self) -> int:
        """How many bytes the envelopes that wait have together."""

    @property
    def disk_failing(self) -> bool:
        """Whether the storage refused the last thing it was asked to do."""

    def append(self, body: bytes) -> None:
        """Adds an envelope at the end; drops from the front what is then over the bounds."""

    def oldest(self, max_count: int, max_bytes: int) -> list[Spooled]:
        """Gives the oldest envelopes in order, at most so many and so large together; one at least if there is any."""

    def oldest_age(self) -> float:
        """Gives the seconds for which the oldest envelope has waited; 0 when none waits."""

    def remove(self, numbers: Iterable[int]) -> None:
        """Removes envelopes that were acknowledged or can never be sent; numbers it does not have are ignored."""

    def __len__(self) -> int:
        """How many envelopes wait."""
