"""The request-response nodes `$cbs` (put-token) and `$management` (READ of event hubs and partitions).

Only this package may import it.
"""

import uuid
from collections.abc import Mapping
from typing import Any

from local.event_hubs.amqp_types import (
    NULL,
    DecodeError,
    decode,
    encode_binary,
    encode_boolean,
    encode_int,
    encode_list,
    encode_long,
    encode_map,
    encode_string,
    encode_string_array,
    encode_timestamp,
    encode_ulong,
    encode_uuid,
)
from local.event_hubs.errors import NOT_FOUND, NOT_IMPLEMENTED, UNAUTHORIZED, AmqpError
from local.event_hubs.hub import Hub
from local.event_hubs.messages import AMQP_VALUE, APPLICATION_PROPERTIES, PROPERTIES, sections
from local.event_hubs.tokens import Grants

CBS, MANAGEMENT = "$cbs", "$management"


def answer(node: str, message: bytes, hubs: Mapping[str, Hub], grants: Grants, now: float) -> bytes:
    """Return the response to a request; failures are a status code in it. Raises DecodeError on malformed bytes."""
    values = {section.descriptor: decode(message, section.value)[0] for section in sections(message)}
    request = values.get(APPLICATION_PROPERTIES)
    if not isinstance(request, dict):
        raise DecodeError("a request must have application properties")
    body = NULL
    try:
        if node == CBS:
            grants.put(values.get(AMQP_VALUE), str(request.get("name", "")), now)
            status, description = 202, "Accepted"
        else:
            body = _read(request, hubs, grants, now)
            status, description = 200, "OK"
    except AmqpError as error:
        status = {UNAUTHORIZED: 401, NOT_FOUND: 404}.get(error.condition, 400)
        description = error.description
    return _response(_message_id(values.get(PROPERTIES)), status, description, body)


def _read(request: Mapping[Any, Any], hubs: Mapping[str, Hub], grants: Grants, now: float) -> bytes:
    operation, name, kind = request.get("operation"), request.get("name"), request.get("type")
    if operation != "READ" or kind not in ("com.microsoft:eventhub", "com.microsoft:partition"):
        raise AmqpError(
            NOT_IMPLEMENTED,
            f"Operation {operation!r:.50} on {kind!r:.50} is not supported; READ com.microsoft:eventhub or "
            "com.microsoft:partition.",
        )
    hub = find_hub(hubs, str(name))
    grants.check(hub.name, now)
    if kind == "com.microsoft:eventhub":
        return _hub_properties(hub)
    return _partition_properties(hub, str(request.get("partition", "")))


def find_hub(hubs: Mapping[str, Hub], name: str) -> Hub:
    """Return the event hub of this name, in any case. Raises AmqpError."""
    hub = hubs.get(name.lower())
    if hub is None:
        raise AmqpError(NOT_FOUND, f"The messaging entity 'sb://localhost/{name:.256}' could not be found.")
    return hub


def _hub_properties(hub: Hub) -> bytes:
    return _string_map(
        {
            "name": encode_string(hub.name),
            "type": encode_string("com.microsoft:eventhub"),
            "created_at": encode_timestamp(hub.created_ms),
            "partition_count": encode_int(len(hub.partitions)),
            "partition_ids": encode_string_array(partition.id for partition in hub.partitions),
            "georeplication_factor": encode_int(1),
        }
    )


def _partition_properties(hub: Hub, partition_id: str) -> bytes:
    partition = hub.partition(partition_id)
    log, last = partition.log, partition.log.last_event
    return _string_map(
        {
            "name": encode_string(hub.name),
            "type": encode_string("com.microsoft:partition"),
            "partition": encode_string(partition.id),
            "begin_sequence_number": encode_long(log.begin_sequence),
            "last_enqueued_sequence_number": encode_long(log.next_sequence - 1),
            "last_enqueued_offset": encode_string(str(last.offset) if last else "-1"),
            "last_enqueued_time_utc": encode_timestamp(last.enqueued_ms if last else 0),
            "is_partition_empty": encode_boolean(last is None),
        }
    )


def _string_map(entries: Mapping[str, bytes]) -> bytes:
    return encode_map({encode_string(key): value for key, value in entries.items()})


def _message_id(properties: object) -> bytes:
    """Return the request's message id, encoded as the type it came as."""
    value = properties[0] if isinstance(properties, list) and properties else None
    if isinstance(value, uuid.UUID):
        return encode_uuid(value)
    if isinstance(value, bytes):
        return encode_binary(value)
    if isinstance(value, str):
        return encode_string(value)
    if type(value) is int and value >= 0:
        return encode_ulong(value)
    return NULL


def _response(correlation_id: bytes, status: int, description: str, body: bytes) -> bytes:
    properties = encode_list([*[NULL] * 5, correlation_id])
    application_properties = _string_map(
        {
            "status-code": encode_int(status),
            "status-description": encode_string(description),
            # Where the SDK for Python looks for it when it has asked $management.
            "statusDescription": encode_string(description),
        }
    )
    return b"".join((b"\x00\x53\x73", properties, b"\x00\x53\x74", application_properties, b"\x00\x53\x77", body))
