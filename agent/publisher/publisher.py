"""What a publisher promises, and how it fails. For everything that sends envelopes."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol

from telemetry.errors import PermanentError, TransientError


class FailureReason(StrEnum):
    """Why envelopes were not acknowledged. None of them is a reason to give an envelope up."""

    THROTTLED = "throttled"
    """The event hub is busy, or a throughput unit's share is used up."""
    UNAUTHORIZED = "unauthorized"
    """Key, token or role were not accepted."""
    NOT_FOUND = "not_found"
    """The namespace has no such event hub."""
    QUOTA_EXCEEDED = "quota_exceeded"
    """A limit of the namespace that waiting does not raise, such as its number of connections."""
    UNREACHABLE = "unreachable"
    """No connection, or no answer in time."""
    OTHER = "other"


class PublishFailed(TransientError):
    """The envelopes were not acknowledged; some may have been accepted, so sending them again may duplicate them."""

    def __init__(self, problem: str, reason: FailureReason = FailureReason.OTHER, *, retry_after: float = 0.0) -> None:
        """`retry_after`: seconds for which the other side has asked to be left alone."""
        self.reason = reason
        self.retry_after = retry_after
        super().__init__(problem)


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
