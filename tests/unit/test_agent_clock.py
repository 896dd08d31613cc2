"""When samples are taken and what they are stamped with, whatever the clocks do."""

import threading
import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.clock import LONGEST_HOLD_MS, Schedule, Stamps, SystemClock
from agent.manual_clock import ManualClock
from agent.sampling import SamplingLoop

START = 1_792_000_000_000


class CountingSampler:
    """Stands for a sampler that takes `cost` seconds; notes when it was asked."""

    def __init__(self, clock: ManualClock, stop: threading.Event, samples: int) -> None:
        self.clock, self.stop, self.left = clock, stop, samples
        self.costs: dict[int, float] = {}
        self.taken: list[float] = []

    def sample(self):
        self.taken.append(self.clock.epoch_ms() / 1000)
        self.clock.advance(self.costs.get(len(self.taken), 0.002))
        self.left -= 1
        if self.left == 0:
            self.stop.set()
        return self.taken[-1]


def sampling(samples: int, interval: float = 10.0, epoch_ms: int = START + 3_700):
    clock, stop = ManualClock(epoch_ms), threading.Event()
    sampler = CountingSampler(clock, stop, samples)
    return clock, stop, sampler, SamplingLoop(sampler, clock, interval)  # type: ignore[arg-type]


def test_samples_are_taken_at_multiples_of_the_interval():
    _, stop, sampler, loop = sampling(samples=4)
    emitted = []

    loop.run(emitted.append, stop)

    assert sampler.taken == pytest.approx([START / 1000 + s for s in (10, 20, 30, 40)], abs=0.001)
    assert emitted == sampler.taken
    assert loop.missed == 0


@pytest.mark.parametrize("interval", [0.1, 0.3, 1.0, 7.0, 10.0])
def test_ten_thousand_ticks_do_not_drift(interval):
    _, stop, sampler, loop = sampling(samples=10_000, interval=interval)

    loop.run(lambda _: None, stop)

    first, last = sampler.taken[0], sampler.taken[-1]
    assert last - first == pytest.approx(9_999 * interval, abs=0.002)
    assert last / interval == pytest.approx(round(last / interval), abs=0.02)


def test_a_sample_that_takes_too_long_costs_ticks_which_are_counted_and_not_made_up_for():
    _, stop, sampler, loop = sampling(samples=4)
    sampler.costs[2] = 25.0

    loop.run(lambda _: None, stop)

    assert [after - before for before, after in pairwise(sampler.taken)] == pytest.approx([10, 30, 10], abs=0.002)
    assert loop.missed == 2


def test_a_machine_that_slept_misses_its_ticks_and_goes_on_in_step():
    clock, stop, sampler, loop = sampling(samples=3)
    clock.oversleep = 100.0

    loop.run(lambda _: None, stop)

    assert sampler.taken == pytest.approx([START / 1000 + s for s in (110, 120, 130)], abs=0.01)
    assert loop.missed == 9 or loop.missed == 10


@pytest.mark.parametrize("step", [-86_400, -3600, -14, -9.9, -5, -0.4, 0.4, 5, 9.9, 14, 3600, 86_400])
def test_a_stepped_wall_clock_neither_bunches_nor_stops_the_ticks(step):
    schedule, clock = Schedule(10.0), ManualClock(START)
    instants = []
    for number in range(8):
        if number == 4:
            clock.step_wall_clock(step)
        tick = schedule.next(clock.monotonic(), clock.epoch_ms())
        clock.advance(tick.at - clock.monotonic())
        instants.append(clock.monotonic())
        clock.advance(0.01)

    gaps = [after - before for before, after in pairwise(instants)]
    assert all(5 - 0.002 <= gap <= 15.002 for gap in gaps)
    assert clock.epoch_ms() % 10_000 in (9, 10, 11), "back in step with the wall clock"


@given(st.lists(st.tuples(st.floats(0, 50), st.floats(-50, 50)), max_size=40), st.sampled_from([0.1, 1.0, 10.0]))
def test_ticks_are_always_in_the_future_and_at_least_half_an_interval_apart(moves, interval):
    schedule, clock, last = Schedule(interval), ManualClock(START), None
    for seconds, step in moves:
        clock.advance(seconds)
        clock.step_wall_clock(step)
        tick = schedule.next(clock.monotonic(), clock.epoch_ms())
        assert tick.at >= clock.monotonic() - 1e-6
        assert tick.at <= clock.monotonic() + 1.5 * interval + 1e-6 or last is not None
        if last is not None:
            assert tick.at - last >= interval / 2 - 0.002
        assert tick.missed >= 0
        last = tick.at


def test_stamps_are_the_wall_clock_while_it_runs_forward():
    stamps = Stamps()

    assert [stamps.next(t) for t in (START, START + 10_000, START + 20_003)] == [START, START + 10_000, START + 20_003]


def test_a_clock_set_back_a_little_is_held_by_single_milliseconds_until_it_has_caught_up():
    stamps = Stamps()
    stamps.next(START)

    held = [stamps.next(START - 20_000), stamps.next(START - 10_000), stamps.next(START)]

    assert held == [START + 1, START + 2, START + 3]
    assert stamps.next(START + 10_000) == START + 10_000


def test_a_clock_that_came_back_from_the_far_future_is_followed():
    stamps = Stamps()
    stamps.next(START + 10 * LONGEST_HOLD_MS)

    assert stamps.next(START) == START
    assert stamps.next(START + 10_000) == START + 10_000


@given(st.lists(st.integers(-LONGEST_HOLD_MS // 60, LONGEST_HOLD_MS // 60), max_size=50))
def test_stamps_strictly_increase_unless_the_clock_went_back_by_more_than_ten_minutes(moves):
    stamps, epoch_ms, last = Stamps(), START, 0
    for move in moves:
        epoch_ms += move
        stamp = stamps.next(epoch_ms)
        assert stamp > last or last - epoch_ms > LONGEST_HOLD_MS
        last = stamp


def test_the_system_clock_is_this_machines_and_its_wait_ends_when_told():
    clock, stop = SystemClock(), threading.Event()
    stop.set()

    assert abs(clock.epoch_ms() - time.time() * 1000) < 1000
    assert abs(clock.monotonic() - time.monotonic()) < 1
    assert clock.wait_until(clock.monotonic() + 60, stop)
    assert not clock.wait_until(clock.monotonic() - 1, threading.Event())
