"""The broker as a process of its own: starting, stopping, being killed under load."""

import asyncio
import contextlib
import gc
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from azure.eventhub import EventData
from azure.eventhub.aio import EventHubConsumerClient, EventHubProducerClient
from azure.eventhub.exceptions import EventHubError

# The SDK leaves the socket of a connection that was cut to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


@pytest.fixture(autouse=True)
def sockets_left_by_the_sdk_are_collected_before_the_next_test():
    yield
    gc.collect()


class Process:
    """A broker process; its log goes to a file."""

    def __init__(self, directory: Path, *arguments: str) -> None:
        self.ready_file, self.log_file = directory / "ready.json", directory / "log.jsonl"
        self.ready_file.unlink(missing_ok=True)
        command = [sys.executable, "-m", "local.event_hubs", "--data", str(directory / "data"), *arguments]
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "--ready-file", str(self.ready_file)], stdout=log, stderr=subprocess.STDOUT
            )

    def wait_until_ready(self) -> dict:
        deadline = time.monotonic() + 20
        while not self.ready_file.exists():
            assert self.process.poll() is None, self.log_file.read_text()
            assert time.monotonic() < deadline, "the broker does not get ready"
            time.sleep(0.01)
        return json.loads(self.ready_file.read_text())

    def log(self) -> list[dict]:
        return [json.loads(line) for line in self.log_file.read_text().splitlines()]

    def stop(self, number: int = signal.SIGKILL) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(10)


@pytest.fixture
def started(tmp_path) -> Iterator:
    processes = []

    def start(*arguments: str) -> Process:
        processes.append(Process(tmp_path, *arguments))
        return processes[-1]

    yield start
    for process in processes:
        process.stop()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def connection_string(port: int) -> str:
    return (
        f"Endpoint=sb://localhost:{port};SharedAccessKeyName=RootManageSharedAccessKey;"
        "SharedAccessKey=SAS_KEY_VALUE;UseDevelopmentEmulator=true;"
    )


def producer_of(port: int, **options) -> EventHubProducerClient:
    return EventHubProducerClient.from_connection_string(connection_string(port), eventhub_name="telemetry", **options)


async def receive_all(port: int, counts: dict[str, int]) -> dict[str, list[EventData]]:
    """Receive as many events of each partition as told; then a little longer, to see that there are no more."""
    received: dict[str, list[EventData]] = {partition: [] for partition in counts}

    async def on_events(context, events):
        received[context.partition_id].extend(events)

    consumer = EventHubConsumerClient.from_connection_string(
        connection_string(port), consumer_group="$Default", eventhub_name="telemetry", load_balancing_interval=0.1
    )
    task = asyncio.create_task(consumer.receive_batch(on_events, starting_position="-1", prefetch=1000))
    deadline = time.monotonic() + 30
    while any(len(received[partition]) < count for partition, count in counts.items()):
        assert time.monotonic() < deadline, {partition: len(events) for partition, events in received.items()}
        await asyncio.sleep(0.05)
    await asyncio.sleep(0.3)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await consumer.close()
    return received


def test_a_start_is_told_by_ready_file_and_log_and_sigterm_ends_it_cleanly(started, tmp_path):
    process = started("--port", "0", "--hub", "telemetry:2", "--faults-port", "0")

    ready = process.wait_until_ready()
    with urllib.request.urlopen(f"http://127.0.0.1:{ready['faults_port']}/status", timeout=5) as response:
        status = json.load(response)
    exit_status = process.stop(signal.SIGTERM)

    assert ready["pid"] == process.process.pid
    assert list(status["hubs"]["telemetry"]["partitions"]) == ["0", "1"]
    assert exit_status == 0
    log = process.log()
    assert [line["message"] for line in log] == ["broker ready", "broker stopped"]
    assert (log[0]["port"], log[0]["hubs"]) == (ready["port"], {"telemetry": 2})


def test_without_a_faults_port_there_is_no_control_endpoint(started):
    ready = started("--port", "0", "--hub", "telemetry:1").wait_until_ready()

    assert set(ready) == {"port", "pid"}


