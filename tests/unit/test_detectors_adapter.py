"""The interface for outside benchmarks: bad input, states that go on, batches that are the same as series alone."""

import math
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise

import numpy as np
import pytest

from bench.detector_adapter import Detector, make_batch

START = datetime(2026, 1, 5, tzinfo=UTC)
POINTS = 700
MINUTE = timedelta(minutes=1)


def values(count=POINTS, seed=1):
    return 5 + np.sin(np.arange(count) / 60) + 0.2 * np.random.default_rng(seed).normal(size=count)


def fed(detector, x, times=None):
    """What the detector says of values a minute apart; asserts that it is what was promised."""
    found = []
    for place, value in enumerate(x):
        alarm, score = detector.update(START + place * MINUTE if times is None else times[place], value)
        assert type(alarm) is bool and type(score) is float
        assert 0.0 <= score <= 1.0
        assert not (alarm and math.isnan(value))
        found.append((alarm, score))
    return found


def spoilt(value, every=1, at=None):
    x = values()
    x[slice(at, at + 1) if at is not None else slice(0, None, every)] = value
    return x


@pytest.mark.parametrize(
    "x",
    [
        np.zeros(POINTS),
        spoilt(math.nan),
        spoilt(math.nan, every=2),
        spoilt(1e308, at=300),
        spoilt(-1e308, at=0),
        spoilt(math.inf, at=300),
        spoilt(-math.inf, every=3),
        spoilt(5e-324, every=2),
        values() * 1e300,
        np.cumsum(np.full(POINTS, 1e15)),
    ],
    ids=["constant", "all missing", "every other missing", "1e308", "-1e308 first", "inf", "-inf often", "denormal",
         "all near 1e300", "beyond what floats count"],
)  # fmt: skip
def test_no_values_raise_or_give_a_score_that_is_no_number_and_spikes_are_told_afterwards(x):
    detector = Detector()

    fed(detector, x)
    later = fed(detector, values(), [START + timedelta(days=1) + place * MINUTE for place in range(POINTS)])
    spike = detector.update(START + timedelta(days=2), 1e16)

    assert sum(alarm for alarm, _ in later) <= 6
    assert spike[1] > 0.5


@pytest.mark.parametrize(
    "times",
    [
        [START - place * MINUTE for place in range(POINTS)],
        [START] * POINTS,
        [START + (place // 2) * MINUTE for place in range(POINTS)],
        [START + place * MINUTE + timedelta(days=7 * (place >= 400)) for place in range(POINTS)],
        [START + place * MINUTE - timedelta(days=400 * (place >= 400)) for place in range(POINTS)],
        [datetime.min, datetime.max] * (POINTS // 2),
        [datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)] * (POINTS // 2),
        [datetime(1969, 12, 31, tzinfo=UTC) + place * MINUTE for place in range(POINTS)],
    ],
    ids=["backwards", "still", "each twice", "a gap of a week", "back by a year", "ends of time", "the same in UTC",
         "before 1970"],
)  # fmt: skip
def test_no_times_raise_or_give_a_score_that_is_no_number_or_a_flood_of_alarms(times):
    found = fed(Detector(), values(), times)

    assert sum(alarm for alarm, _ in found) <= 6


def test_times_without_a_zone_are_utc_and_zones_make_no_difference():
    zone = timezone(timedelta(hours=5, minutes=30))
    times = [START + place * 7 * MINUTE for place in range(POINTS)]

    expected = fed(Detector(), values(), times)

    assert fed(Detector(), values(), [time.replace(tzinfo=None) for time in times]) == expected
    assert fed(Detector(), values(), [time.astimezone(zone) for time in times]) == expected


def test_half_way_a_state_goes_on_exactly_where_it_was():
    whole, handed_on = Detector(), Detector()
    x = spoilt(math.nan, every=17)

    expected = fed(whole, x)
    found = []
    for begin, end in pairwise([0, 0, 1, 7, 151, 350, 699, POINTS]):
        before, handed_on = handed_on, Detector()
        handed_on.set_state(before.get_state())
        found += fed(handed_on, x[begin:end], [START + place * MINUTE for place in range(begin, end)])
        assert handed_on.states_unreadable == 0

    assert found == expected
    assert handed_on.get_state() == whole.get_state()


def broken_states():
    detector = Detector()
    fed(detector, values(200))
    good = detector.get_state()
    yield from (b"", good[:1], good[:7], good[:-1], good + b"\0", b"\0" * len(good), b"\xff" * len(good))
    yield good[:3] + bytes([good[3] + 1]) + good[4:]  # of the next version
    yield good[:3] + bytes([good[3] - 1]) + good[4:]  # of the last one
    for bit in np.random.default_rng(1).integers(0, 8 * len(good), 40).tolist():
        flipped = bytearray(good)
        flipped[bit // 8] ^= 1 << bit % 8
        yield bytes(flipped)


def test_states_that_cannot_be_read_are_begun_anew_and_counted():
    detector = Detector()
    fed(detector, values(200))
    states = list(broken_states())

    for state in states:
        detector.set_state(state)

    assert detector.states_unreadable == len(states)
    assert detector.get_state() == Detector().get_state()
    assert fed(detector, values()) == fed(Detector(), values())


def test_a_state_takes_at_most_1024_bytes_at_any_time():
    detector = Detector()
    sizes = {len(detector.get_state())}

    fed(detector, spoilt(1e18, every=31))

    assert sizes | {len(detector.get_state())} == {len(detector.get_state())}
    assert max(sizes) <= 1024


def test_a_batch_is_the_same_as_detectors_one_by_one_also_where_points_are_missing():
    count = 6
    random = np.random.default_rng(2)
    x = np.stack([values(300, seed) for seed in range(count)], axis=1)
    x[250] += 9.0
    x[random.random(x.shape) < 0.05] = np.nan
    given = random.random(x.shape) < 0.8
    single = [Detector() for _ in range(count)]
    batches = [make_batch(count) for _ in range(3)]
    seen = 0

    for point, (row, mask) in enumerate(zip(x, given, strict=True)):
        time = START + point * MINUTE
        expected = [
            detector.update(time, value) if there else (False, 0.0)
            for detector, value, there in zip(single, row, mask, strict=True)
        ]
        forms = (
            [time] * count,
            np.full(count, np.datetime64(time.replace(tzinfo=None))),
            np.full(count, time.timestamp()),
        )
        for batch, times in zip(batches, forms, strict=True):
            alarms, scores = batch.update(times, row, mask)
            assert list(zip(alarms.tolist(), scores.tolist(), strict=True)) == expected
        seen += sum(alarm for alarm, _ in expected)

    assert seen >= count / 2


def test_a_batch_without_a_mask_has_a_point_of_every_series_and_one_without_any_has_none():
    full, masked, empty = make_batch(3), make_batch(3), make_batch(3)

    for point in range(200):
        times, x = [START + point * MINUTE] * 3, [1.0 + point % 5, math.nan, 1e308]
        one, other = full.update(times, x), masked.update(times, x, [True] * 3)
        nothing = empty.update(times, x, [False] * 3)
        assert np.array_equal(one[0], other[0]) and np.array_equal(one[1], other[1])
        assert not nothing[0].any() and not nothing[1].any()

    assert [len(part) for part in make_batch(0).update([], [])] == [0, 0]
