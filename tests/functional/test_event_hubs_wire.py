"""The wire: whatever bytes a client sends, it is told and disconnected alone, and it costs no memory."""

import asyncio
import contextlib
import random
import struct
import tracemalloc
from collections.abc import AsyncIterator

import pytest
from azure.eventhub import EventData
from azure.eventhub.aio import EventHubProducerClient

from local.event_hubs import amqp_types as amqp
from local.event_hubs import connection as limits
from local.event_hubs.broker import Broker, BrokerSettings

AMQP_HEADER = b"AMQP\x00\x01\x00\x00"
SASL_HEADER = b"AMQP\x03\x01\x00\x00"
OPEN, BEGIN, ATTACH, FLOW, TRANSFER, DISPOSITION, DETACH, END, CLOSE = range(0x10, 0x19)


@pytest.fixture
async def broker(tmp_path) -> AsyncIterator[Broker]:
    async with Broker(BrokerSettings(data=tmp_path, hubs={"audit": 1})) as broker:
        yield broker


def frame(descriptor: int, *fields: bytes, channel: int = 0, payload: bytes = b"", frame_type: int = 0) -> bytes:
    body = bytes((0x00, 0x53, descriptor)) + amqp.encode_list(fields) + payload
    return struct.pack(">IBBH", 8 + len(body), 2, frame_type, channel) + body


OPENED = AMQP_HEADER + frame(OPEN, amqp.encode_string("test"), amqp.NULL, amqp.encode_uint(65536))
BEGUN = OPENED + frame(BEGIN, amqp.NULL, amqp.encode_uint(0), amqp.encode_uint(1000), amqp.encode_uint(1000))


def attach(handle: int = 0, address: str = "audit", is_receiver: bool = False, selector: str | None = None) -> bytes:
    filters = amqp.NULL
    if selector is not None:
        name = amqp.encode_symbol("apache.org:selector-filter:string")
        filters = amqp.encode_map({name: amqp.encode_string(selector)})
    source = b"\x00\x53\x28" + amqp.encode_list([amqp.encode_string(address), *[amqp.NULL] * 6, filters])
    target = b"\x00\x53\x29" + amqp.encode_list([amqp.encode_string(address)])
    role = amqp.encode_boolean(is_receiver)
    return frame(ATTACH, amqp.encode_string("l"), amqp.encode_uint(handle), role, amqp.NULL, amqp.NULL, source, target)


def transfer(payload: bytes, handle: int = 0, delivery_id: int | None = 0, more: bool = False) -> bytes:
    return frame(
        TRANSFER,
        amqp.encode_uint(handle),
        amqp.NULL if delivery_id is None else amqp.encode_uint(delivery_id),
        amqp.encode_binary(b"t"),
        amqp.encode_uint(0),
        amqp.encode_boolean(False),
        amqp.encode_boolean(more),
        payload=payload,
    )


