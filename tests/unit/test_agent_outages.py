"""Outages of hours, throttling and the return of a whole cluster, in simulated time."""

import asyncio
import random
from itertools import pairwise

import pytest

from agent.delivery import LONGEST_RETRY, Delivery
from agent.manual_clock import ManualClock
from agent.publisher.publisher import FailureReason, PublishFailed
from agent.spool.disk_spool import DiskSpool
from agent.spool.files import SpoolFiles
from agent.spool.memory_spool import MemorySpool
from agent.spool.spool import Spool
from tests.simulated_time import simulate

PUBLISH_INTERVAL = 30.0
ENVELOPE_BYTES = 2300


class Hub:
    """An event hub that is away at times, and takes no more than its throughput units allow at others."""

    def __init__(self, clock: ManualClock, units: float = 1e6) -> None:
        self.clock = clock
        self.away = False
        self.stored: list[bytes] = []
        self.attempts: list[float] = []
        self.rejected = 0
        self._per_second = units * 1e6
        self._allowance, self._counted_at = self._per_second, clock.monotonic()

    async def publish(self, envelopes) -> None:
        self.attempts.append(self.clock.monotonic())
        await asyncio.sleep(0.01)
        if self.away:
            raise PublishFailed("connection refused", FailureReason.UNREACHABLE)
        now, size = self.clock.monotonic(), sum(map(len, envelopes))
        self._allowance = min(self._per_second, self._allowance + (now - self._counted_at) * self._per_second)
        self._counted_at = now
        if size > self._allowance:
            self.rejected += 1
            raise PublishFailed("busy", FailureReason.THROTTLED, retry_after=4.0)
        self._allowance -= size
        self.stored += envelopes

    async def close(self) -> None: ...


async def append_every_interval(clock: ManualClock, spool: Spool, delivery: Delivery, count: int) -> list[float]:
    """Appends envelopes as the service does; gives by how much each was late."""
    start, late = clock.monotonic(), []
    for number in range(1, count + 1):
        await asyncio.sleep(start + number * PUBLISH_INTERVAL - clock.monotonic())
        late.append(clock.monotonic() - start - number * PUBLISH_INTERVAL)
        spool.append(b"%08d" % number + b"x" * (ENVELOPE_BYTES - 8))
        delivery.wake()
    return late


def numbers(bodies) -> list[int]:
    return [int(body[:8]) for body in bodies]


@pytest.mark.parametrize("hours", [1, 4])
def test_hours_without_event_hubs_lose_nothing_and_cost_two_to_four_attempts_a_minute(tmp_path, hours, caplog):
    caplog.set_level("INFO")
    count = hours * 120

    async def scene(clock):
        spool = DiskSpool.open(SpoolFiles(tmp_path, fsync=False), max_bytes=2**26, max_age=86_400, clock=clock)
        hub = Hub(clock)
        delivery = Delivery(spool, hub, clock)
        running = asyncio.create_task(delivery.run())
        hub.away = True
        await append_every_interval(clock, spool, delivery, count)
        attempts, oldest, waiting = len(hub.attempts), spool.oldest_age(), len(spool)
        hub.away = False
        back = clock.monotonic()
        while len(spool):
            await asyncio.sleep(0.1)
        caught_up = clock.monotonic() - back
        delivery.finish()
        await running
        return hub, delivery.statistics, spool, attempts, oldest, waiting, caught_up

    hub, statistics, spool, attempts, oldest, waiting, caught_up = simulate(scene)

    assert waiting == count
    assert oldest == pytest.approx((count - 1) * PUBLISH_INTERVAL)
    assert numbers(hub.stored) == list(range(1, count + 1))
    assert hours * 120 <= attempts <= hours * 240 + 10
    assert statistics.retried[FailureReason.UNREACHABLE] == attempts
    assert caught_up <= LONGEST_RETRY + 2
    assert (statistics.published, spool.dropped) == (count, 0)
    assert list(tmp_path.iterdir()) == []
    assert [record.getMessage() for record in caplog.records] == ["publishing_failed", "publishing_recovered"]
    assert caplog.records[1].outage_seconds == pytest.approx(hours * 3600, abs=90)


