"""The simulator as a process against the broker: what it says was acknowledged is what can be received."""

import asyncio
import contextlib
import gc
import json
import os
import signal
import sys
from collections import defaultdict
from pathlib import Path

import pytest
from azure.eventhub.aio import EventHubConsumerClient

from local.event_hubs.broker import Broker, BrokerSettings
from telemetry.envelope import decode
from telemetry.validation import validate

REPOSITORY = Path(__file__).parents[2]

# The SDK leaves the socket of a connection that was cut to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


@pytest.fixture(autouse=True)
def sockets_left_by_the_sdk_are_collected_before_the_next_test():
    yield
    gc.collect()


def broker_on(tmp_path, port=0):
    return Broker(BrokerSettings(data=tmp_path / "broker", hubs={"telemetry": 4}, port=port))


def connection_to(port):
    return f"Endpoint=sb://localhost:{port};SharedAccessKeyName=n;SharedAccessKey=k;UseDevelopmentEmulator=true;"


async def until(condition):
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def fleet(connection_string, *arguments):
    """The simulator as a process of its own; killed at the end if it still runs."""
    environ = os.environ | {"EVENTHUB_CONNECTION_STRING": connection_string, "EVENTHUB_NAME": "telemetry"}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "local.fleet", *arguments, cwd=REPOSITORY, env=environ, stderr=asyncio.subprocess.PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def finished(process):
    """Waits for the process; gives its log lines."""
    async with asyncio.timeout(60):
        _, told = await process.communicate()
    assert process.returncode == 0, told.decode()
    return [json.loads(line) for line in told.decode().splitlines()]


async def received_from(broker, count):
    """At least `count` events: partition -> [(partition key, decoded envelope)], in order; every one validated."""
    found = defaultdict(list)
    enough = asyncio.Event()

    async def on_event(partition, event):
        raw = b"".join(event.body)
        validate(raw, int(event.enqueued_time.timestamp() * 1000))
        assert event.content_type == "application/json"
        found[partition.partition_id].append((event.partition_key.decode(), decode(raw)))
        if sum(map(len, found.values())) >= count:
            enough.set()

    client = EventHubConsumerClient.from_connection_string(
        broker.connection_string, "$Default", eventhub_name="telemetry", load_balancing_interval=0.1
    )
    receiving = asyncio.create_task(client.receive(on_event, starting_position="-1"))
    try:
        async with asyncio.timeout(30):
            await asyncio.wait([receiving, asyncio.create_task(enough.wait())], return_when=asyncio.FIRST_COMPLETED)
        if receiving.done():
            receiving.result()
        await asyncio.sleep(0.5)
    finally:
        receiving.cancel()
        await asyncio.gather(receiving, return_exceptions=True)
        await client.close()
    return found


def recorded(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def per_node(received):
    found = defaultdict(list)
    for events in received.values():
        for _, envelope in events:
            found[envelope.node].append((envelope.instance, envelope.seq))
    return found


async def test_everything_acknowledged_is_received_once_in_order_and_valid(tmp_path):
    record, status = tmp_path / "record", tmp_path / "status"
    arguments = ["--nodes", "20", "--minutes", "5", "--speed", "0", "--record", str(record)]

    async with broker_on(tmp_path) as broker:
        async with fleet(broker.connection_string, *arguments, "--status-file", str(status)) as process:
            lines = await finished(process)
        received = await received_from(broker, 200)

    acknowledged = recorded(record)
    assert len(acknowledged) == 200
    assert lines[0]["message"] == "fleet started" and lines[-1]["message"] == "fleet stopped"
    assert json.loads(status.read_text()) | {"simulated_time": ""} == {
        "published": 200,
        "acknowledged": 200,
        "pending": 0,
        "simulated_time": "",
        "active_faults": [],
    }
    by_node = per_node(received)
    assert all([seq for _, seq in found] == list(range(1, 11)) for found in by_node.values())
    assert {(line["node"], line["instance"], line["seq"]) for line in acknowledged} == {
        (node, *which) for node, found in by_node.items() for which in found
    }
    assert all(key == envelope.node for events in received.values() for key, envelope in events)
    partition_of = defaultdict(set)
    for partition, events in received.items():
        for key, _ in events:
            partition_of[key].add(partition)
    assert len(partition_of) == 20
    assert all(len(partitions) == 1 for partitions in partition_of.values())


async def test_a_broker_that_goes_away_and_comes_back_loses_nothing(tmp_path, free_port):
    record, port = tmp_path / "record", free_port()
    arguments = ["--nodes", "5", "--sample-interval", "1", "--publish-interval", "5", "--minutes", "1", "--speed", "10"]

    async with fleet(connection_to(port), *arguments, "--record", str(record)) as process:
        async with broker_on(tmp_path, port):
            await until(lambda: record.exists() and len(recorded(record)) >= 10)
        await asyncio.sleep(1.0)
        async with broker_on(tmp_path, port) as broker:
            lines = await finished(process)
            received = await received_from(broker, 60)

    assert len(recorded(record)) == 60
    assert "sending works again" in {line["message"] for line in lines}
    for found in per_node(received).values():
        first_seen = list(dict.fromkeys(seq for _, seq in found))
        assert first_seen == list(range(1, 13))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_stops_it_cleanly_even_when_nothing_answers(tmp_path, free_port, number):
    status = tmp_path / "status"
    arguments = ["--forever", "--speed", "1000", "--status-file", str(status)]

    async with fleet(connection_to(free_port()), *arguments) as process:
        await until(lambda: status.exists() and json.loads(status.read_text())["pending"])
        process.send_signal(number)
        lines = await finished(process)

    assert lines[-1]["message"] == "fleet stopped"
    assert lines[-1]["acknowledged"] == 0 and lines[-1]["pending"] > 0
    assert any(line["message"].startswith("simulated time may get more than 10 min ahead") for line in lines)
