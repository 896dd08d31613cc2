"""The AMQP 1.0 frames that the broker sends.

Only this package may import it. The azure-eventhub SDK reads performative fields by fixed index, so every
performative written here is a list32 with a one-byte descriptor and all its fields, trailing nulls included.
"""

import struct
from collections.abc import Iterable
from typing import NamedTuple

from local.event_hubs.amqp_types import (
    NULL,
    encode_boolean,
    encode_list,
    encode_map,
    encode_string,
    encode_symbol,
    encode_symbol_array,
    encode_ubyte,
    encode_uint,
    encode_ulong,
    encode_ushort,
)
from local.event_hubs.errors import AmqpError
from local.event_hubs.performatives import (
    ATTACH,
    BEGIN,
    CLOSE,
    DETACH,
    DISPOSITION,
    END,
    FLOW,
    OPEN,
    SASL_MECHANISMS,
    SASL_OUTCOME,
    Attach,
)

AMQP_HEADER = b"AMQP\x00\x01\x00\x00"
SASL_HEADER = b"AMQP\x03\x01\x00\x00"
HEARTBEAT = b"\x00\x00\x00\x08\x02\x00\x00\x00"
AMQP_FRAME, SASL_FRAME = 0, 1

_ACCEPTED = b"\x00\x53\x24\x45"
_REJECTED, _ERROR = 0x25, 0x1D

_FRAME_HEADER = struct.Struct(">IBBH")


def frame(channel: int, body: bytes, frame_type: int = AMQP_FRAME) -> bytes:
    """Return a whole frame around a body."""
    return _FRAME_HEADER.pack(8 + len(body), 2, frame_type, channel) + body


def _performative(descriptor: int, *fields: bytes) -> bytes:
    return bytes((0x00, 0x53, descriptor)) + encode_list(fields)


def _error(error: AmqpError | None) -> bytes:
    if error is None:
        return NULL
    return _performative(_ERROR, encode_symbol(error.condition), encode_string(error.description), encode_map({}))


def sasl_mechanisms(names: Iterable[str]) -> bytes:
    """Offer SASL mechanisms."""
    return _performative(SASL_MECHANISMS, encode_symbol_array(names))


def sasl_outcome(code: int) -> bytes:
    """Tell how SASL ended: 0 is ok, 1 is refused."""
    return _performative(SASL_OUTCOME, encode_ubyte(code), NULL)


def open_(container_id: str, max_frame_size: int, channel_max: int, idle_timeout: float) -> bytes:
    """Answer an open; `idle_timeout` in seconds."""
    return _performative(
        OPEN,
        encode_string(container_id),
        NULL,
        encode_uint(max_frame_size),
        encode_ushort(channel_max),
        encode_uint(int(idle_timeout * 1000)),
        *[NULL] * 4,
        encode_map({encode_symbol("product"): encode_string("local.event_hubs")}),
    )


def begin(remote_channel: int, next_outgoing_id: int, window: int, handle_max: int) -> bytes:
    """Answer a begin."""
    return _performative(
        BEGIN,
        encode_ushort(remote_channel),
        encode_uint(next_outgoing_id),
        encode_uint(window),
        encode_uint(window),
        encode_uint(handle_max),
        *[NULL] * 3,
    )


def attach(request: Attach, max_message_size: int) -> bytes:
    """Answer an attach: same name and handle, the other role, source and target echoed."""
    return _performative(
        ATTACH,
        encode_string(request.name),
        encode_uint(request.handle),
        encode_boolean(not request.is_receiver),
        encode_ubyte(1 if request.is_receiver else 2),
        encode_ubyte(0),
        request.source,
        request.target,
        NULL,
        NULL,
        encode_uint(0) if request.is_receiver else NULL,
        encode_ulong(max_message_size),
        *[NULL] * 3,
    )


class SessionWindow(NamedTuple):
    """What a flow says about the session it belongs to."""

    next_incoming_id: int
    next_outgoing_id: int
    size: int


def flow(window: SessionWindow, handle: int | None = None, delivery_count: int = 0, credit: int = 0) -> bytes:
    """Tell the session's windows, and a link's credit if `handle` is given."""
    link_fields = (
        [NULL] * 3 if handle is None else [encode_uint(handle), encode_uint(delivery_count), encode_uint(credit)]
    )
    return _performative(
        FLOW,
        encode_uint(window.next_incoming_id),
        encode_uint(window.size),
        encode_uint(window.next_outgoing_id),
        encode_uint(window.size),
        *link_fields,
        NULL,
        encode_boolean(False),
        encode_boolean(False),
        NULL,
    )


# Frame header, descriptor, list32 of 11 fields: handle, delivery-id, delivery-tag (4 bytes), format 0,
# settled, more, five nulls. One pack per frame: this is the broker's hottest path.
_TRANSFER = struct.Struct(">IBBH 4sII cI cI 2sI 8s")
_TRANSFER_LIST_SIZE = _TRANSFER.size - 8 - 8
_LAST, _MORE = (b"\x43\x41" + more + b"\x40" * 5 for more in (b"\x42", b"\x41"))
TRANSFER_OVERHEAD = _TRANSFER.size


def transfer_header(channel: int, handle: int, delivery_id: int, more: bool, payload_size: int) -> bytes:
    """Return what precedes the payload in a settled transfer's frame."""
    return _TRANSFER.pack(
        _TRANSFER.size + payload_size,
        2,
        AMQP_FRAME,
        channel,
        b"\x00\x53\x14\xd0",
        _TRANSFER_LIST_SIZE,
        11,
        b"\x70",
        handle,
        b"\x70",
        delivery_id,
        b"\xa0\x04",
        delivery_id,
        _MORE if more else _LAST,
    )


def disposition(delivery_id: int, error: AmqpError | None) -> bytes:
    """Settle one delivery: accepted, or rejected with an error."""
    return _performative(
        DISPOSITION,
        encode_boolean(True),
        encode_uint(delivery_id),
        encode_uint(delivery_id),
        encode_boolean(True),
        _ACCEPTED if error is None else _performative(_REJECTED, _error(error)),
        NULL,
    )


def detach(handle: int, error: AmqpError | None = None) -> bytes:
    """Close a link."""
    return _performative(DETACH, encode_uint(handle), encode_boolean(True), _error(error))


def end(error: AmqpError | None = None) -> bytes:
    """End a session."""
    return _performative(END, _error(error))


def close(error: AmqpError | None = None) -> bytes:
    """Close the connection."""
    return _performative(CLOSE, _error(error))
