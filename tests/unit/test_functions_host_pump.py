"""Buffer, pump, executor and checkpoint writer of the functions host, on fakes."""

import asyncio
import dataclasses
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, cast

import pytest
from azure.core.exceptions import ServiceRequestError

from local.functions_host.checkpoints import Checkpoint, CheckpointStore, CheckpointWriter
from local.functions_host.event import Event
from local.functions_host.event_buffer import EventBuffer
from local.functions_host.event_hub_link import LinkStolenError
from local.functions_host.executor import Executor, Outcome
from local.functions_host.host_json import EventHubOptions
from local.functions_host.partition import Partition
from local.functions_host.partition_pump import PartitionPump
from local.functions_host.partition_receiver import PartitionReceiver
from local.functions_host.partition_status import PartitionStatus
from local.functions_host.retry import UNLIMITED, FixedDelay, RetryPolicy
from local.functions_host.triggers import EventHubTrigger, Function
from local.functions_host.worker import Attempt, Failure, Inputs, InvocationResult, Worker

TRIGGER = EventHubTrigger("events", "unused", "space", "hub", "$Default", many=True, binary=True)


def event(number: int) -> Event:
    return Event(b"%d" % number, number, str(number * 10), datetime(2026, 1, 1, tzinfo=UTC), None, {}, {})


def function(policy: RetryPolicy | None = None, trigger: EventHubTrigger = TRIGGER) -> Function:
    return Function("ingest", "id", trigger, policy, disabled=False, bindings=())


class FakeWorker(Worker):
    """Runs `body` instead of a function; it gets inputs and attempt and may return a failure's message."""

    def __init__(self, body: Callable[[Inputs, Attempt], str | None]) -> None:
        self.body = body
        self.attempts: list[Attempt] = []

    async def invoke(self, function_id: str, inputs: Inputs, attempt: Attempt) -> InvocationResult:
        self.attempts.append(attempt)
        await asyncio.sleep(0)
        message = self.body(inputs, attempt)
        return InvocationResult(Failure(message, "trace") if message else None)


class FakeStore(CheckpointStore):
    """Remembers what it saved; `failures` says how many saves fail first."""

    def __init__(self, failures: int = 0) -> None:
        self.saved: list[int] = []
        self.failures = failures

    async def save(self, partition_id: str, checkpoint: Checkpoint) -> None:
        await asyncio.sleep(0)
        if self.failures:
            self.failures -= 1
            raise ServiceRequestError("storage is down")
        self.saved.append(checkpoint.sequence_number)


def never_exceeded(name: str) -> None:
    raise AssertionError(f"{name} was said to overrun")


async def test_buffer_gives_what_is_there_at_once_when_one_event_is_enough() -> None:
    buffer = EventBuffer(10)
    for number in range(3):
        await buffer.put(event(number))

    assert await buffer.take(1, 2, 60) == [event(0), event(1)]
    assert await buffer.take(1, 2, 60) == [event(2)]


async def test_buffer_waits_for_the_minimum() -> None:
    buffer = EventBuffer(10)
    taking = asyncio.create_task(buffer.take(2, 10, 60))
    await buffer.put(event(0))
    await asyncio.sleep(0.02)
    assert not taking.done()

    await buffer.put(event(1))

    assert await taking == [event(0), event(1)]


async def test_buffer_gives_less_than_the_minimum_once_the_wait_is_over() -> None:
    buffer = EventBuffer(10)
    await buffer.put(event(0))

    assert await buffer.take(2, 10, 0.01) == [event(0)]


async def test_full_buffer_holds_back_its_filler_until_something_is_taken() -> None:
    buffer = EventBuffer(1)
    await buffer.put(event(0))
    putting = asyncio.create_task(buffer.put(event(1)))
    await asyncio.sleep(0.02)
    assert not putting.done()

    assert await buffer.take(1, 10, 60) == [event(0)]

    await putting
    assert await buffer.take(1, 10, 60) == [event(1)]


async def test_closed_buffer_gives_nothing_even_if_it_holds_events() -> None:
    buffer = EventBuffer(10)
    await buffer.put(event(0))
    waiting = asyncio.create_task(buffer.take(2, 10, 60))
    await asyncio.sleep(0)

    buffer.close()

    assert await waiting == []
    assert await buffer.take(1, 10, 60) == []


async def test_executor_retries_with_the_previous_failure_until_success() -> None:
    worker = FakeWorker(lambda inputs, attempt: "ValueError: no" if attempt.retry_count < 2 else None)
    seen: list[tuple[int, str | None]] = []

    outcome = await Executor(worker, None, never_exceeded).run(
        function(RetryPolicy(UNLIMITED, FixedDelay(0))), Inputs({}), lambda n, f: seen.append((n, f and f.message))
    )

    assert outcome is Outcome.SUCCEEDED
    assert seen == [(1, "ValueError: no"), (2, "ValueError: no"), (3, None)]
    assert worker.attempts[0] == Attempt(0, UNLIMITED, None)
    assert worker.attempts[1] == Attempt(1, UNLIMITED, Failure("ValueError: no", "trace"))