def test_an_outage_longer_than_the_spool_keeps_costs_the_oldest_only_and_is_counted(tmp_path):
    async def scene(clock):
        spool = DiskSpool.open(SpoolFiles(tmp_path, fsync=False), max_bytes=2**26, max_age=3600, clock=clock)
        hub = Hub(clock)
        delivery = Delivery(spool, hub, clock)
        running = asyncio.create_task(delivery.run())
        hub.away = True
        await append_every_interval(clock, spool, delivery, 480)
        hub.away = False
        delivery.finish()
        await running
        return hub, spool

    hub, spool = simulate(scene)

    arrived = numbers(hub.stored)
    assert arrived == list(range(481 - len(arrived), 481)), "the newest, without a gap"
    assert 119 <= len(arrived) <= 121
    assert spool.dropped == spool.drops["over_age"] == 480 - len(arrived)


def test_a_busy_event_hub_is_left_alone_for_as_long_as_it_asks():
    async def scene(clock):
        asked = [10.0, 25.0, 4.0]
        attempts = []

        class Busy:
            async def publish(self, envelopes):
                attempts.append(clock.monotonic())
                if asked:
                    raise PublishFailed("busy", FailureReason.THROTTLED, retry_after=asked.pop(0))

        spool = MemorySpool(10**6, 3600, clock)
        delivery = Delivery(spool, Busy(), clock)
        spool.append(b"one")
        running = asyncio.create_task(delivery.run())
        while len(spool):
            await asyncio.sleep(1)
        delivery.finish()
        await running
        return attempts

    first, second, third, fourth = simulate(scene)

    assert 10.5 <= second - first <= 11.1
    assert 26 <= third - second <= 27.1
    assert 6 <= fourth - third <= 8.1


def test_finishing_does_not_press_a_busy_event_hub():
    async def scene(clock):
        attempts = []

        class Busy:
            async def publish(self, envelopes):
                attempts.append(clock.monotonic())
                raise PublishFailed("busy", FailureReason.THROTTLED, retry_after=4.0)

        spool = MemorySpool(10**6, 3600, clock)
        delivery = Delivery(spool, Busy(), clock)
        spool.append(b"one")
        running = asyncio.create_task(delivery.run())
        await asyncio.sleep(1)
        delivery.finish()
        await asyncio.sleep(20)
        running.cancel()
        return attempts

    attempts = simulate(scene)

    assert len(attempts) >= 5
    assert all(later - earlier >= 4 for earlier, later in pairwise(attempts))


@pytest.mark.parametrize(("nodes", "backlog"), [(50, 120), (200, 120), (30, 1000)])
def test_a_cluster_that_comes_back_at_once_drains_near_the_speed_of_its_throughput_unit(nodes, backlog):
    random.seed(20)

    async def scene(clock):
        hub = Hub(clock, units=1)
        hub.away = True
        done = []

        async def node() -> None:
            spool = MemorySpool(10**9, 86_400, clock)
            for number in range(backlog):
                spool.append(b"%08d" % number + b"x" * (ENVELOPE_BYTES - 8))
            delivery = Delivery(spool, hub, clock)
            running = asyncio.create_task(delivery.run())
            while len(spool):
                await asyncio.sleep(1)
            done.append(clock.monotonic())
            delivery.finish()
            await running

        everybody = [asyncio.create_task(node()) for _ in range(nodes)]
        await asyncio.sleep(600)
        before, hub.away, start = len(hub.attempts), False, clock.monotonic()
        await asyncio.gather(*everybody)
        return hub, len(hub.attempts) - before, max(done) - start

    hub, attempts, seconds = simulate(scene)

    at_best = nodes * backlog * ENVELOPE_BYTES / 1e6
    assert len(hub.stored) == nodes * backlog
    assert seconds <= 1.25 * at_best + LONGEST_RETRY
    assert hub.rejected <= 3 * (attempts - hub.rejected) + nodes
    assert hub.rejected / seconds <= 30
