"""Where in a partition a receiver starts, from the selector filter the SDK attaches with.

Only this package may import it. The selectors are `amqp.annotation.x-opt-offset > '…'` (or `>=`), the same with
x-opt-sequence-number and x-opt-enqueued-time (Unix milliseconds), the offsets '-1' (the oldest event) and
'@latest' (events still to come).
"""

import re

from local.event_hubs.errors import ARGUMENT_ERROR, AmqpError
from local.event_hubs.partition_log import PartitionLog

_SELECTOR = re.compile(
    r"amqp\.annotation\.x-opt-(offset|sequence-number|enqueued-time)\s*(>=?)\s*'(-?\d{1,19}|@latest)'"
)


def start_sequence(log: PartitionLog, selector: str | None) -> int:
    """Return the sequence number to read from; without a selector, that of the next event.

    What is expired gives the oldest retained event. Raises AmqpError for what no event can have had yet, as the
    service does: it means that the position belongs to another event hub or to data that is gone.
    """
    if selector is None:
        return log.next_sequence
    match = _SELECTOR.fullmatch(selector.strip())
    if match is None:
        raise AmqpError(
            ARGUMENT_ERROR,
            f"The supplied filter {selector!r:.200} is invalid. Use amqp.annotation.x-opt-offset, "
            "x-opt-sequence-number or x-opt-enqueued-time with > or >= and a quoted number.",
        )
    field, operator, value = match.groups()
    if value == "@latest":
        return log.next_sequence
    number, inclusive = int(value), operator == ">="
    if field == "enqueued-time":
        return log.sequence_at_time(max(number, 0), inclusive)
    if number < 0:
        return log.begin_sequence
    if field == "sequence-number":
        first = number if inclusive else number + 1
        if first > log.next_sequence:
            raise _unknown_position("sequence number", value, log.next_sequence - 1)
        return max(first, log.begin_sequence)
    if number >= log.next_offset:
        raise _unknown_position("offset", value, log.last_event.offset if log.last_event else -1)
    return log.sequence_at_offset(number, inclusive)


def _unknown_position(kind: str, value: str, last: int) -> AmqpError:
    return AmqpError(
        ARGUMENT_ERROR,
        f"The supplied {kind} '{value}' is invalid. The last {kind} in the system is '{last}'. "
        "The checkpoint belongs to other data: start from '-1' or delete the checkpoint.",
    )