@pytest.mark.parametrize(("policy", "attempts"), [(None, 1), (RetryPolicy(2, FixedDelay(0)), 3)])
async def test_executor_gives_up_when_the_policy_says_so(policy: RetryPolicy | None, attempts: int) -> None:
    worker = FakeWorker(lambda inputs, attempt: "ValueError: no")
    executor = Executor(worker, None, never_exceeded)

    outcome = await executor.run(function(policy), Inputs({}))

    assert outcome is Outcome.FAILED
    assert len(worker.attempts) == attempts
    assert dataclasses.astuple(executor.counts["ingest"]) == (0, attempts)


async def test_stop_ends_the_wait_for_a_retry_and_leaves_the_input_undone() -> None:
    executor = Executor(FakeWorker(lambda inputs, attempt: "ValueError: no"), None, never_exceeded)
    running = asyncio.create_task(executor.run(function(RetryPolicy(UNLIMITED, FixedDelay(3600))), Inputs({})))
    await asyncio.sleep(0.02)
    assert not running.done()

    executor.stop()

    assert await running is Outcome.INTERRUPTED
    await executor.drained()


async def test_invocation_over_the_time_limit_is_reported_and_left_undone() -> None:
    class Stuck(FakeWorker):
        async def invoke(self, function_id: str, inputs: Inputs, attempt: Attempt) -> InvocationResult:
            await asyncio.Event().wait()
            raise AssertionError("never")

    exceeded: list[str] = []
    executor = Executor(Stuck(lambda inputs, attempt: None), 0.01, exceeded.append)

    outcome = await executor.run(function(RetryPolicy(UNLIMITED, FixedDelay(0))), Inputs({}))

    assert outcome is Outcome.INTERRUPTED
    assert exceeded == ["ingest"]


async def test_checkpoint_writer_stores_positions_in_order_and_the_last_one_for_certain() -> None:
    store, told = FakeStore(), list[int]()
    writer = CheckpointWriter(store, "0", lambda checkpoint: told.append(checkpoint.sequence_number))
    running = asyncio.create_task(writer.run())

    for number in range(50):
        writer.advance(Checkpoint(str(number), number))
        if number % 7 == 0:
            await asyncio.sleep(0)
    await writer.flushed()
    running.cancel()

    assert store.saved == sorted(set(store.saved))
    assert store.saved[-1] == 49
    assert told == store.saved


async def test_checkpoint_writer_waits_out_an_outage_and_says_so_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("local.functions_host.checkpoints._RETRY_SECONDS", 0)
    caplog.set_level("INFO", "local.functions_host.checkpoints")
    store = FakeStore(failures=3)
    writer = CheckpointWriter(store, "0", lambda checkpoint: None)
    running = asyncio.create_task(writer.run())

    writer.advance(Checkpoint("1", 1))
    await writer.flushed()
    running.cancel()

    assert store.saved == [1]
    assert [record.message for record in caplog.records] == [
        "checkpoint cannot be stored; trying on",
        "checkpoints are stored again",
    ]


class Pumped:
    """A pump on fakes, run until its buffer is empty."""

    def __init__(self, body: Callable[[Inputs, Attempt], str | None], subject: Function, **options: Any) -> None:
        self.buffer = EventBuffer(100)
        self.store = FakeStore()
        self.status = PartitionStatus("ingest", "hub", "$Default", "0")
        self.executor = Executor(FakeWorker(body), None, never_exceeded)
        self.writer = CheckpointWriter(self.store, "0", lambda checkpoint: None)
        assert isinstance(subject.trigger, EventHubTrigger)
        self.pump = PartitionPump(
            subject, subject.trigger, EventHubOptions(**options), self.executor, self.buffer, self.writer, self.status
        )

    async def run(self, count: int, until: Callable[[], bool]) -> None:
        for number in range(count):
            await self.buffer.put(event(number))
        pumping, writing = asyncio.create_task(self.pump.run()), asyncio.create_task(self.writer.run())
        async with asyncio.timeout(10):
            while not until():
                await asyncio.sleep(0)
        self.buffer.close()
        self.executor.stop()
        await pumping
        await self.writer.flushed()
        writing.cancel()


def bodies(inputs: Inputs) -> list[bytes]:
    found: list[bytes] = inputs.parameters["events"].collection_bytes.bytes
    return found


async def test_pump_checkpoints_every_nth_batch_and_tells_the_function_which() -> None:
    marked: list[bool] = []

    def body(inputs: Inputs, attempt: Attempt) -> None:
        marked.append('"IsCheckpointingAfterInvocation": true' in inputs.metadata["PartitionContext"].json)

    pumped = Pumped(body, function(), max_event_batch_size=1, batch_checkpoint_frequency=2)
    await pumped.run(5, until=lambda: len(marked) == 5)

    assert marked == [False, True, False, True, False]
    assert pumped.store.saved[-1] == 3


