"""What the SDK's exceptions mean for delivery."""

import pytest
from azure.eventhub._pyamqp.error import AMQPLinkError, MessageException
from azure.eventhub.exceptions import ConnectError, EventDataSendError

from agent.publisher.publisher import FailureReason
from agent.publisher.sdk_errors import BUSY_SECONDS, LONGEST_BUSY_SECONDS, failure, is_busy

THROTTLED = (
    "The request was terminated because the entity is being throttled. Error code : 50002. {} To know more visit x."
)


def busy(description: str) -> EventDataSendError:
    cause = MessageException(b"com.microsoft:server-busy", description=description)
    return EventDataSendError(str(cause), cause)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("wish", "seconds"),
    [
        ("Please wait 4 seconds and try again.", 4),
        ("Please wait 10 seconds and try again.", 10),
        ("Please wait 1 second and try again.", 1),
        ("Please wait 2.5 seconds and try again.", 2.5),
        ("please WAIT 7s", 7),
        ("", BUSY_SECONDS),
        ("Please wait.", BUSY_SECONDS),
        ("Please wait -5 seconds.", BUSY_SECONDS),
        ("Please wait 99999999 seconds and try again.", LONGEST_BUSY_SECONDS),
    ],
)
def test_a_busy_event_hub_is_left_alone_for_as_long_as_it_asks_within_reason(wish, seconds):
    error = busy(THROTTLED.format(wish))

    found = failure(error)

    assert is_busy(error)
    assert (found.reason, found.retry_after) == (FailureReason.THROTTLED, seconds)


@pytest.mark.parametrize(
    ("condition", "reason"),
    [
        (b"amqp:unauthorized-access", FailureReason.UNAUTHORIZED),
        (b"com.microsoft:auth-failed", FailureReason.UNAUTHORIZED),
        (b"amqp:not-found", FailureReason.NOT_FOUND),
        (b"com.microsoft:entity-disabled", FailureReason.NOT_FOUND),
        (b"amqp:resource-limit-exceeded", FailureReason.QUOTA_EXCEEDED),
        (b"amqp:connection:forced", FailureReason.UNREACHABLE),
    ],
)
def test_a_refused_link_says_why(condition, reason):
    cause = AMQPLinkError(condition, description="wait 30 seconds")
    error = ConnectError(str(cause), cause)  # type: ignore[arg-type]

    found = failure(error)

    assert not is_busy(error)
    assert (found.reason, found.retry_after) == (reason, 0), "only who is busy may ask for silence"


def test_a_long_story_is_cut_and_stays_on_one_line():
    found = failure(RuntimeError("much to say\n" * 100))

    assert found.reason is FailureReason.OTHER
    assert len(str(found)) == 300
    assert "\n" not in str(found)
