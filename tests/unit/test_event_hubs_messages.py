"""What is stored of a message, and what a receiver gets of it."""

import pytest
from azure.eventhub._pyamqp._decode import decode_payload
from azure.eventhub._pyamqp._encode import encode_payload
from azure.eventhub._pyamqp.message import BatchMessage, Header, Message, Properties
from azure.eventhub._pyamqp.utils import add_batch
from hypothesis import given
from hypothesis import strategies as st

from local.event_hubs.amqp_types import DecodeError
from local.event_hubs.errors import AmqpError
from local.event_hubs.messages import (
    BATCH_FORMAT,
    event_message,
    last_enqueued_annotations,
    read_delivery,
)


def _encoded(message) -> bytes:
    output = bytearray()
    encode_payload(output, message)
    return bytes(output)


def _batch(*messages, key=None) -> bytes:
    batch = BatchMessage(data=[], message_annotations={"x-opt-partition-key": key} if key else None)
    for message in messages:
        add_batch(batch, message)
    return _encoded(batch)


def _received(event):
    return decode_payload(memoryview(event_message(event, 7, 4711, 1_700_000_000_000)))


@given(
    body=st.binary(max_size=2000),
    properties=st.dictionaries(st.text(min_size=1, max_size=10), st.text(max_size=10), max_size=5),
    content_type=st.none() | st.text(max_size=20),
)
def test_body_and_properties_come_out_as_they_went_in(body, properties, content_type):
    sent = Message(
        data=[body],
        application_properties=properties,
        properties=Properties(content_type=content_type, correlation_id="c"),
        header=Header(durable=True),
    )

    delivery = read_delivery(_encoded(sent), 0)
    received = _received(delivery.events[0])

    assert received.data == [body]
    assert received.application_properties or {k.encode(): v.encode() for k, v in properties.items()} == {}
    assert received.properties.correlation_id == b"c"
    assert received.header is None


def test_position_is_annotated_beside_the_senders_annotations():
    sent = Message(data=[b"x"], message_annotations={"mine": 5})

    received = _received(read_delivery(_encoded(sent), 0).events[0])

    assert received.message_annotations == {
        b"x-opt-sequence-number": 7,
        b"x-opt-offset": b"4711",
        b"x-opt-enqueued-time": 1_700_000_000_000,
        b"mine": 5,
    }


def test_an_event_that_is_sent_on_loses_its_old_position():
    sent = Message(
        data=[b"x"],
        message_annotations={"x-opt-sequence-number": 99, "x-opt-offset": "99", "x-opt-enqueued-time": 99, "a": 1},
        delivery_annotations={"last_enqueued_offset": "99"},
    )

    received = _received(read_delivery(_encoded(sent), 0).events[0])

    assert received.message_annotations[b"x-opt-sequence-number"] == 7
    assert received.message_annotations[b"x-opt-offset"] == b"4711"
    assert received.message_annotations[b"a"] == 1
    assert received.delivery_annotations is None


def test_a_single_events_partition_key_is_read_and_kept():
    delivery = read_delivery(_encoded(Message(data=[b"x"], message_annotations={"x-opt-partition-key": "node-1"})), 0)

    assert delivery.partition_key == "node-1"
    assert _received(delivery.events[0]).message_annotations[b"x-opt-partition-key"] == b"node-1"


def test_a_batchs_key_is_given_to_each_of_its_events():
    raw = _batch(Message(data=[b"a"]), Message(data=[b"b"], message_annotations={"n": 1}), key="node-1")

    delivery = read_delivery(raw, BATCH_FORMAT)

    received = [_received(event) for event in delivery.events]
    assert delivery.partition_key == "node-1"
    assert [message.data for message in received] == [[b"a"], [b"b"]]
    assert [message.message_annotations[b"x-opt-partition-key"] for message in received] == [b"node-1"] * 2


def test_an_empty_batch_is_not_allowed():
    with pytest.raises(AmqpError, match="amqp:not-allowed"):
        read_delivery(_batch(), BATCH_FORMAT)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\x00",
        b"\x00\x53",
        b"\x00\x53\x10\x45",
        b"\x01\x53\x75\xa0\x00",
        b"\x00\xa1\x01a\xa0\x00",
        b"\x00\x53\x75\xa0\xff",
        b"\x00\x53\x72\x45\x00\x53\x75\xa0\x00",
        b"\x00\x53\x73\x45",
    ],
)
def test_a_malformed_message_is_a_decode_error(raw):
    with pytest.raises(DecodeError):
        read_delivery(raw, 0)


@pytest.mark.parametrize("raw", [b"\x00\x53\x75\xa1\x01a", b"\x00\x53\x75\xa0\x01\x00", b"\x00\x53\x77\x40\x01"])
def test_a_malformed_batch_is_a_decode_error(raw):
    with pytest.raises(DecodeError):
        read_delivery(raw, BATCH_FORMAT)


@given(st.binary(max_size=300), st.sampled_from([0, BATCH_FORMAT]))
def test_random_bytes_are_a_delivery_or_an_orderly_refusal(raw, message_format):
    try:
        read_delivery(raw, message_format)
    except (DecodeError, AmqpError):
        return


def test_a_partition_key_that_is_no_text_is_a_decode_error():
    with pytest.raises(DecodeError, match="x-opt-partition-key must be a string"):
        read_delivery(_encoded(Message(data=[b"x"], message_annotations={"x-opt-partition-key": 5})), 0)


def test_descriptors_of_eight_bytes_are_read_too():
    wide = b"\x00\x80" + (0x75).to_bytes(8) + b"\xa0\x01x"

    assert read_delivery(wide, 0).events[0].rest == wide


def test_a_receiver_is_told_the_last_enqueued_event_before_the_message():
    event = read_delivery(_encoded(Message(data=[b"x"])), 0).events[0]

    message = decode_payload(memoryview(last_enqueued_annotations(9, 5000, 3, 4) + event_message(event, 7, 4711, 2)))

    assert message.delivery_annotations == {
        b"last_enqueued_sequence_number": 9,
        b"last_enqueued_offset": b"5000",
        b"last_enqueued_time_utc": 3,
        b"runtime_info_retrieval_time_utc": 4,
    }
    assert message.data == [b"x"]