async def test_pump_checkpoints_a_failed_batch_too() -> None:
    failures: list[list[bytes]] = []

    def body(inputs: Inputs, attempt: Attempt) -> str:
        failures.append(bodies(inputs))
        return "ValueError: no"

    pumped = Pumped(body, function(), max_event_batch_size=2)
    await pumped.run(4, until=lambda: len(failures) == 2)

    assert failures == [[b"0", b"1"], [b"2", b"3"]]
    assert pumped.store.saved[-1] == 3
    assert (pumped.status.failed, pumped.status.last_error) == (2, "ValueError: no")


async def test_pump_never_checkpoints_a_batch_whose_retries_were_cut_off() -> None:
    def body(inputs: Inputs, attempt: Attempt) -> str | None:
        return "ValueError: no" if b"1" in bodies(inputs) else None

    stubborn = function(RetryPolicy(UNLIMITED, FixedDelay(0)))
    pumped = Pumped(body, stubborn, max_event_batch_size=1)
    await pumped.run(3, until=lambda: pumped.status.attempts > 3)

    assert pumped.store.saved == [0]
    assert pumped.status.last_sequence_number == 1


async def test_pump_leaves_the_batch_alone_when_another_host_has_taken_the_partition() -> None:
    def body(inputs: Inputs, attempt: Attempt) -> None:
        pumped.status.state = "stolen"

    pumped = Pumped(body, function(), max_event_batch_size=1)
    await pumped.run(2, until=lambda: pumped.status.succeeded == 1)

    assert pumped.store.saved == []


async def test_pump_gives_single_events_in_order_and_checkpoints_behind_the_last() -> None:
    seen: list[bytes] = []
    single = dataclasses.replace(TRIGGER, many=False)

    def body(inputs: Inputs, attempt: Attempt) -> None:
        seen.append(inputs.parameters["events"].bytes)

    pumped = Pumped(body, function(trigger=single), max_event_batch_size=10)
    await pumped.run(3, until=lambda: len(seen) == 3)

    assert seen == [b"0", b"1", b"2"]
    assert pumped.store.saved == [2]


async def test_fault_of_the_host_inside_a_partition_surfaces_instead_of_stalling_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def receive(*unused: object) -> Any:
        yield None
        yield event(0)
        await asyncio.Event().wait()

    def broken(*unused: object) -> Inputs:
        raise TypeError("a bug of ours")

    monkeypatch.setattr("local.functions_host.partition_receiver.receive", receive)
    monkeypatch.setattr("local.functions_host.partition_pump.batch_inputs", broken)
    executor = Executor(FakeWorker(lambda inputs, attempt: None), None, never_exceeded)
    unused_client = cast(Any, None)
    partition = Partition(
        "0", function(), TRIGGER, EventHubOptions(), executor, unused_client, FakeStore(), Checkpoint("5", 5)
    )

    await partition.start()
    with pytest.raises(TypeError, match="a bug of ours"):
        await partition.run()
    await partition.stop(grace=1)

    assert partition.status.checkpointed_sequence_number == 5


async def test_receiver_goes_on_behind_the_last_event_after_each_outage_and_logs_only_changes(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    positions: list[object] = []
    connections = [[None, event(0), event(1)], [], [], [None, event(2)]]

    async def receive(client: object, group: str, partition: str, position: object, credit: int) -> Any:
        positions.append(position)
        for item in connections.pop(0) if connections else []:
            yield item
        raise ConnectionError("gone")

    monkeypatch.setattr("local.functions_host.partition_receiver.receive", receive)
    monkeypatch.setattr("local.functions_host.partition_receiver._FIRST_BACKOFF_SECONDS", 0.001)
    caplog.set_level("INFO", "local.functions_host.partition_receiver")
    buffer, unused_client = EventBuffer(100), cast(Any, None)
    status = PartitionStatus("ingest", "hub", "$Default", "0")
    running = asyncio.create_task(PartitionReceiver(unused_client, status, buffer, 10).run("-1"))

    events = await buffer.take(3, 3, max_wait=10)
    while len(positions) < 6:
        await asyncio.sleep(0.001)
    running.cancel()

    assert [received.sequence_number for received in events] == [0, 1, 2]
    assert positions[:6] == ["-1", "10", "10", "10", "20", "20"]
    assert [record.message for record in caplog.records] == [
        "event hub is out of reach; reconnecting",
        "receiving again",
        "event hub is out of reach; reconnecting",
    ]
    assert status.last_error == "ConnectionError: gone"


async def test_receiver_lets_go_when_the_partition_is_stolen(monkeypatch: pytest.MonkeyPatch) -> None:
    async def receive(*unused: object) -> Any:
        yield None
        raise LinkStolenError("epoch")

    monkeypatch.setattr("local.functions_host.partition_receiver.receive", receive)
    buffer, unused_client = EventBuffer(100), cast(Any, None)
    status = PartitionStatus("ingest", "hub", "$Default", "0")

    await PartitionReceiver(unused_client, status, buffer, 10).run("-1")

    assert status.state == "stolen"
    assert await buffer.take(1, 1, 0) == []
