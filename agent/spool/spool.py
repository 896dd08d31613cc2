"""What a spool promises. For everything that stores or sends envelopes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, Protocol


class Spooled(NamedTuple):
    """An envelope in the spool."""

    number: int
    """Its place in the order of appending; unique within a spool."""
    body: bytes
    """The envelope as it goes to Event Hubs."""


class Spool(Protocol):
    """Keeps envelopes in order until they are removed; forgets the oldest when there are too many or they are too old.

    Nothing it does raises on account of its storage: a spool that cannot write keeps what it can in memory.
    """

    @property
    def dropped(self) -> int:
        """How many envelopes were forgotten or lost without having been removed."""

    def append(self, body: bytes) -> None:
        """Adds an envelope at the end; drops from the front what is then over the bounds."""

    def oldest(self, max_count: int, max_bytes: int) -> list[Spooled]:
        """Gives the oldest envelopes in order, at most so many and so large together; one at least if there is any."""

    def remove(self, numbers: Iterable[int]) -> None:
        """Removes envelopes that were acknowledged or can never be sent; numbers it does not have are ignored."""

    def __len__(self) -> int:
        """How many envelopes wait."""
