"""The unmodified azure-eventhub SDK against the broker: sending, receiving, owning, asking."""

import asyncio
import contextlib
import gc
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from azure.eventhub import EventData
from azure.eventhub import EventHubProducerClient as SyncProducer
from azure.eventhub.aio import EventHubConsumerClient, EventHubProducerClient
from azure.eventhub.exceptions import AuthenticationError, ConnectError, EventDataSendError, EventHubError

from local.event_hubs.broker import Broker, BrokerSettings
from local.event_hubs.partition_hash import partition_for_key

HUBS = {"telemetry": 4, "audit": 1}


# The SDK leaves the socket of a connection that was cut to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


@pytest.fixture(autouse=True)
def sockets_left_by_the_sdk_are_collected_before_the_next_test():
    yield
    gc.collect()


@pytest.fixture
async def broker(tmp_path) -> AsyncIterator[Broker]:
    settings = BrokerSettings(data=tmp_path, hubs=HUBS, consumer_groups=("scorer",))
    async with Broker(settings) as broker:
        yield broker


def producer_of(broker: Broker, hub: str = "telemetry", **options) -> EventHubProducerClient:
    return EventHubProducerClient.from_connection_string(
        broker.connection_string, eventhub_name=hub, retry_total=0, **options
    )


def consumer_of(broker: Broker, hub: str = "telemetry", group: str = "$Default", **options) -> EventHubConsumerClient:
    return EventHubConsumerClient.from_connection_string(
        broker.connection_string,
        consumer_group=group,
        eventhub_name=hub,
        retry_total=0,
        load_balancing_interval=0.1,
        **options,
    )


@contextlib.asynccontextmanager
async def receiving(broker: Broker, hub: str = "telemetry", group: str = "$Default", **options) -> AsyncIterator[list]:
    """Receive in the background for as long as the block lasts; yields the growing list of (partition, event)."""
    received: list = []

    async def on_events(context, events):
        received.extend((context.partition_id, event) for event in events)

    client = consumer_of(broker, hub, group)
    options = {"starting_position": "-1", **options}
    task = asyncio.create_task(client.receive_batch(on_events, max_batch_size=300, **options))
    try:
        yield received
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await client.close()


