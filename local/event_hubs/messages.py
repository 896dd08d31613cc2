"""Event Hubs messages: what a delivery holds, what is stored of it, and what a receiver gets.

Only this package may import it. A message is a run of AMQP sections (part 3 of the standard). Bodies,
properties and application properties are kept byte for byte; only annotations are taken apart.
"""

import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

from local.event_hubs.amqp_types import (
    DecodeError,
    decode,
    encode_long,
    encode_map,
    encode_string,
    encode_symbol,
    encode_timestamp,
    map_header,
    skip,
)
from local.event_hubs.errors import NOT_ALLOWED, AmqpError

BATCH_FORMAT = 0x80013700
"""The message format under which each data section of a message is an encoded message of its own."""

HEADER, DELIVERY_ANNOTATIONS, MESSAGE_ANNOTATIONS, PROPERTIES, APPLICATION_PROPERTIES = range(0x70, 0x75)
DATA, AMQP_SEQUENCE, AMQP_VALUE, FOOTER = range(0x75, 0x79)

_PARTITION_KEY = "x-opt-partition-key"
_SET_BY_BROKER = {"x-opt-sequence-number", "x-opt-offset", "x-opt-enqueued-time", _PARTITION_KEY}
_ENCODED_PARTITION_KEY = encode_symbol(_PARTITION_KEY)
_SEQUENCE_NUMBER = encode_symbol("x-opt-sequence-number") + b"\x81"
_OFFSET = encode_symbol("x-opt-offset")
_ENQUEUED_TIME = encode_symbol("x-opt-enqueued-time")
_ANNOTATIONS_SECTION = b"\x00\x53\x72"
_DELIVERY_ANNOTATIONS_SECTION = b"\x00\x53\x71"
_I64 = struct.Struct(">q")


class StoredEvent(NamedTuple):
    """What the log keeps of one event: encoded annotation entries (keys and values counted), and the rest."""

    annotation_items: int
    annotations: bytes
    rest: bytes


class Delivery(NamedTuple):
    """The events of one delivery, all bound for one partition."""

    events: list[StoredEvent]
    partition_key: str | None


def read_delivery(message: bytes, message_format: int) -> Delivery:
    """Take a delivery apart into its events. Raises DecodeError, or AmqpError for an empty batch."""
    if message_format != BATCH_FORMAT:
        event, key = _read_event(message, None)
        return Delivery([event], key)
    batch_key: str | None = None
    bodies = []
    for section in sections(message):
        if section.descriptor == MESSAGE_ANNOTATIONS:
            batch_key = _partition_key(_map_of(message, section))
        elif section.descriptor == DATA:
            body, _ = decode(message, section.value)
            if not isinstance(body, bytes):
                raise DecodeError(f"a data section must hold binary, got {type(body).__name__}")
            bodies.append(body)
    if not bodies:
        raise AmqpError(NOT_ALLOWED, "The batch holds no events; send at least one data section.")
    return Delivery([_read_event(body, batch_key)[0] for body in bodies], batch_key)


def event_message(event: StoredEvent, sequence_number: int, offset: int, enqueued_ms: int) -> bytes:
    """Return the message a receiver gets: the stored one with its position annotated."""
    annotations = b"".join(
        (
            _SEQUENCE_NUMBER,
            _I64.pack(sequence_number),
            _OFFSET,
            encode_string(str(offset)),
            _ENQUEUED_TIME,
            encode_timestamp(enqueued_ms),
            event.annotations,
        )
    )
    header = map_header(6 + event.annotation_items, len(annotations))
    return b"".join((_ANNOTATIONS_SECTION, header, annotations, event.rest))


def last_enqueued_annotations(sequence_number: int, offset: int, enqueued_ms: int, now_ms: int) -> bytes:
    """Return the section that tells a receiver how far the partition has got."""
    return _DELIVERY_ANNOTATIONS_SECTION + encode_map(
        {
            encode_symbol("last_enqueued_sequence_number"): encode_long(sequence_number),
            encode_symbol("last_enqueued_offset"): encode_string(str(offset)),
            encode_symbol("last_enqueued_time_utc"): encode_timestamp(enqueued_ms),
            encode_symbol("runtime_info_retrieval_time_utc"): encode_timestamp(now_ms),
        }
    )


class Section(NamedTuple):
    """Where a section starts, where its value does, and where it ends."""

    descriptor: int
    start: int
    value: int
    end: int


def sections(message: bytes) -> Iterator[Section]:
    """Yield the sections of a message in order. Raises DecodeError."""
    position, size = 0, len(message)
    while position < size:
        if message[position : position + 2] == b"\x00\x53" and position + 2 < size:
            descriptor, value = message[position + 2], position + 3
        else:
            descriptor, value = _wide_descriptor(message, position)
        if not HEADER <= descriptor <= FOOTER:
            raise DecodeError(f"0x{descriptor:x} at byte {position} is no message section")
        end = skip(message, value)
        yield Section(descriptor, position, value, end)
        position = end


def _wide_descriptor(message: bytes, position: int) -> tuple[int, int]:
    if message[position] != 0x00:
        raise DecodeError(f"0x{message[position]:02x} at byte {position} starts no message section")
    descriptor, value = decode(message, position + 1)
    if not isinstance(descriptor, int):
        raise DecodeError(f"a section's descriptor must be an ulong, got {descriptor!r:.100}")
    return descriptor, value


def _read_event(message: bytes, batch_key: str | None) -> tuple[StoredEvent, str | None]:
    """Return what is stored of one message, and its partition key: its own, else the batch's."""
    items, annotations, key, rest, has_body = 0, b"", batch_key, [], False
    for section in sections(message):
        if section.descriptor == MESSAGE_ANNOTATIONS:
            values = _map_of(message, section)
            key = _partition_key(values) or batch_key
            items, annotations = _application_annotations(message, section)
        elif section.descriptor not in (HEADER, DELIVERY_ANNOTATIONS):  # both end at the broker
            rest.append(message[section.start : section.end])
            has_body = has_body or DATA <= section.descriptor <= AMQP_VALUE
    if not has_body:
        raise DecodeError(f"a message must have a body section, got {len(message)} bytes without one")
    if key is not None:
        items, annotations = items + 2, annotations + _ENCODED_PARTITION_KEY + encode_string(key)
    return StoredEvent(items, annotations, b"".join(rest)), key


def _map_of(message: bytes, section: Section) -> dict[Any, Any]:
    value, _ = decode(message, section.value)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise DecodeError(f"annotations must be a map, got {type(value).__name__}")
    return value


def _application_annotations(message: bytes, section: Section) -> tuple[int, bytes]:
    """Return the sender's own annotations as they were encoded, without those that the broker sets.

    An event that was received and is sent on still has its old position, which must not win over the new one.
    """
    code = message[section.value]
    position = section.value + {0xC1: 3, 0xD1: 9}.get(code, section.end)
    items, kept = 0, []
    while position < section.end:
        key, value_start = decode(message, position)
        value_end = skip(message, value_start)
        if key not in _SET_BY_BROKER:
            items += 2
            kept.append(message[position:value_end])
        position = value_end
    return items, b"".join(kept)


def _partition_key(annotations: dict[Any, Any]) -> str | None:
    key = annotations.get(_PARTITION_KEY)
    if isinstance(key, bytes):
        key = key.decode(errors="replace")
    if key is None or isinstance(key, str):
        return key or None
    raise DecodeError(f"{_PARTITION_KEY} must be a string, got {key!r:.100}")
