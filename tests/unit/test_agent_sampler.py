"""One sample of many collectors, some of them bad."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.collector import Reading
from agent.manual_clock import ManualClock
from agent.sampler import Sampler, time_limit
from telemetry.catalogue import DISK, NODE_METRICS, Kind


class Fake:
    """A collector that delivers what it is told, or fails."""

    def __init__(self, name="fake", device_class=None, *readings: Reading) -> None:
        self.name, self.device_class = name, device_class
        self.readings: list[Reading] = list(readings)
        self.error: Exception | None = None

    def collect(self):
        if self.error:
            raise self.error
        return list(self.readings)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def events(caplog) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def test_gauges_are_sent_as_read_and_counters_as_rates(clock):
    fake = Fake("fake", None, Reading("load.1m", 1.236), Reading("cpu.switches", 1000))
    sampler = Sampler([fake], clock, 10.0)

    first = sampler.sample()
    clock.advance(10)
    fake.readings[1] = Reading("cpu.switches", 1505)
    second = sampler.sample()

    assert first.metrics == {"load.1m": 1.24}
    assert second.metrics == {"load.1m": 1.24, "cpu.switches": 50.5}
    assert second.time - first.time == 10_000


def test_devices_are_kept_apart(clock):
    fake = Fake("disk", DISK, Reading("reads", 0, "sda"), Reading("reads", 100, "sdb"))
    sampler = Sampler([fake], clock, 10.0)
    sampler.sample()
    clock.advance(10)
    fake.readings = [Reading("reads", 10, "sda"), Reading("reads", 200, "sdb"), Reading("reads", 7, "new")]

    assert sampler.sample().devices == {"disk": {"sda": {"reads": 1.0}, "sdb": {"reads": 10.0}}}


def test_a_failing_collector_costs_its_own_readings_and_is_logged_when_it_changes(clock, caplog):
    caplog.set_level("INFO")
    bad, good = Fake("bad", None, Reading("load.1m", 1)), Fake("good", None, Reading("load.5m", 2))
    sampler = Sampler([bad, good], clock, 10.0)

    bad.error = OSError(5, "Input/output error")
    broken = [sampler.sample() for _ in range(3)]
    bad.error = None
    healed = sampler.sample()

    assert [sample.metrics for sample in broken] == [{"load.5m": 2}] * 3
    assert healed.metrics == {"load.1m": 1, "load.5m": 2}
    assert events(caplog) == ["collector_failed", "collector_recovered"]
    assert caplog.records[0].problem == "OSError: [Errno 5] Input/output error"
    statistics = sampler.statistics["bad"]
    assert (statistics.runs, statistics.failures, statistics.problem) == (4, 3, None)
    assert sampler.statistics["good"].failures == 0


def test_a_hanging_collector_costs_its_own_readings(clock, caplog):
    gate = threading.Event()
    hanging, good = Fake("hanging"), Fake("good", None, Reading("load.5m", 2))
    hanging.collect = gate.wait  # type: ignore[method-assign]
    sampler = Sampler([hanging, good], clock, 0.1)

    sample = sampler.sample()

    gate.set()
    assert sample.metrics == {"load.5m": 2}
    assert "hangs" in str(sampler.statistics["hanging"].problem)


def test_a_collector_that_stops_half_way_delivers_nothing(clock):
    def half():
        yield Reading("load.1m", 1)
        raise ValueError("line 2")

    fake = Fake()
    fake.collect = half  # type: ignore[method-assign]

    assert Sampler([fake], clock, 10.0).sample().metrics == {}


@pytest.mark.parametrize("reading", [Reading("no.such.metric", 1), Reading("read", 1)])
def test_a_reading_the_catalogue_does_not_have_is_the_collectors_failure(clock, reading):
    sampler = Sampler([Fake("fake", None, reading)], clock, 10.0)

    assert sampler.sample().metrics == {}
    assert sampler.statistics["fake"].failures == 1


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf"), 1e300])
def test_a_value_receivers_would_refuse_is_left_out_and_counted(clock, value):
    sampler = Sampler([Fake("fake", None, Reading("mem.free", value), Reading("load.1m", 1))], clock, 10.0)

    assert sampler.sample().metrics == {"load.1m": 1}
    assert sampler.statistics["fake"].refused == 1


def test_a_share_of_time_a_little_over_one_is_one_and_a_broken_one_is_left_out(clock):
    fake = Fake("disk", DISK, Reading("busy", 0.0, "sda"), Reading("busy", 0.0, "sdb"))
    sampler = Sampler([fake], clock, 0.1)
    sampler.sample()
    clock.advance(0.1)
    fake.readings = [Reading("busy", 0.12, "sda"), Reading("busy", 5.0, "sdb")]

    assert sampler.sample().devices == {"disk": {"sda": {"busy": 1.0}}}
    assert sampler.statistics["disk"].refused == 1


def test_a_disk_attached_anew_has_no_rate_once(clock):
    fake = Fake("disk", DISK, Reading("busy", 1_000_000.0, "sda", 2**32 / 1000))
    sampler = Sampler([fake], clock, 10.0)
    rates = []
    for total in (1_000_000.0, 0.5, 5.5):
        fake.readings = [Reading("busy", total, "sda", 2**32 / 1000)]
        rates.append(sampler.sample().devices.get("disk", {}).get("sda"))
        clock.advance(10)

    assert rates == [None, None, {"busy": 0.5}]


def test_raw_counters_stay_reachable(clock):
    sampler = Sampler([Fake("fake", None, Reading("cpu.switches", 494446))], clock, 10.0)

    sampler.sample()

    assert sampler.counters["fake"] == (Reading("cpu.switches", 494446),)


def test_a_wall_clock_set_back_neither_repeats_a_stamp_nor_bends_a_rate(clock):
    fake = Fake("fake", None, Reading("cpu.switches", 0))
    sampler = Sampler([fake], clock, 10.0)
    before = sampler.sample()
    clock.advance(10)
    clock.step_wall_clock(-60)
    fake.readings = [Reading("cpu.switches", 1000)]

    after = sampler.sample()

    assert after.time == before.time + 1
    assert after.metrics == {"cpu.switches": 100.0}


@given(st.dictionaries(st.sampled_from([m.key for m in NODE_METRICS]), st.floats(), max_size=8))
def test_whatever_a_collector_says_only_acceptable_numbers_are_sent(found):
    clock = ManualClock()
    fake = Fake("fake", None, *(Reading(key, value) for key, value in found.items()))
    sampler = Sampler([fake], clock, 10.0)
    sampler.sample()
    clock.advance(10)

    sent = sampler.sample().metrics

    upper = {metric.key: metric.upper for metric in NODE_METRICS}
    assert all(0 <= value <= upper[key] for key, value in sent.items())
    assert all(m.key not in sent or found[m.key] >= 0 for m in NODE_METRICS if m.kind is Kind.GAUGE)


@pytest.mark.parametrize(("interval", "limit"), [(0.1, 0.5), (4, 2), (10, 5), (3600, 5)])
def test_a_collector_may_take_half_an_interval_within_bounds(interval, limit):
    assert time_limit(interval) == limit


def test_the_last_sample_can_be_read_by_others_and_is_never_changed(clock):
    fake = Fake("fake", None, Reading("cpu.switches", 1))
    sampler = Sampler([fake], clock, 10.0)
    assert sampler.latest is None
    sample = sampler.sample()
    first = sampler.latest
    clock.advance(10)
    fake.error = OSError("gone")

    sampler.sample()

    assert (first.time, first.at) == (sample.time, clock.monotonic() - 10)
    assert first.readings == {"fake": (Reading("cpu.switches", 1),)}
    assert (first.statistics["fake"].runs, first.statistics["fake"].failures) == (1, 0)
    assert sampler.latest.readings == {"fake": ()}
    assert (sampler.latest.statistics["fake"].runs, sampler.latest.statistics["fake"].failures) == (2, 1)
