from datetime import datetime

import pytest

from local.log_analytics.faults import Fault, FaultInjector, FaultSettings
from local.log_analytics.throttle import Throttle
from local.log_analytics.timespan import parse_timespan

NOW = datetime(2026, 11, 1, 12)


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


def test_request_above_the_minute_limit_waits_until_the_first_leaves_the_window():
    clock = Clock()
    throttle = Throttle(2, 1000, clock)
    assert [throttle.take(1), throttle.take(1)] == [0, 0]

    clock.now += 10
    wait = throttle.take(1)
    clock.now += wait

    assert wait == 50
    assert throttle.take(1) == 0


def test_bytes_above_the_minute_limit_are_refused_and_not_counted():
    clock = Clock()
    throttle = Throttle(100, 1000, clock)

    assert throttle.take(600) == 0
    assert throttle.take(500) == 60
    assert throttle.take(400) == 0


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("PT1H", datetime(2026, 11, 1, 11), NOW),
        ("PT3600.0S", datetime(2026, 11, 1, 11), NOW),
        ("P1DT12H", datetime(2026, 10, 31), NOW),
        ("P1W", datetime(2026, 10, 25, 12), NOW),
        ("2026-10-01/2026-10-02T02:00:00+02:00", datetime(2026, 10, 1), datetime(2026, 10, 2)),
        ("2026-10-01T00:00:00Z/PT30M", datetime(2026, 10, 1), datetime(2026, 10, 1, 0, 30)),
        ("PT30M/2026-10-01T00:30:00.000Z", datetime(2026, 10, 1), datetime(2026, 10, 1, 0, 30)),
    ],
)
def test_timespan_is_an_interval(text, start, end):
    assert parse_timespan(text, NOW) == (start, end)


@pytest.mark.parametrize(
    "text", ["", "1h", "P", "PT", "P1M", "PT1H/", "/PT1H", "a/b", "2026-10-02/2026-10-01", "P9999999D", "PT1H/PT1H"]
)
def test_text_that_is_no_timespan_is_refused(text):
    with pytest.raises(ValueError, match="timespan"):
        parse_timespan(text, NOW)


def decisions(injector, count=400):
    return [injector.decide() for _ in range(count)]


def test_no_faults_unless_ordered():
    assert set(decisions(FaultInjector())) == {Fault.NONE}


def test_ordered_faults_come_in_their_ratios_and_repeat_with_the_seed():
    settings = FaultSettings.parse({"status_codes": [429, 503], "ratio": 0.25, "timeout_ratio": 0.25, "seed": 7})
    injector = FaultInjector()

    injector.order(settings)
    first = decisions(injector)
    counted = injector.report()["counts"]
    injector.order(settings)

    assert decisions(injector) == first
    assert set(first) == {429, 503, *Fault}
    assert 140 < first.count(Fault.NONE) < 260
    assert sum(counted.values()) == 400


@pytest.mark.parametrize(
    "document",
    [
        [],
        {"ratios": 1},
        {"ratio": 2},
        {"ratio": "x"},
        {"ratio": True},
        {"ratio": 0.6, "timeout_ratio": 0.6},
        {"status_codes": []},
        {"status_codes": [204]},
        {"timeout_seconds": -1},
        {"seed": "x"},
    ],
)
def test_wrong_fault_order_is_refused(document):
    with pytest.raises(ValueError, match=r"\w+"):
        FaultSettings.parse(document)
