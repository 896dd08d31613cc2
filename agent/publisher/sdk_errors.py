"""What an exception of the Event Hubs SDK means for whoever publishes. For `agent.publisher.event_hub_publisher`.

The SDK tells in `error` the AMQP condition without its first part: `server-busy` for `com.microsoft:server-busy`.
"""

from __future__ import annotations

import re

from agent.publisher.publisher import FailureReason, PublishFailed

BUSY = "server-busy"
BUSY_SECONDS = 4.0
"""How long to leave a busy event hub alone that does not say for how long; Microsoft's SDKs take the same."""
LONGEST_BUSY_SECONDS = 300.0
"""A misread or absurd request is not followed for longer."""

_BY_CONDITION = {
    BUSY: FailureReason.THROTTLED,
    "unauthorized-access": FailureReason.UNAUTHORIZED,
    "auth-failed": FailureReason.UNAUTHORIZED,
    "not-found": FailureReason.NOT_FOUND,
    "entity-disabled": FailureReason.NOT_FOUND,
    "resource-deleted": FailureReason.NOT_FOUND,
    "resource-limit-exceeded": FailureReason.QUOTA_EXCEEDED,
}
_ASKED = re.compile(r"wait (\d+(?:\.\d+)?) ?s", re.IGNORECASE)


def is_busy(error: BaseException | None) -> bool:
    """Whether the event hub has said that it wants to be left alone for a while."""
    return getattr(error, "error", None) == BUSY


def failure(error: Exception) -> PublishFailed:
    """Gives what delivery needs to know: the reason, and for how long the event hub wants to be left alone."""
    text = " ".join(str(error).split()) or "no details"
    reason = _reason(error)
    asked = 0.0
    if reason is FailureReason.THROTTLED:
        match = _ASKED.search(text)
        asked = min(float(match[1]), LONGEST_BUSY_SECONDS) if match else BUSY_SECONDS
    return PublishFailed(f"{type(error).__name__}: {text}"[:300], reason, retry_after=asked)


def _reason(error: BaseException) -> FailureReason:
    from azure.core.exceptions import ClientAuthenticationError, ServiceRequestError, ServiceResponseError
    from azure.eventhub.exceptions import AuthenticationError, ConnectError, ConnectionLostError, OperationTimeoutError

    condition = getattr(error, "error", None)
    if condition in _BY_CONDITION:
        return _BY_CONDITION[condition]
    if isinstance(error, AuthenticationError | ClientAuthenticationError):
        return FailureReason.UNAUTHORIZED
    if isinstance(error, ConnectError | ConnectionLostError | OperationTimeoutError | OSError):
        return FailureReason.UNREACHABLE
    if isinstance(error, ServiceRequestError | ServiceResponseError):
        return FailureReason.UNREACHABLE
    # What the credential raises, the SDK wraps without saying so.
    return _reason(error.__context__) if error.__context__ else FailureReason.OTHER
