"""The service with fakes: what it does with samples, and how it ends."""

import asyncio
import json
import math
import os
import signal
import time

import pytest

from agent import service as service_module
from agent.clock import SystemClock
from agent.collector import Reading
from agent.envelopes import EnvelopeBuilder, Identity
from agent.observe.health import Limits
from agent.publisher.recording_publisher import RecordingPublisher
from agent.sampler import Sampler
from agent.sampling import SamplingLoop
from agent.service import HAND_OVER_EVERY, Parts, Service
from agent.spool.memory_spool import MemorySpool
from agent.status_file import StatusFile
from telemetry.envelope import decode

INTERVAL = 0.02


class Load:
    """A collector that always works."""

    name, device_class = "load", None

    def collect(self):
        return [Reading("load.1m", 1.0)]


@pytest.fixture(autouse=True)
def it_gives_up_soon(monkeypatch) -> None:
    monkeypatch.setattr(service_module, "STOP_WITHIN", 1.5)


@pytest.fixture
def parts() -> Parts:
    clock = SystemClock()
    sampler = Sampler([Load()], clock, INTERVAL)
    return Parts(
        clock=clock,
        sampler=sampler,
        sampling=SamplingLoop(sampler, clock, INTERVAL),
        builder=EnvelopeBuilder(
            Identity("dev", "node-1", "0123456789ab"),
            lambda: {"cpus": 2},
            samples_per_envelope=2,
            publish_interval=3600,
        ),
        spool=MemorySpool(10**6, 3600, clock),
        publisher=RecordingPublisher(),
    )


async def until(condition) -> None:
    for _ in range(3000):
        if condition():
            return
        await asyncio.sleep(0.002)
    raise AssertionError("it never happened")


async def run_until(service: Service, condition, number: int = signal.SIGTERM) -> None:
    """Runs the service, signals this process once the condition holds, and waits for the end."""
    running = asyncio.create_task(service.run())
    await until(lambda: running.done() or condition())
    if not running.done():
        os.kill(os.getpid(), number)
    await asyncio.wait_for(running, 10)


async def test_every_sample_is_published_and_the_rest_at_the_end(parts, tmp_path):
    service = Service(parts, "0123456789ab", status_file=StatusFile(tmp_path / "status.json"))

    await run_until(service, lambda: len(parts.publisher.acknowledged) >= 3)

    envelopes = [decode(raw) for raw in parts.publisher.acknowledged]
    assert [each.seq for each in envelopes] == list(range(1, len(envelopes) + 1))
    assert sum(len(each.time) for each in envelopes) == parts.sampler.statistics["load"].runs
    assert parts.publisher.closed
    status = json.loads((tmp_path / "status.json").read_text())
    assert (status["seq"], status["published"], status["spooled"]) == (len(envelopes), len(envelopes), 0)


async def test_a_signal_sends_at_once_what_would_have_waited(parts):
    parts.builder._full = 1000
    service = Service(parts, "0123456789ab", publish_delay=3600.0)

    await run_until(service, lambda: parts.sampler.statistics["load"].runs >= 5)

    (raw,) = parts.publisher.acknowledged
    assert len(decode(raw).time) == parts.sampler.statistics["load"].runs >= 5


async def test_the_event_loop_is_woken_once_per_envelope(parts, monkeypatch):
    parts.builder._full = 5
    service = Service(parts, "0123456789ab")
    taken = []
    take = service._take
    monkeypatch.setattr(service, "_take", lambda: (taken.append(len(service._sampled)), take()))

    await run_until(service, lambda: parts.builder.seq >= 4)

    assert sum(count > 0 for count in taken) <= parts.builder.seq  # of five samples each


async def test_samples_that_fill_no_envelope_are_handed_over_before_the_loop_seems_to_hang(parts, monkeypatch):
    parts.builder._full = 1000
    monkeypatch.setattr(service_module, "HAND_OVER_EVERY", 5 * INTERVAL)
    service = Service(parts, "0123456789ab")
    seen: set[float | None] = set()

    def three_times() -> bool:
        seen.add(service.progress.sample_taken_at)
        return len(seen - {None}) >= 3

    await run_until(service, three_times)

    first, second, *_ = sorted(seen - {None})
    assert second - first + 0.005 >= 5 * INTERVAL
    assert parts.sampler.statistics["load"].runs >= 10


def test_the_loop_is_told_of_samples_long_before_health_thinks_that_it_hangs():
    for interval in (1.0, 10.0, 16.0, 20.0, 29.0, 60.0, 300.0):
        seldom = interval * max(1, math.ceil(HAND_OVER_EVERY / interval))
        assert seldom <= Limits.of(interval, 3600.0, 0.0).sample * 2 / 3


async def test_an_event_loop_that_was_held_up_takes_every_sample(parts):
    service = Service(parts, "0123456789ab")
    running = asyncio.create_task(service.run())
    await until(lambda: parts.builder.seq >= 1)
    time.sleep(10 * INTERVAL)  # holds it up
    await until(lambda: parts.builder.seq >= 5)
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.wait_for(running, 10)

    envelopes = [decode(raw) for raw in parts.publisher.acknowledged]
    assert sum(len(each.time) for each in envelopes) == parts.sampler.statistics["load"].runs
    assert {len(each.time) for each in envelopes[:-1]} == {2}


async def test_a_failed_attempt_is_told_at_once(parts):
    parts.publisher.down = True
    parts.builder._full = 2
    service = Service(parts, "0123456789ab")
    failed = []

    await run_until(service, lambda: failed.append(dict(service.progress.failed)) or failed[-1])

    assert sum(failed[-1].values()) == 1


async def test_a_publisher_that_hangs_neither_stops_sampling_nor_the_end(parts):
    parts.publisher.script.append("hang")
    service = Service(parts, "0123456789ab")

    await run_until(service, lambda: len(parts.spool) >= 5)

    assert parts.publisher.acknowledged == []
    assert parts.builder.seq == len(parts.spool) >= 5


async def test_a_publisher_that_fails_leaves_everything_in_the_spool(parts):
    parts.publisher.down = True
    service = Service(parts, "0123456789ab")

    await run_until(service, lambda: len(parts.spool) >= 3, signal.SIGINT)

    waiting = [decode(spooled.body).seq for spooled in parts.spool.oldest(1000, 10**9)]
    assert waiting == list(range(1, parts.builder.seq + 1))


async def test_a_sampling_thread_that_crashes_ends_the_service_with_its_error(parts, monkeypatch):
    def crash():
        raise RuntimeError("no more threads")

    monkeypatch.setattr(parts.sampler, "sample", crash)

    with pytest.raises(RuntimeError, match="no more threads"):
        await asyncio.wait_for(Service(parts, "0123456789ab").run(), 10)


async def test_a_programming_error_while_building_ends_the_service_instead_of_losing_samples(parts, monkeypatch):
    def crash(body):
        raise ZeroDivisionError("bug")

    monkeypatch.setattr(parts.spool, "append", crash)
    parts.builder._full = 1

    with pytest.raises(ZeroDivisionError):
        await asyncio.wait_for(Service(parts, "0123456789ab").run(), 10)


async def test_a_status_line_counts_what_happened_since_the_last_one(parts, caplog):
    caplog.set_level("INFO")

    await run_until(Service(parts, "0123456789ab"), lambda: parts.builder.seq >= 20)

    lines = [record for record in caplog.records if record.getMessage() == "status"]
    assert [line.seq for line in lines][:2] == [10, 20]
    assert all(line.dropped == 0 and line.collect_ms > 0 for line in lines)
