"""Injected faults as the SDK sees them, and the control endpoint that switches them."""

import asyncio
import contextlib
import gc
import json
import time
from collections.abc import AsyncIterator

import pytest
from azure.eventhub import EventData
from azure.eventhub.aio import EventHubConsumerClient, EventHubProducerClient
from azure.eventhub.exceptions import EventHubError

from local.event_hubs.broker import Broker, BrokerSettings
from local.event_hubs.control import serve_control

# The SDK leaves the socket of a connection that was cut to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


@pytest.fixture(autouse=True)
def sockets_left_by_the_sdk_are_collected_before_the_next_test():
    yield
    gc.collect()


@pytest.fixture
async def broker(tmp_path) -> AsyncIterator[Broker]:
    async with Broker(BrokerSettings(data=tmp_path, hubs={"audit": 1})) as broker:
        yield broker


@pytest.fixture
async def control(broker) -> AsyncIterator[int]:
    server = await serve_control(broker, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()


def producer_of(broker: Broker, **options) -> EventHubProducerClient:
    return EventHubProducerClient.from_connection_string(
        broker.connection_string, eventhub_name="audit", retry_backoff_factor=0.05, retry_backoff_max=0.2, **options
    )


async def exchange(port: int, raw: bytes) -> tuple[int, dict]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(raw)
    response = await asyncio.wait_for(reader.read(-1), 10)
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
    head, _, body = response.partition(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
    return int(head.split()[1]), json.loads(body)


async def get(port: int, path: str) -> dict:
    status, document = await exchange(port, f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    assert status == 200
    return document


async def post_faults(port: int, body: bytes) -> tuple[int, dict]:
    head = f"POST /faults HTTP/1.1\r\nHost: localhost\r\ncontent-length: {len(body)}\r\n\r\n"
    return await exchange(port, head.encode() + body)


async def stored(broker: Broker, count: int) -> list[str]:
    """Return the bodies of the events that the broker has; waits for `count` of them."""
    bodies: list[str] = []

    async def on_events(context, events):
        bodies.extend(event.body_as_str() for event in events)

    consumer = EventHubConsumerClient.from_connection_string(
        broker.connection_string, consumer_group="$Default", eventhub_name="audit", load_balancing_interval=0.1
    )
    task = asyncio.create_task(consumer.receive_batch(on_events, starting_position="-1"))
    deadline = time.monotonic() + 15
    while len(bodies) < count:
        assert time.monotonic() < deadline, f"received {len(bodies)} of {count}"
        await asyncio.sleep(0.02)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await consumer.close()
    return bodies


async def test_a_duplicated_delivery_is_stored_twice_and_acknowledged_once(broker, control):
    await post_faults(control, b'{"duplicate_ratio": 1}')
    async with producer_of(broker) as producer:
        await producer.send_batch([EventData("a"), EventData("b")])
    await post_faults(control, b"{}")

    assert await stored(broker, 4) == ["a", "b", "a", "b"]
    injected = (await get(control, "/faults"))["injected"]
    assert (injected["duplicated_deliveries"], injected["duplicated_events"]) == (1, 2)


async def test_a_busy_server_rejects_and_stores_nothing(broker, control):
    async with producer_of(broker, retry_total=0) as producer:
        await producer.send_event(EventData("before"))
        await post_faults(control, b'{"server_busy_ratio": 1}')

        with pytest.raises(EventHubError, match="server-busy"):
            await producer.send_event(EventData("rejected"))

        await post_faults(control, b"{}")
        await producer.send_event(EventData("after"))
    assert await stored(broker, 2) == ["before", "after"]
    assert (await get(control, "/faults"))["injected"]["server_busy_rejections"] >= 1


async def test_an_unacknowledged_event_is_stored_though_its_sender_cannot_know(broker, control):
    async with producer_of(broker, retry_total=0) as producer:
        await producer.send_event(EventData("before"))
        await post_faults(control, b'{"unacknowledged_ratio": 1}')

        with pytest.raises(EventHubError):
            await producer.send_event(EventData("unknown"))

        await post_faults(control, b"{}")
    attempts = (await get(control, "/faults"))["injected"]["unacknowledged_deliveries"]
    assert attempts >= 1  # the SDK tries again once even without retries
    assert await stored(broker, 1 + attempts) == ["before", *["unknown"] * attempts]


async def test_with_retries_a_sender_outlives_all_faults_and_nothing_acknowledged_is_lost(broker, control):
    faults = {
        "duplicate_ratio": 0.2,
        "server_busy_ratio": 0.1,
        "unacknowledged_ratio": 0.1,
        "drop_connection_after_bytes": 8000,
        "seed": 3,
    }
    await post_faults(control, json.dumps(faults).encode())
    acknowledged = []
    async with producer_of(broker, retry_total=2) as producer:
        for number in range(30):
            with contextlib.suppress(EventHubError):
                await producer.send_event(EventData(f"{number}".ljust(400)))
                acknowledged.append(number)
    await post_faults(control, b"{}")
    last = broker.status()["hubs"]["audit"]["partitions"]["0"]["last_sequence_number"]

    found = [int(body) for body in await stored(broker, last + 1)]
    injected = (await get(control, "/faults"))["injected"]

    assert len(acknowledged) >= 15
    assert set(acknowledged) <= set(found) <= set(range(30))
    assert len(found) > len(set(found))
    assert injected["dropped_connections"] > 0
    assert injected["duplicated_deliveries"] > 0


async def test_a_connection_is_cut_after_the_bytes_in_either_direction(broker, control):
    await post_faults(control, b'{"drop_connection_after_bytes": 100}')
    reader, writer = await asyncio.open_connection("127.0.0.1", broker.port)
    writer.write(b"AMQP\x03\x01\x00\x00" * 40)

    with contextlib.suppress(ConnectionError):
        answered = await asyncio.wait_for(reader.read(-1), 10)
        assert len(answered) <= 150

    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
    assert (await get(control, "/faults"))["injected"]["dropped_connections"] == 1


async def test_status_tells_partitions_connections_and_receivers(broker, control):
    async with producer_of(broker) as producer:
        await producer.send_batch([EventData("a"), EventData("b")])

        status = await get(control, "/status")

    partition = status["hubs"]["audit"]["partitions"]["0"]
    assert status["connections"] == 1
    assert partition.pop("bytes") > 0
    assert partition == {"begin_sequence_number": 0, "last_sequence_number": 1, "segments": 1, "receivers": {}}


async def test_posted_faults_are_answered_and_told_until_replaced(broker, control):
    status, answered = await post_faults(control, b'{"duplicate_ratio": 0.25, "seed": 9}')

    assert status == 200
    assert answered == await get(control, "/faults")
    assert (answered["duplicate_ratio"], answered["seed"], answered["server_busy_ratio"]) == (0.25, 9, 0.0)


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"GET /nope HTTP/1.1\r\n\r\n", 404),
        (b"POST /status HTTP/1.1\r\n\r\n", 405),
        (b"DELETE /faults HTTP/1.1\r\n\r\n", 405),
        (b"POST /faults HTTP/1.1\r\n\r\n", 400),
        (b"POST /faults HTTP/1.1\r\nContent-Length: 2\r\n\r\n[]", 400),
        (b"POST /faults HTTP/1.1\r\nContent-Length: 2\r\n\r\n\xff\xfe", 400),
        (b"POST /faults HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST /faults HTTP/1.1\r\nContent-Length: x\r\n\r\n", 400),
        (b"POST /faults HTTP/1.1\r\nContent-Length: 70000\r\n\r\n", 413),
        (b"nonsense\r\n\r\n", 400),
        (b"\x00\xff\r\n\r\n", 400),
        (b"GET /status HTTP/1.1\r\n" + b"x: y\r\n" * 20_000 + b"\r\n", 431),
    ],
)
async def test_a_wrong_request_is_told_what_was_wrong_and_changes_nothing(broker, control, raw, status):
    before = broker.faults.settings

    answered, document = await exchange(control, raw)

    assert answered == status
    assert document["error"]
    assert broker.faults.settings == before


async def test_a_request_that_never_ends_is_dropped_and_others_are_answered(broker, control, monkeypatch):
    monkeypatch.setattr("local.event_hubs.control._READ_SECONDS", 0.05)
    reader, writer = await asyncio.open_connection("127.0.0.1", control)
    writer.write(b"POST /faults HTTP/1.1\r\nContent-Length: 10\r\n\r\n{")

    assert await asyncio.wait_for(reader.read(-1), 10) == b""
    assert (await get(control, "/status"))["connections"] == 0

    writer.close()
    await writer.wait_closed()
