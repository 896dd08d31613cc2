"""The service with fakes: what it does with samples, and how it ends."""

import asyncio
import json
import os
import signal

import pytest

from agent.clock import SystemClock
from agent.collector import Reading
from agent.envelopes import EnvelopeBuilder, Identity
from agent.publisher.recording_publisher import RecordingPublisher
from agent.sampler import Sampler
from agent.sampling import SamplingLoop
from agent.service import Parts, Service
from agent.spool.memory_spool import MemorySpool
from agent.status_file import StatusFile
from telemetry.envelope import decode

INTERVAL = 0.02


class Load:
    """A collector that always works."""

    name, device_class = "load", None

    def collect(self):
        return [Reading("load.1m", 1.0)]


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
