"""Delivery with a publisher that fails in every way: nothing is lost, nothing is out of order."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.delivery import LONGEST_RETRY, Delivery, backoff
from agent.delivery_statistics import LATENCY_BOUNDS
from agent.manual_clock import ManualClock
from agent.publisher.publisher import FailureReason, PublishFailed
from agent.publisher.recording_publisher import RecordingPublisher
from agent.spool.memory_spool import MemorySpool


class Bench:
    """A delivery with a fake publisher, a spool in memory and no patience."""

    def __init__(self, max_bytes: int = 1000, **options) -> None:
        self.clock = ManualClock()
        self.spool = MemorySpool(10**6, 86_400, self.clock)
        self.publisher = RecordingPublisher(max_bytes)
        self.progress = 0
        self.waits: list[int] = []

        def retry_after(failures: int) -> float:
            self.waits.append(failures)
            return 0.0

        self.delivery = Delivery(
            self.spool,
            self.publisher,
            self.clock,
            on_progress=self.count_progress,
            **{"retry_after": retry_after, **options},
        )

    def count_progress(self) -> None:
        self.progress += 1

    def add(self, *bodies: bytes) -> None:
        for body in bodies:
            self.spool.append(body)
        self.delivery.wake()

    async def finish(self) -> None:
        self.delivery.finish()
        await asyncio.wait_for(self.delivery.run(), 10)


async def until(condition) -> None:
    for _ in range(2000):
        if condition():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("it never happened")


@pytest.fixture
async def bench() -> Bench:
    return Bench()


async def test_what_waits_is_sent_in_order_in_one_batch_and_then_removed(bench):
    bench.add(b"one", b"two", b"three")

    await bench.finish()

    assert bench.publisher.acknowledged == [b"one", b"two", b"three"]
    assert (bench.publisher.calls, len(bench.spool), bench.delivery.statistics.published) == (1, 0, 3)
    assert bench.delivery.statistics.last_publish_ms == bench.clock.epoch_ms()
    assert bench.progress == 1


async def test_a_large_backlog_is_sent_in_many_acknowledged_steps(bench):
    bench.add(*(b"%d" % number for number in range(450)))

    await bench.finish()

    assert bench.publisher.acknowledged == [b"%d" % number for number in range(450)]
    assert bench.publisher.calls == 5


async def test_new_envelopes_wake_the_delivery(bench):
    running = asyncio.create_task(bench.delivery.run())
    await asyncio.sleep(0)
    bench.add(b"one")
    await until(lambda: bench.publisher.acknowledged == [b"one"])
    bench.add(b"two")
    await until(lambda: bench.publisher.acknowledged == [b"one", b"two"])

    bench.delivery.finish()
    await asyncio.wait_for(running, 5)


async def test_an_outage_is_retried_until_it_ends_and_logged_twice(bench, caplog):
    caplog.set_level("INFO")
    bench.publisher.script.extend([PublishFailed("connection refused")] * 25)
    bench.add(b"one")

    await bench.finish()

    assert bench.publisher.acknowledged == [b"one"]
    assert bench.waits == list(range(1, 26))
    assert [record.getMessage() for record in caplog.records] == ["publishing_failed", "publishing_recovered"]
    assert "connection refused" in caplog.records[0].problem


async def test_every_failed_attempt_is_counted_under_its_reason(bench):
    bench.publisher.script.extend(
        [
            PublishFailed("busy", FailureReason.THROTTLED),
            PublishFailed("busy", FailureReason.THROTTLED),
            PublishFailed("no route", FailureReason.UNREACHABLE),
            PublishFailed("bad key", FailureReason.UNAUTHORIZED),
            KeyError("bug"),
            "",
            PublishFailed("unheard of"),
        ]
    )
    bench.add(*(b"%d" % number for number in range(150)))

    await bench.finish()

    retried = bench.delivery.statistics.retried
    assert {reason: count for reason, count in retried.items() if count} == {
        "throttled": 2,
        "unreachable": 1,
        "unauthorized": 1,
        "other": 2,
    }
    assert set(retried) == set(FailureReason)


async def test_each_reason_of_an_outage_is_logged_once_with_what_to_do_about_it(bench, caplog):
    caplog.set_level("INFO")
    gone = PublishFailed("no route", FailureReason.UNREACHABLE)
    refused = PublishFailed("401", FailureReason.UNAUTHORIZED)
    bench.publisher.script.extend([gone, gone, refused, refused, gone, refused])
    bench.add(b"one")

    await bench.finish()

    lines = [(record.getMessage(), getattr(record, "reason", None)) for record in caplog.records]
    assert lines == [
        ("publishing_failed", "unreachable"),
        ("publishing_failed", "unauthorized"),
        ("publishing_recovered", None),
    ]
    assert caplog.records[0].what_to_do is None
    assert "Azure Event Hubs Data Sender" in caplog.records[1].what_to_do


async def test_acknowledged_attempts_are_timed_and_failed_ones_are_not(bench):
    publish, durations = bench.publisher.publish, [0.004, 0.03, 7.0, 100.0]

    async def timed(envelopes):
        bench.clock.advance(durations[0])
        await publish(envelopes)
        durations.pop(0)

    bench.publisher.publish = timed
    bench.publisher.script.extend([PublishFailed("x"), "", "", PublishFailed("x"), "", ""])
    bench.add(*(b"%d" % number for number in range(400)))

    await bench.finish()

    latencies = bench.delivery.statistics.latencies
    assert (latencies.count, latencies.last) == (4, pytest.approx(100))
    assert latencies.seconds == pytest.approx(107.034)
    assert latencies.cumulative() == [1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 3, 3, 4]
    assert len(latencies.cumulative()) == len(LATENCY_BOUNDS) + 1


async def test_a_second_outage_is_an_outage_of_its_own(bench, caplog):
    caplog.set_level("INFO")
    bench.publisher.script.extend([PublishFailed("first"), PublishFailed("first"), "", PublishFailed("second")])
    bench.add(*(b"%d" % number for number in range(150)))

    await bench.finish()

    assert bench.waits == [1, 2, 1]
    assert [record.getMessage() for record in caplog.records] == ["publishing_failed", "publishing_recovered"] * 2


@pytest.mark.parametrize("error", [RuntimeError("bug"), OSError(104, "reset"), TimeoutError(), ValueError("odd")])
async def test_an_error_of_any_kind_keeps_the_envelope(bench, error):
    bench.publisher.script.append(error)
    bench.add(b"one")

    await bench.finish()

    assert bench.publisher.acknowledged == [b"one"]


async def test_a_lost_acknowledgement_sends_again_rather_than_losing(bench):
    bench.publisher.script.append("lost_ack")
    bench.add(b"one", b"two")

    await bench.finish()

    assert bench.publisher.acknowledged == [b"one", b"two", b"one", b"two"]
    assert bench.delivery.statistics.published == 2


async def test_an_envelope_the_link_does_not_take_is_given_up_and_its_neighbours_are_sent(bench, caplog):
    bench.add(b"one", b"x" * 1001, b"two", b"y" * 5000)

    await bench.finish()

    assert bench.publisher.acknowledged == [b"one", b"two"]
    assert bench.delivery.statistics.too_large == 2
    (line,) = caplog.records
    assert (line.getMessage(), line.bytes, line.limit) == ("envelope_too_large", 1001, 1000)
    assert "AGENT_PUBLISH_INTERVAL" in line.what_to_do


async def test_envelopes_too_large_after_ones_that_were_not_are_said_again(bench, caplog):
    bench.add(b"x" * 1001)
    await bench.finish()
    bench.add(b"one", b"x" * 1002)

    await bench.finish()
    bench.add(b"x" * 1003)
    await bench.finish()

    assert [record.bytes for record in caplog.records] == [1001, 1003]
    assert bench.delivery.statistics.too_large == 3


async def test_a_publisher_that_never_returns_can_be_cancelled_and_loses_nothing(bench):
    bench.publisher.script.append("hang")
    bench.add(b"one")
    running = asyncio.create_task(bench.delivery.run())
    await until(lambda: bench.publisher.calls == 1)

    running.cancel()
    await asyncio.wait({running}, timeout=5)

    assert running.cancelled()
    assert len(bench.spool) == 1


async def test_finishing_cuts_a_long_wait_short():
    bench = Bench(retry_after=lambda failures: 3600.0)
    bench.publisher.script.append(PublishFailed("down"))
    bench.add(b"one")
    running = asyncio.create_task(bench.delivery.run())
    await until(lambda: bench.publisher.calls == 1)

    bench.delivery.finish()
    await asyncio.wait_for(running, 5)

    assert bench.publisher.acknowledged == [b"one"]


async def test_a_new_envelope_waits_for_the_nodes_own_share_of_the_interval_but_not_when_finishing():
    bench = Bench(delay=3600.0)
    running = asyncio.create_task(bench.delivery.run())
    await asyncio.sleep(0)
    bench.add(b"one")
    await asyncio.sleep(0.02)
    assert bench.publisher.calls == 0

    bench.delivery.finish()
    await asyncio.wait_for(running, 5)

    assert bench.publisher.acknowledged == [b"one"]


async def test_finishing_with_nothing_to_send_returns_at_once(bench):
    await bench.finish()

    assert bench.publisher.calls == 0


def test_the_wait_doubles_up_to_half_a_minute_and_varies():
    assert [backoff(n, jitter=lambda: 0.0) for n in (1, 2, 3, 5, 6, 7, 1000)] == [1, 2, 4, 16, 30, 30, LONGEST_RETRY]
    assert backoff(1, jitter=lambda: 1.0) == 0.5
    assert len({backoff(5) for _ in range(20)}) > 1


steps = st.lists(
    st.one_of(
        st.just("lost_ack"),
        st.just("good"),
        st.just("fail"),
        st.just("bug"),
        st.tuples(st.just("add"), st.integers(1, 4)),
    ),
    max_size=25,
)


@settings(deadline=None, max_examples=60)
@given(steps, st.integers(0, 3))
def test_whatever_happens_every_envelope_arrives_and_in_order(script, large):
    async def run() -> Bench:
        bench = Bench()
        count = 0
        endings = {"lost_ack": "lost_ack", "good": "", "fail": PublishFailed("x"), "bug": KeyError("x")}
        for step in script:
            if isinstance(step, tuple):
                for _ in range(step[1]):
                    count += 1
                    bench.add(b"%05d" % count)
            else:
                bench.publisher.script.append(endings[step])
        for _ in range(large):
            bench.add(b"x" * 2000)
        bench.count = count  # type: ignore[attr-defined]
        await bench.finish()
        return bench

    bench = asyncio.run(run())

    arrived = bench.publisher.acknowledged
    expected = [b"%05d" % number for number in range(1, bench.count + 1)]  # type: ignore[attr-defined]
    assert list(dict.fromkeys(arrived)) == expected, "each at least once, first arrivals in order"
    assert bench.delivery.statistics.published == len(expected)
    assert bench.delivery.statistics.too_large == large
    assert len(bench.spool) == 0