async def test_sigint_ends_it_while_clients_are_connected_and_they_are_told(started):
    process = started("--port", "0", "--hub", "telemetry:1")
    port = process.wait_until_ready()["port"]
    async with producer_of(port, retry_total=0) as producer:
        await producer.send_event(EventData("x"))

        assert await asyncio.to_thread(process.stop, signal.SIGINT) == 0

        with pytest.raises(EventHubError):
            await producer.send_event(EventData("y"))


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--hub", "telemetry"], "--hub must be NAME:PARTITIONS"),
        (["--hub", "telemetry:x"], "--hub must be NAME:PARTITIONS"),
        (["--hub", "telemetry:99"], "must be 1-32, got 99"),
        (["--hub", "../x:1"], "hub name must be"),
        (["--hub", "telemetry:1", "--retention-bytes", "1000"], "--retention-bytes must be at least 8388608"),
        (["--hub", "telemetry:1", "--retention-hours", "0"], "--retention-hours must be above 0"),
        (["--hub", "telemetry:1", "--retention-hours", "nan"], "--retention-hours must be above 0"),
    ],
)
def test_settings_that_cannot_be_used_are_told_and_nothing_starts(started, arguments, reason):
    process = started("--port", "0", *arguments)

    assert process.process.wait(20) == 2
    (line,) = process.log()
    assert line["level"] == "error"
    assert reason in line["reason"]


def test_two_brokers_do_not_share_a_data_directory_or_a_port(started, tmp_path):
    first = started("--port", "0", "--hub", "telemetry:1")
    port = first.wait_until_ready()["port"]
    same_data = started("--port", "0", "--hub", "telemetry:1")
    assert same_data.process.wait(20) == 2
    other_data = started("--port", str(port), "--data", str(tmp_path / "other"), "--hub", "telemetry:1")
    assert other_data.process.wait(20) == 2

    reasons = [line["reason"] for line in other_data.log() if line["level"] == "error"]
    assert "is in use by another broker" in reasons[0]
    assert f"cannot listen on 127.0.0.1:{port}" in reasons[1]


@pytest.mark.e2e
async def test_nothing_acknowledged_is_lost_when_the_broker_is_killed_under_load(started):
    """Three kills under load; every acknowledged event is there, in order, with the payload that was sent."""
    port, partitions, kills = free_port(), ["0", "1", "2"], 3
    arguments = ("--port", str(port), "--hub", "telemetry:3")
    acknowledged: dict[str, list[int]] = {partition: [] for partition in partitions}
    stop = asyncio.Event()

    def payload(partition: str, number: int) -> str:
        return f"{partition}/{number}/".ljust(300 + number % 700, "x")

    async def send(partition: str) -> None:
        number = 0
        async with producer_of(port, retry_backoff_factor=0.05, retry_backoff_max=0.3, retry_total=3) as producer:
            while not stop.is_set():
                numbers = range(number, number + 20)
                number += 20
                with contextlib.suppress(EventHubError):
                    await producer.send_batch(
                        [EventData(payload(partition, n)) for n in numbers], partition_id=partition
                    )
                    acknowledged[partition] += numbers

    process = started(*arguments)
    process.wait_until_ready()
    senders = [asyncio.create_task(send(partition)) for partition in partitions]
    for _ in range(kills):
        before = sum(map(len, acknowledged.values()))
        deadline = time.monotonic() + 20
        while sum(map(len, acknowledged.values())) < before + 600:
            assert time.monotonic() < deadline, "the senders do not get on"
            await asyncio.sleep(0.01)
        os.kill(process.process.pid, signal.SIGKILL)
        await asyncio.to_thread(process.process.wait, 10)
        process = started(*arguments)
        await asyncio.to_thread(process.wait_until_ready)
    stop.set()
    await asyncio.gather(*senders)

    received = await receive_all(port, {partition: len(numbers) for partition, numbers in acknowledged.items()})

    assert sum(map(len, acknowledged.values())) >= 600 * kills
    for partition, events in received.items():
        bodies = [event.body_as_str() for event in events]
        numbers = [int(body.split("/")[1]) for body in bodies]
        assert bodies == [payload(partition, number) for number in numbers]
        assert set(acknowledged[partition]) <= set(numbers)
        first_seen = list(dict.fromkeys(numbers))
        assert first_seen == sorted(first_seen)
        assert [event.sequence_number for event in events] == list(range(len(events)))


@pytest.mark.e2e
async def test_with_fsync_events_survive_a_kill_and_numbers_go_on(started):
    port = free_port()
    arguments = ("--port", str(port), "--hub", "telemetry:1", "--fsync", "--consumer-group", "scorer")
    process = started(*arguments)
    process.wait_until_ready()
    async with producer_of(port) as producer:
        await producer.send_batch([EventData("a"), EventData("b")])
    process.stop(signal.SIGKILL)

    started(*arguments).wait_until_ready()
    async with producer_of(port) as producer:
        await producer.send_event(EventData("c"))
    received = await receive_all(port, {"0": 3})

    assert [(event.sequence_number, event.body_as_str()) for event in received["0"]] == [(0, "a"), (1, "b"), (2, "c")]
    offsets = [int(event.offset) for event in received["0"]]
    assert offsets == sorted(set(offsets))
