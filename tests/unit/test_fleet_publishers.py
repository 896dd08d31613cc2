"""Publishing: every node's envelopes in order, again until acknowledged, and no more in flight than allowed."""

import asyncio
import contextlib
import json
from collections import defaultdict

import pytest

from local.fleet.model import FleetModel
from local.fleet.publishers import EventHubPublisher, Outgoing, StandardOutput

START = 1_790_000_000_000


class FakeHub:
    """Keeps what is sent; fails the next sends, or holds all of them back, when told to."""

    def __init__(self):
        self.sends = []
        self.failures = 0
        self.loses_answers = 0
        self.clients = 0
        self.closed = 0
        self.in_flight = 0
        self.most_in_flight = 0
        self.open = asyncio.Event()
        self.open.set()

    def connect(self):
        self.clients += 1
        return FakeClient(self)

    def received(self):
        found = defaultdict(list)
        for node, bodies in self.sends:
            found[node] += bodies
        return found


class FakeClient:
    def __init__(self, hub):
        self.hub = hub

    async def send_batch(self, event_data_batch, *, partition_key):
        self.hub.in_flight += 1
        self.hub.most_in_flight = max(self.hub.most_in_flight, self.hub.in_flight)
        try:
            await self.hub.open.wait()
            await asyncio.sleep(0)
            if self.hub.failures:
                self.hub.failures -= 1
                raise ConnectionError("down")
            self.hub.sends.append((partition_key, [b"".join(event.body) for event in event_data_batch]))
            if self.hub.loses_answers:
                self.hub.loses_answers -= 1
                raise ConnectionError("answer lost")
        finally:
            self.hub.in_flight -= 1

    async def close(self):
        self.hub.closed += 1


@pytest.fixture
def hub():
    return FakeHub()


@contextlib.asynccontextmanager
async def publishing(hub, **options):
    acknowledged = []
    publisher = EventHubPublisher(hub.connect, acknowledged.extend, **options)
    try:
        yield publisher, acknowledged
    finally:
        await publisher.close()


def outgoing(node, seq):
    return Outgoing("sim", f"node-{node}", "0" * 12, seq, f"{node}/{seq}".encode())


async def test_every_node_keeps_its_order_and_everything_is_acknowledged(hub):
    async with publishing(hub, senders=3) as (publisher, acknowledged):
        for seq in range(1, 31):
            for node in range(7):
                await publisher.put(outgoing(node, seq))
        await publisher.drain()

    assert hub.received() == {f"node-{node}": [f"{node}/{seq}".encode() for seq in range(1, 31)] for node in range(7)}
    assert len(acknowledged) == 210
    assert hub.most_in_flight == 3


async def test_a_batch_holds_envelopes_of_one_node_and_a_backlog_goes_together(hub):
    hub.open.clear()
    async with publishing(hub, senders=1) as (publisher, _):
        for seq in range(1, 121):
            await publisher.put(outgoing(1, seq))
            await publisher.put(outgoing(2, seq))
        hub.open.set()
        await publisher.drain()

    sizes = {node: [len(bodies) for key, bodies in hub.sends if key == node] for node in ("node-1", "node-2")}
    assert max(sizes["node-2"]) == 100
    assert sum(sizes["node-1"]) == sum(sizes["node-2"]) == 120
    assert len(hub.sends) <= 5


async def test_a_batch_stays_well_below_the_size_of_a_message(hub):
    hub.open.clear()
    async with publishing(hub, senders=1) as (publisher, _):
        for seq in range(1, 6):
            await publisher.put(Outgoing("sim", "node-1", "0" * 12, seq, bytes(100_000)))
        hub.open.set()
        await publisher.drain()

    assert sum(len(bodies) for _, bodies in hub.sends) == 5
    assert max(sum(map(len, bodies)) for _, bodies in hub.sends) <= 256 * 1024


async def test_a_failed_send_is_repeated_unchanged_on_a_new_connection(hub, caplog):
    hub.failures = 2
    async with publishing(hub, senders=1) as (publisher, acknowledged):
        await publisher.put(outgoing(1, 1))
        await publisher.put(outgoing(1, 2))
        await publisher.drain()

    assert hub.received() == {"node-1": [b"1/1", b"1/2"]}
    assert [sent.seq for sent in acknowledged] == [1, 2]
    assert hub.clients == hub.closed == 3
    assert [record.message for record in caplog.records if record.levelname == "WARNING"] == [
        "sending failed, trying again until it is acknowledged"
    ]


async def test_an_envelope_whose_answer_was_lost_is_sent_again_with_the_same_number(hub):
    hub.loses_answers = 1
    async with publishing(hub, senders=1) as (publisher, acknowledged):
        await publisher.put(outgoing(1, 1))
        await publisher.drain()
        await publisher.put(outgoing(1, 2))
        await publisher.drain()

    assert hub.received() == {"node-1": [b"1/1", b"1/1", b"1/2"]}
    assert [sent.seq for sent in acknowledged] == [1, 2]


async def test_no_more_is_taken_than_allowed_while_nothing_is_acknowledged(hub):
    hub.open.clear()
    async with publishing(hub, limit=5) as (publisher, acknowledged):
        for seq in range(1, 6):
            await publisher.put(outgoing(1, seq))
        sixth = asyncio.create_task(publisher.put(outgoing(1, 6)))
        await asyncio.wait([sixth], timeout=0.05)
        assert not sixth.done()

        hub.open.set()
        await sixth
        await publisher.drain()

    assert [sent.seq for sent in acknowledged] == [1, 2, 3, 4, 5, 6]


async def test_closing_gives_up_what_is_not_acknowledged(hub):
    hub.open.clear()
    async with publishing(hub) as (publisher, acknowledged):
        await publisher.put(outgoing(1, 1))
        await asyncio.sleep(0)
        async with asyncio.timeout(5):
            await publisher.close()

    assert acknowledged == []
    assert hub.in_flight == 0


async def test_standard_output_has_one_document_a_line(capsys):
    acknowledged = []
    publisher = StandardOutput(acknowledged.extend)
    dues = list(FleetModel(3, 1, start_ms=START).envelopes(START + 60_000))

    for due in dues:
        await publisher.put(Outgoing.of(due.envelope))
    await publisher.drain()
    await publisher.close()

    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line)["seq"] for line in lines] == [due.envelope.seq for due in dues]
    assert [sent.node for sent in acknowledged] == [due.envelope.node for due in dues]
