"""Events as a function's input and trigger metadata, in the shapes of the real extension. For the listener only.

Source of the shapes: EventHubTriggerBindingStrategy of Microsoft.Azure.WebJobs.Extensions.EventHubs.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from types import SimpleNamespace

from local.functions_host.event import Event
from local.functions_host.messages import TypedData
from local.functions_host.triggers import EventHubTrigger
from local.functions_host.worker import Inputs


def batch_inputs(trigger: EventHubTrigger, partition_id: str, events: Sequence[Event], checkpointing: bool) -> Inputs:
    """Inputs of a function that takes many events."""
    if trigger.binary:
        bodies = TypedData(collection_bytes=SimpleNamespace(bytes=[event.body for event in events]))
    else:
        bodies = TypedData(collection_string=SimpleNamespace(string=[_text(event.body) for event in events]))
    metadata = {
        "PartitionContext": _partition_context(trigger, partition_id, checkpointing),
        # The real host's string collections drop empty members, so this array may be shorter than the batch.
        "PartitionKeyArray": _strings(event.partition_key for event in events if event.partition_key),
        "OffsetArray": _strings(event.offset for event in events),
        "SequenceNumberArray": TypedData(
            collection_sint64=SimpleNamespace(sint64=[event.sequence_number for event in events])
        ),
        "EnqueuedTimeUtcArray": _json([_naive_utc(event.enqueued_time) for event in events]),
        "PropertiesArray": _json([dict(event.properties) for event in events]),
        "SystemPropertiesArray": _json([_system_properties(event) for event in events]),
    }
    return Inputs({trigger.parameter: bodies}, metadata)


def single_inputs(trigger: EventHubTrigger, partition_id: str, event: Event, checkpointing: bool) -> Inputs:
    """Inputs of a function that takes one event at a time."""
    body = TypedData(bytes=event.body) if trigger.binary else TypedData(string=_text(event.body))
    metadata = {
        "PartitionContext": _partition_context(trigger, partition_id, checkpointing),
        "Offset": TypedData(string=event.offset),
        "SequenceNumber": TypedData(json=str(event.sequence_number)),
        "EnqueuedTimeUtc": TypedData(string=_naive_utc(event.enqueued_time)),
        "Properties": _json(dict(event.properties)),
        "SystemProperties": _json(_system_properties(event)),
    }
    if event.partition_key:
        metadata["PartitionKey"] = TypedData(string=event.partition_key)
    return Inputs({trigger.parameter: body}, metadata)


def _partition_context(trigger: EventHubTrigger, partition_id: str, checkpointing: bool) -> TypedData:
    return _json(
        {
            "IsCheckpointingAfterInvocation": checkpointing,
            "FullyQualifiedNamespace": trigger.namespace,
            "EventHubName": trigger.event_hub,
            "ConsumerGroup": trigger.consumer_group,
            "PartitionId": partition_id,
        }
    )


def _system_properties(event: Event) -> Mapping[str, object]:
    return {
        **event.system_properties,
        "x-opt-sequence-number": event.sequence_number,
        "x-opt-offset": event.offset,
        "x-opt-enqueued-time": event.enqueued_time.isoformat(),
        "SequenceNumber": event.sequence_number,
        "Offset": event.offset,
        "PartitionKey": event.partition_key,
        "EnqueuedTimeUtc": _naive_utc(event.enqueued_time),
    }


def _naive_utc(time: datetime) -> str:
    """.NET hands out a DateTime of unspecified kind here: no offset, though it is UTC."""
    return time.replace(tzinfo=None).isoformat()


def _text(body: bytes) -> str:
    return body.decode("utf-8", errors="replace")


def _strings(values: Iterable[str]) -> TypedData:
    return TypedData(collection_string=SimpleNamespace(string=list(values)))


def _json(value: object) -> TypedData:
    return TypedData(json=json.dumps(value, default=_jsonable))


def _jsonable(value: object) -> str:
    """AMQP values JSON does not know: bytes and symbols as text, times in ISO 8601, the rest as they print."""
    if isinstance(value, bytes):
        return _text(value)
    return value.isoformat() if isinstance(value, datetime) else str(value)