async def until(condition, seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        await asyncio.sleep(0.02)


async def receive(broker: Broker, count: int, hub: str = "telemetry", **options) -> list[EventData]:
    async with receiving(broker, hub, **options) as received:
        await until(lambda: len(received) >= count)
    return [event for _, event in received]


def bodies(events) -> list[str]:
    return [event.body_as_str() for event in events]


# ---------------------------------------------------------------------------------------------- sending


async def test_single_and_batched_events_arrive_as_they_were_sent(broker):
    async with producer_of(broker) as producer:
        single = EventData(b"\x00\xff body")
        single.properties = {"text": "é", "number": 5, "flag": True}
        single.content_type, single.correlation_id, single.message_id = "application/json", "c-1", "m-1"
        await producer.send_event(single, partition_id="2")
        batch = await producer.create_batch(partition_id="2")
        for number in range(50):
            batch.add(EventData(f"event {number}"))
        await producer.send_batch(batch)
        await producer.send_batch([EventData("listed")], partition_id="2")

    events = await receive(broker, 52, partition_id="2")

    assert b"".join(events[0].body) == b"\x00\xff body"
    assert events[0].properties == {b"text": "é".encode(), b"number": 5, b"flag": True}
    assert (events[0].content_type, events[0].correlation_id, events[0].message_id) == (
        "application/json",
        "c-1",
        "m-1",
    )
    assert bodies(events[1:51]) == [f"event {number}" for number in range(50)]
    assert bodies(events[51:]) == ["listed"]
    assert [event.sequence_number for event in events] == list(range(52))
    assert datetime.now(UTC) - events[0].enqueued_time < timedelta(minutes=1)


async def test_events_go_round_robin_or_where_the_services_hash_puts_their_key(broker):
    keys = [f"node-{number}" for number in range(5)]
    async with producer_of(broker) as producer:
        for _ in range(8):
            await producer.send_event(EventData("turn"))
        for key in keys:
            await producer.send_event(EventData(key), partition_key=key)
            batch = await producer.create_batch(partition_key=key)
            batch.add(EventData(key))
            batch.add(EventData(key))
            await producer.send_batch(batch)

    async with receiving(broker) as received:
        await until(lambda: len(received) >= 8 + 15)

    turns = sorted(partition for partition, event in received if event.body_as_str() == "turn")
    assert turns == sorted(list("0123") * 2)
    keyed = [(partition, event) for partition, event in received if event.body_as_str() != "turn"]
    assert len(keyed) == 15
    for partition, event in keyed:
        assert partition == str(partition_for_key(event.body_as_str(), 4))
        assert event.partition_key == event.body_as_str().encode()


async def test_hubs_and_partitions_are_apart(broker):
    async with producer_of(broker) as telemetry, producer_of(broker, "audit") as audit:
        await telemetry.send_event(EventData("t"), partition_id="0")
        await audit.send_event(EventData("a"))

    assert bodies(await receive(broker, 1, "audit")) == ["a"]
    assert bodies(await receive(broker, 1, partition_id="0")) == ["t"]


async def test_the_sync_producer_sends_too(broker):
    def send() -> None:
        with SyncProducer.from_connection_string(broker.connection_string, eventhub_name="audit") as producer:
            batch = producer.create_batch()
            batch.add(EventData("one"))
            batch.add(EventData("two"))
            producer.send_batch(batch)
            producer.send_event(EventData("three"))

    await asyncio.to_thread(send)

    assert bodies(await receive(broker, 3, "audit")) == ["one", "two", "three"]


async def test_an_event_of_almost_a_mebibyte_passes_and_a_larger_one_does_not(broker):
    large = bytes(range(256)) * 4090
    async with producer_of(broker, "audit") as producer:
        batch = await producer.create_batch()
        assert batch.max_size_in_bytes == 1024 * 1024
        batch.add(EventData(large))
        await producer.send_batch(batch)

        with pytest.raises(EventHubError) as refused:
            await producer.send_event(EventData(b"x" * (1024 * 1024 + 1)))
        await producer.send_event(EventData("after"))

    events = await receive(broker, 2, "audit")
    assert b"".join(events[0].body) == large
    assert bodies(events[1:]) == ["after"]
    assert "exceeds the limit (1048576 bytes)" in str(refused.value) or isinstance(refused.value, EventDataSendError)


async def test_the_sender_of_an_unknown_hub_is_told(broker):
    async with producer_of(broker, "nope") as producer:
        with pytest.raises(EventHubError, match="'sb://localhost/nope' could not be found"):
            await producer.send_event(EventData("x"))


async def test_several_thousand_events_pass_in_order(broker):
    count = 5000
    async with producer_of(broker, "audit") as producer:
        for start in range(0, count, 500):
            await producer.send_batch([EventData(f"{n}".ljust(1000)) for n in range(start, start + 500)])

    events = await receive(broker, count, "audit", prefetch=1000)

    assert [int(event.body_as_str()) for event in events] == list(range(count))


# --------------------------------------------------------------------------------------------- receiving


async def test_receivers_start_where_they_ask_to(broker):
    async with producer_of(broker, "audit") as producer:
        for number in range(5):
            await producer.send_event(EventData(f"e{number}"))
            await asyncio.sleep(0.01)
        events = await receive(broker, 5, "audit")
        third = events[2]

        async def starting(position, count, inclusive=False):
            found = await receive(
                broker, count, "audit", starting_position=position, starting_position_inclusive=inclusive
            )
            return bodies(found)

        after, from_third = ["e3", "e4"], ["e2", "e3", "e4"]
        found = await asyncio.gather(
            starting(third.offset, 2),
            starting(third.offset, 3, inclusive=True),
            starting(third.sequence_number, 2),
            starting(third.sequence_number, 3, inclusive=True),
            starting(third.enqueued_time, 2),
        )
    assert found == [after, from_third, after, from_third, after]


async def test_a_receiver_of_the_latest_gets_only_what_comes(broker):
    async with producer_of(broker, "audit") as producer:
        await producer.send_event(EventData("before"))
        async with receiving(broker, "audit", starting_position="@latest") as received:
            await until(lambda: broker.status()["hubs"]["audit"]["partitions"]["0"]["receivers"])
            await producer.send_event(EventData("after"))
            await until(lambda: received)

    assert bodies(event for _, event in received) == ["after"]


async def test_consumer_groups_each_get_everything(broker):
    async with producer_of(broker, "audit") as producer:
        await producer.send_event(EventData("x"))

    assert bodies(await receive(broker, 1, "audit", group="$default")) == ["x"]
    assert bodies(await receive(broker, 1, "audit", group="Scorer")) == ["x"]


async def _error_of_receiving(broker, **options):
    errors = []

    async def on_error(context, error):
        errors.append(error)

    group = options.pop("group", "$Default")
    async with receiving(broker, "audit", group, on_error=on_error, **options):
        await until(lambda: errors)
    return errors[0]


async def test_an_unknown_consumer_group_is_told(broker):
    error = await _error_of_receiving(broker, group="nope")

    assert isinstance(error, EventHubError)
    assert "audit/consumergroups/nope" in str(error)


async def test_an_offset_no_event_has_had_is_told(broker):
    error = await _error_of_receiving(broker, starting_position="123456")

    assert isinstance(error, ConnectError)
    assert "The supplied offset '123456' is invalid" in str(error)


async def test_a_receiver_learns_how_far_the_partition_has_got(broker):
    async with producer_of(broker, "audit") as producer:
        await producer.send_batch([EventData(f"{n}") for n in range(10)])
    properties = []

    async def on_events(context, events):
        properties.append(context.last_enqueued_event_properties)

    client = consumer_of(broker, "audit")
    task = asyncio.create_task(
        client.receive_batch(on_events, starting_position="-1", track_last_enqueued_event_properties=True)
    )
    await until(lambda: properties)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await client.close()

    assert properties[0]["sequence_number"] == 9
    assert int(properties[0]["offset"]) > 0
    assert datetime.now(UTC) - properties[0]["enqueued_time"] < timedelta(minutes=1)
    assert properties[0]["retrieval_time"] >= properties[0]["enqueued_time"]


async def test_a_higher_owner_level_takes_the_partition_over(broker):
    errors = []

    async def on_error(context, error):
        errors.append(error)

    async with producer_of(broker, "audit") as producer:
        await producer.send_event(EventData("one"))
        async with receiving(broker, "audit", owner_level=1, on_error=on_error, partition_id="0") as older:
            await until(lambda: older)
            async with receiving(broker, "audit", owner_level=2, partition_id="0") as newer:
                await until(lambda: newer)
                await until(lambda: errors)
                await producer.send_event(EventData("two"))
                await until(lambda: len(newer) == 2)

                assert "amqp:link:stolen" in str(errors[0])
                assert bodies(event for _, event in older) == ["one"]


async def test_a_receiver_in_the_middle_of_a_growing_log_misses_nothing(broker):
    async with receiving(broker, "audit", prefetch=20) as received, producer_of(broker, "audit") as producer:
        for start in range(0, 400, 40):
            await producer.send_batch([EventData(f"{n}") for n in range(start, start + 40)])
            await asyncio.sleep(0.01)
        await until(lambda: len(received) >= 400)

    assert [int(event.body_as_str()) for _, event in received] == list(range(400))


# ------------------------------------------------------------------------------------- asking, and who may


async def test_properties_of_hubs_and_partitions_are_told(broker):
    async with producer_of(broker) as producer:
        empty = await producer.get_partition_properties("1")
        await producer.send_batch([EventData("a"), EventData("b")], partition_id="1")
        hub = await producer.get_eventhub_properties()
        filled = await producer.get_partition_properties("1")

        assert hub["eventhub_name"] == "telemetry"
        assert hub["partition_ids"] == ["0", "1", "2", "3"]
        assert datetime.now(UTC) - hub["created_at"] < timedelta(minutes=1)
        assert (empty["is_empty"], empty["last_enqueued_sequence_number"], empty["last_enqueued_offset"]) == (
            True,
            -1,
            "-1",
        )
        assert (filled["is_empty"], filled["beginning_sequence_number"]) == (False, 0)
        assert filled["last_enqueued_sequence_number"] == 1
        assert int(filled["last_enqueued_offset"]) > 0
        with pytest.raises(EventHubError, match="partition '9' is invalid"):
            await producer.get_partition_properties("9")


async def test_properties_of_an_unknown_hub_are_not_found(broker):
    async with producer_of(broker, "nope") as producer:
        with pytest.raises(EventHubError, match="could not be found"):
            await producer.get_eventhub_properties()


async def test_with_a_key_only_those_who_have_it_send_and_receive(tmp_path):
    async with Broker(BrokerSettings(data=tmp_path, hubs={"audit": 1}, key="c2VjcmV0=")) as broker:
        async with producer_of(broker, "audit") as producer:
            await producer.send_event(EventData("x"))
            assert (await producer.get_eventhub_properties())["partition_ids"] == ["0"]
        assert bodies(await receive(broker, 1, "audit")) == ["x"]

        wrong = broker.connection_string.replace("c2VjcmV0=", "d3Jvbmc=")
        async with EventHubProducerClient.from_connection_string(
            wrong, eventhub_name="audit", retry_total=0
        ) as producer:
            with pytest.raises(AuthenticationError):
                await producer.send_event(EventData("y"))
        assert broker.status()["hubs"]["audit"]["partitions"]["0"]["last_sequence_number"] == 0


# -------------------------------------------------------------------------------------------- idle, expiry


async def test_a_silent_client_is_disconnected_and_its_next_send_connects_again(tmp_path):
    async with Broker(BrokerSettings(data=tmp_path, hubs={"audit": 1}, idle_timeout=0.1)) as broker:
        async with EventHubProducerClient.from_connection_string(
            broker.connection_string, eventhub_name="audit"
        ) as producer:
            await producer.send_event(EventData("a"))
            await until(lambda: broker.status()["connections"] == 0)
            await producer.send_event(EventData("b"))

        assert bodies(await receive(broker, 2, "audit")) == ["a", "b"]


async def test_a_receiver_whose_offset_has_expired_starts_at_the_oldest_retained_event(tmp_path):
    settings = BrokerSettings(data=tmp_path, hubs={"audit": 1}, retention_bytes=8 * 1024 * 1024)
    async with Broker(settings) as broker:
        async with producer_of(broker, "audit") as producer:
            for _ in range(12):
                await producer.send_batch([EventData(b"x" * 900_000)])
            properties = await producer.get_partition_properties("0")

        begin = properties["beginning_sequence_number"]
        assert 3 <= begin <= 6
        events = await receive(broker, 12 - begin, "audit", starting_position="50")
        assert [event.sequence_number for event in events] == list(range(begin, 12))
        assert broker.status()["hubs"]["audit"]["partitions"]["0"]["bytes"] <= 8 * 1024 * 1024