class Client:
    """A client that says what it likes and reads frames."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def frames(self) -> list[tuple[int, list]]:
        """Return (descriptor, fields) of all frames until the broker closes the connection or says that it will."""
        found = []
        with contextlib.suppress(asyncio.IncompleteReadError):
            while not found or found[-1][0] != CLOSE:
                found.append(await self.frame())
        return found

    async def frame(self) -> tuple[int, list]:
        """Return the next frame."""
        while (head := await asyncio.wait_for(self.reader.readexactly(8), 10))[:4] == b"AMQP":
            pass
        body = await self.reader.readexactly(struct.unpack(">I", head[:4])[0] - 8)
        described, _ = amqp.decode(body)
        return described.descriptor, described.value


@contextlib.asynccontextmanager
async def client_of(broker: Broker, data: bytes = b"") -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_connection("127.0.0.1", broker.port)
    writer.write(data)
    try:
        yield Client(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def close_condition(broker: Broker, data: bytes) -> str:
    """Return the condition with which the broker closes a connection on which `data` is sent."""
    async with client_of(broker, data) as client:
        descriptor, fields = (await client.frames())[-1]
    assert descriptor == CLOSE
    return fields[0].value[0]


def header(size: int, data_offset: int = 2, frame_type: int = 0) -> bytes:
    return struct.pack(">IBBH", size, data_offset, frame_type, 0)


BROKEN = {
    "frame smaller than its header": (AMQP_HEADER + header(7), "amqp:connection:framing-error"),
    "frame of four gibibytes": (AMQP_HEADER + header(0xFFFFFFFF), "amqp:connection:framing-error"),
    "frame a byte too large": (AMQP_HEADER + header(65537), "amqp:connection:framing-error"),
    "body inside the header": (AMQP_HEADER + header(16, 1) + b"x" * 8, "amqp:connection:framing-error"),
    "body behind the frame": (AMQP_HEADER + header(16, 5) + b"x" * 8, "amqp:connection:framing-error"),
    "sasl frame outside sasl": (AMQP_HEADER + frame(OPEN, frame_type=1), "amqp:connection:framing-error"),
    "body of garbage": (AMQP_HEADER + header(16) + b"x" * 8, "amqp:decode-error"),
    "performative that is null": (AMQP_HEADER + header(12) + b"\x00\x53\x10\x40", "amqp:decode-error"),
    "descriptor that is text": (AMQP_HEADER + header(13) + b"\x00\xa1\x01a\x45", "amqp:decode-error"),
    "container id that is a number": (AMQP_HEADER + frame(OPEN, amqp.encode_uint(5)), "amqp:decode-error"),
    "begin before open": (AMQP_HEADER + frame(BEGIN), "amqp:not-allowed"),
    "begin without windows": (OPENED + frame(BEGIN), "amqp:decode-error"),
    "unknown performative": (BEGUN + frame(0x77), "amqp:not-allowed"),
    "channel begun twice": (BEGUN + BEGUN.removeprefix(OPENED), "amqp:not-allowed"),
    "channel out of range": (
        OPENED + frame(BEGIN, amqp.NULL, amqp.encode_uint(0), amqp.encode_uint(1), channel=5000),
        "amqp:not-allowed",
    ),
    "attach without handle": (BEGUN + frame(ATTACH), "amqp:decode-error"),
    "handle that is text": (BEGUN + frame(ATTACH, amqp.NULL, amqp.encode_string("x")), "amqp:decode-error"),
    "handle attached twice": (BEGUN + attach() + attach(), "amqp:session:handle-in-use"),
    "handle out of range": (BEGUN + attach(handle=100_000), "amqp:session:handle-in-use"),
    "transfer without link": (BEGUN + transfer(b"x"), "amqp:session:unattached-handle"),
    "transfer without id": (BEGUN + attach() + transfer(b"x", delivery_id=None), "amqp:decode-error"),
    "flow window that is text": (BEGUN + frame(FLOW, amqp.NULL, amqp.encode_string("x")), "amqp:decode-error"),
    "detach without handle": (BEGUN + frame(DETACH), "amqp:decode-error"),
}


@pytest.mark.parametrize(("data", "condition"), BROKEN.values(), ids=BROKEN.keys())
async def test_a_client_that_breaks_the_protocol_is_told_how_and_disconnected(broker, data, condition):
    assert await close_condition(broker, data) == condition


@pytest.mark.parametrize(
    "header", [b"GET / HT", b"AMQP\x00\x00\x09\x01", b"AMQP\x02\x01\x00\x00", b"\x16\x03\x01\x02\x00\x01\x00\x01"]
)
async def test_another_protocol_is_answered_with_the_header_that_would_do(broker, header):
    async with client_of(broker, header + b"more" * 100) as client:
        assert await asyncio.wait_for(client.reader.read(-1), 10) == SASL_HEADER


async def test_an_unknown_sasl_mechanism_is_refused(broker):
    async with client_of(broker, SASL_HEADER + frame(0x41, amqp.encode_symbol("PLAIN"), frame_type=1)) as client:
        frames = await client.frames()

    assert frames[0] == (0x40, [["MSSBCBS", "ANONYMOUS"]])
    assert frames[1][0] == 0x44
    assert frames[1][1][0] == 1


async def test_garbage_during_sasl_ends_the_connection(broker):
    async with client_of(broker, SASL_HEADER + b"\x00\x00\x00\x10\x02\x01\x00\x00garbage!") as client:
        assert [descriptor for descriptor, _ in await client.frames()] == [0x40]


async def test_frames_for_sessions_that_have_ended_are_ignored(broker):
    data = BEGUN + frame(END) + frame(DETACH, amqp.encode_uint(0)) + transfer(b"x") + frame(CLOSE)
    async with client_of(broker, data) as client:
        assert [descriptor for descriptor, _ in await client.frames()] == [OPEN, BEGIN, END, CLOSE]


async def test_a_message_that_is_no_message_is_rejected_and_the_link_goes_on(broker):
    good = b"\x00\x53\x75\xa0\x01x"
    data = BEGUN + attach() + transfer(b"garbage") + transfer(good, delivery_id=1) + frame(CLOSE)
    async with client_of(broker, data) as client:
        dispositions = [fields for descriptor, fields in await client.frames() if descriptor == DISPOSITION]

    assert [fields[1] for fields in dispositions] == [0, 1]
    assert dispositions[0][4].descriptor == 0x25
    assert dispositions[0][4].value[0].value[0] == "amqp:decode-error"
    assert dispositions[1][4].descriptor == 0x24
    assert broker.status()["hubs"]["audit"]["partitions"]["0"]["last_sequence_number"] == 0


async def test_a_message_over_the_limit_detaches_its_link_and_what_is_left_of_it_is_dropped(broker):
    part = b"x" * 60_000
    data = BEGUN + attach() + b"".join(transfer(part, more=True) for _ in range(20)) + transfer(part) + frame(CLOSE)
    async with client_of(broker, data) as client:
        frames = await client.frames()

    detaches = [fields for descriptor, fields in frames if descriptor == DETACH]
    assert len(detaches) == 1
    assert detaches[0][2].value[0] == "amqp:link:message-size-exceeded"
    assert frames[-1] == (CLOSE, [None])
    assert broker.status()["hubs"]["audit"]["partitions"]["0"]["last_sequence_number"] == -1


async def test_incomplete_deliveries_are_bounded_over_all_links_of_a_connection(broker):
    part = b"x" * 60_000
    async with client_of(broker, BEGUN) as client:
        for handle in range(40):
            client.writer.write(attach(handle))
            for _ in range(15):
                client.writer.write(transfer(part, handle=handle, more=True))
        frames = await client.frames()

    assert frames[-1][0] == CLOSE
    assert frames[-1][1][0].value[0] == "amqp:resource-limit-exceeded"


async def test_a_request_without_a_response_link_and_one_that_is_malformed_are_rejected(broker):
    request = b"\x00\x53\x74" + amqp.encode_map({amqp.encode_string("operation"): amqp.encode_string("READ")})
    alone = BEGUN + attach(address="$management") + transfer(request)
    malformed = attach(1, "$management", is_receiver=True) + transfer(b"\x00\x53\x77\x40", delivery_id=1)
    async with client_of(broker, alone + malformed + frame(CLOSE)) as client:
        dispositions = [fields for descriptor, fields in await client.frames() if descriptor == DISPOSITION]

    conditions = [fields[4].value[0].value[0] for fields in dispositions]
    assert conditions == ["amqp:not-allowed", "amqp:decode-error"]


@pytest.mark.parametrize(
    "address", ["", "/", "nope", "audit/x", "audit/Partitions/7", "sb://[", "audit/ConsumerGroups/$default"]
)
async def test_links_to_addresses_that_are_not_there_are_detached_and_the_connection_goes_on(broker, address):
    async with client_of(broker, BEGUN + attach(address=address) + frame(CLOSE)) as client:
        frames = dict(await client.frames())

    assert frames[DETACH][2].value[0] in ("amqp:not-found", "com.microsoft:argument-out-of-range")
    assert frames[CLOSE] == [None]


async def test_a_draining_receiver_is_told_that_its_credit_is_used_up(broker):
    link = attach(address="audit/ConsumerGroups/$default/Partitions/0", is_receiver=True)
    window = [amqp.encode_uint(n) for n in (1, 1000, 0, 1000)]
    drain = [amqp.encode_uint(n) for n in (0, 0, 10)] + [
        amqp.NULL,
        amqp.encode_boolean(True),
        amqp.encode_boolean(False),
    ]
    async with client_of(broker, BEGUN + link + frame(FLOW, *window, *drain) + frame(CLOSE)) as client:
        flows = [fields for descriptor, fields in await client.frames() if descriptor == FLOW]

    assert [(fields[4], fields[5], fields[6]) for fields in flows] == [(0, 10, 0)]


async def test_a_session_window_is_never_overrun(broker):
    event = b"\x00\x53\x75\xb0" + (2000).to_bytes(4) + b"x" * 2000
    sends = attach() + b"".join(transfer(event, delivery_id=n) for n in range(10))
    address = "audit/ConsumerGroups/$default/Partitions/0"
    receives = attach(1, address, is_receiver=True, selector="amqp.annotation.x-opt-offset > '-1'")

    def flow_with_a_window_of_three_from(next_incoming_id: int) -> bytes:
        return frame(FLOW, *(amqp.encode_uint(field) for field in (next_incoming_id, 3, 0, 1000, 1, 0, 100)))

    async with client_of(broker, BEGUN + sends + receives) as client:
        await _read_until_quiet(client)
        client.writer.write(flow_with_a_window_of_three_from(1))
        first = await _read_until_quiet(client)
        client.writer.write(flow_with_a_window_of_three_from(4))
        second = await _read_until_quiet(client)

    assert first == second == [TRANSFER] * 3


async def _read_until_quiet(client: Client) -> list[int]:
    descriptors = []
    with contextlib.suppress(TimeoutError):
        while True:
            async with asyncio.timeout(0.2):
                descriptors.append((await client.frame())[0])
    return descriptors


async def test_random_bytes_on_many_connections_cost_no_memory_and_disturb_nobody(broker):
    random_bytes = random.Random(11)
    async with EventHubProducerClient.from_connection_string(
        broker.connection_string, eventhub_name="audit", retry_total=0
    ) as producer:
        await producer.send_event(EventData("before"))
        tracemalloc.start()

        async def attack(prefix: bytes) -> None:
            async with client_of(broker, prefix + random_bytes.randbytes(20_000)) as client:
                with contextlib.suppress(ConnectionError):
                    await asyncio.wait_for(client.reader.read(-1), 10)

        async def cut(prefix: bytes) -> None:
            async with client_of(broker, prefix + random_bytes.randbytes(random_bytes.randrange(30))):
                pass

        prefixes = [b"", AMQP_HEADER, OPENED, BEGUN, BEGUN + attach(), SASL_HEADER]
        await asyncio.gather(*(attack(prefix) for prefix in prefixes * 5), *(cut(prefix) for prefix in prefixes * 5))
        await producer.send_event(EventData("after"))

        for _ in range(500):
            if broker.status()["connections"] == 1:
                break
            await asyncio.sleep(0.01)
        grown = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        assert broker.status()["connections"] == 1

    assert grown < 2_000_000
    assert broker.status()["hubs"]["audit"]["partitions"]["0"]["last_sequence_number"] == 1


async def test_mutated_traffic_never_kills_the_broker(broker):
    chooser = random.Random(5)
    traffic = BEGUN + attach() + transfer(b"\x00\x53\x75\xa0\x01x") + frame(DETACH, amqp.encode_uint(0)) + frame(CLOSE)

    async def send(data: bytes) -> None:
        async with client_of(broker, data) as client:
            client.writer.write_eof()
            with contextlib.suppress(ConnectionError):
                await asyncio.wait_for(client.reader.read(-1), 10)

    for _ in range(10):
        mutated = []
        for _ in range(30):
            data = bytearray(traffic)
            for _ in range(chooser.randrange(1, 4)):
                data[chooser.randrange(8, len(data))] = chooser.randrange(256)
            mutated.append(bytes(data))
        await asyncio.gather(*(send(data) for data in mutated))

    async with client_of(broker, traffic) as client:
        assert (await client.frames())[-1] == (CLOSE, [None])


async def test_a_client_that_asks_for_heartbeats_gets_them(broker):
    idle_timeout_ms = amqp.encode_uint(250)
    fields = (amqp.encode_string("test"), amqp.NULL, amqp.encode_uint(65536), amqp.NULL, idle_timeout_ms)
    async with client_of(broker, AMQP_HEADER + frame(OPEN, *fields)) as client:
        assert (await client.frame())[0] == OPEN

        for _ in range(3):
            assert await asyncio.wait_for(client.reader.readexactly(8), 5) == b"\x00\x00\x00\x08\x02\x00\x00\x00"


async def test_a_client_that_never_opens_is_disconnected(broker, monkeypatch):
    monkeypatch.setattr(limits, "HANDSHAKE_SECONDS", 0.05)

    async with client_of(broker) as client:
        with contextlib.suppress(ConnectionError):
            assert await asyncio.wait_for(client.reader.read(-1), 5) == b""


async def test_a_client_that_does_not_read_is_cut_off_before_it_fills_the_memory(broker, monkeypatch):
    monkeypatch.setattr(limits, "MAX_UNREAD_BYTES", 256 * 1024)
    flow = frame(
        FLOW,
        *(amqp.encode_uint(n) for n in (1, 1000, 0, 1000)),
        *[amqp.NULL] * 4,
        amqp.encode_boolean(False),
        amqp.encode_boolean(True),
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", broker.port, limit=1024)
    writer.write(BEGUN)

    with pytest.raises(ConnectionError):
        for _ in range(3000):
            writer.write(flow * 1000)
            await writer.drain()

    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
    assert reader is not None
