"""What a publisher promises, and how it fails. For everything that sends envelopes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from telemetry.errors import PermanentError, TransientError


class PublishFailed(TransientError):
    """The envelopes were not acknowledged; some may have been accepted, so sending them again may duplicate them."""


class EnvelopeTooLarge(PermanentError):
    """One envelope can never be sent: it is larger than the link takes. Nothing was sent."""

    def __init__(self, index: int, size: int, limit: int) -> None:
        self.index = index
        self.size = size
        self.limit = limit
        super().__init__(f"envelope {index} has {size} bytes; the event hub's link takes {limit} with its headers")


class Publisher(Protocol):
    """Sends envelopes of one node, in order."""

    async def publish(self, envelopes: Sequence[bytes]) -> None:
        """Sends envelopes as they are; returns when all are acknowledged.

        Raises PublishFailed when that did not happen in time, EnvelopeTooLarge when it never will.
        """

    async def close(self) -> None:
        """Lets go of connections. Raises nothing."""
