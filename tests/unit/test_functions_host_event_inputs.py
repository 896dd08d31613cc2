"""What the functions host hands to Microsoft's own decoders: they must give back the events that went in."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from azure.functions.eventhub import EventHubTriggerConverter
from azure.functions.meta import Datum
from azure_functions_runtime.bindings.datumdef import Datum as WorkerDatum

from local.functions_host.event import Event
from local.functions_host.event_inputs import batch_inputs, single_inputs
from local.functions_host.messages import Message, Timestamp, TypedData
from local.functions_host.triggers import EventHubTrigger
from local.functions_host.worker import Inputs

TIME = datetime(2026, 1, 31, 12, 30, 15, 250000, tzinfo=UTC)
BATCH = EventHubTrigger("events", "unused", "space", "hub", "group", many=True, binary=True)
SINGLE = EventHubTrigger("event", "unused", "space", "hub", "group", many=False, binary=True)
TEXT = EventHubTrigger("events", "unused", "space", "hub", "group", many=True, binary=False)


def event(number: int, body: bytes = b"{}", key: str | None = "node", **properties: object) -> Event:
    return Event(body, number, str(number * 100), TIME, key, properties, {"content-type": "application/json"})


def datum(data: TypedData) -> Datum:
    decoded = WorkerDatum.from_typed_data(data)
    return Datum(decoded.value, decoded.type)


def decoded(inputs: Inputs, parameter: str) -> Any:
    metadata = {name: datum(value) for name, value in inputs.metadata.items()}
    return EventHubTriggerConverter.decode(datum(inputs.parameters[parameter]), trigger_metadata=metadata)


def test_batch_survives_decoding_byte_for_byte() -> None:
    events = [event(1, b"\x00\xff"), event(2, b'{ "a":1 }', key=None)]

    first, second = decoded(batch_inputs(BATCH, "3", events, checkpointing=True), "events")

    assert (first.get_body(), second.get_body()) == (b"\x00\xff", b'{ "a":1 }')
    assert (first.sequence_number, second.sequence_number) == (1, 2)
    assert (first.partition_key, second.partition_key) == ("node", None)
    assert first.enqueued_time == TIME.replace(tzinfo=None)  # naive, and UTC: the real host's batches have it so
    assert int(first.offset) == 100


def test_application_properties_are_found_in_the_metadata() -> None:
    raw = event(1, count=5, when=TIME, raw=b"\x01a", uuid=UUID(int=7))

    (only,) = decoded(batch_inputs(BATCH, "3", [raw], checkpointing=False), "events")

    assert only.metadata["PropertiesArray"] == [
        {"count": 5, "when": TIME.isoformat(), "raw": "\x01a", "uuid": str(UUID(int=7))}
    ]
    assert only.metadata["PartitionContext"]["PartitionId"] == "3"
    assert only.metadata["PartitionContext"]["IsCheckpointingAfterInvocation"] is False


def test_text_batch_replaces_what_is_no_utf_8() -> None:
    (only,) = decoded(batch_inputs(TEXT, "0", [event(1, b"a\xff")], checkpointing=True), "events")

    assert only.get_body().decode() == "a\N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize("key", ["node", None])
def test_single_event_survives_decoding(key: str | None) -> None:
    only = decoded(single_inputs(SINGLE, "0", event(9, b"\x00", key=key), checkpointing=True), "event")

    assert only.get_body() == b"\x00"
    assert (only.sequence_number, only.offset, only.partition_key) == (9, "900", key)
    assert only.enqueued_time == TIME.replace(tzinfo=None)
    assert only.metadata["SystemProperties"]["content-type"] == "application/json"


def test_typed_data_has_only_the_field_that_is_set() -> None:
    text = TypedData(string="x")

    assert (text.WhichOneof("data"), text.string) == ("string", "x")
    assert TypedData().WhichOneof("data") is None
    with pytest.raises(AttributeError):
        text.bytes  # noqa: B018


def test_field_of_a_message_that_was_never_set_reads_as_none() -> None:
    message = Message(known=1)

    assert (message.known, message.unknown) == (1, None)
    with pytest.raises(AttributeError):
        message.__wrapped__  # noqa: B018  protocols are probed by dunder names


def test_timestamp_is_in_utc() -> None:
    assert Timestamp(0).ToDatetime() == datetime(1970, 1, 1, tzinfo=UTC)
