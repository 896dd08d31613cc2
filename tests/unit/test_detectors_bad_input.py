"""Whatever comes in: no exception, no score that is no number, and ordinary anomalies are seen again afterwards."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from functions.core.detectors.band import band
from functions.core.detectors.series_state import SERIES, SIDES, new_states
from functions.core.detectors.streaming import LIMIT, update

START = 1.7e9
VALUES = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True),
    st.floats(-100, 100),
    st.sampled_from([0.0, 1.0, np.nan, np.inf, -np.inf, 1e308, -1e308, LIMIT, -LIMIT, 1e-308, 1e17, -1e17]),
)
TIMES = st.one_of(st.floats(allow_nan=True, allow_infinity=True), st.floats(1.7e9, 1.8e9), st.floats(-1e12, 1e12))


def assert_sound(verdict, states, x):
    count = len(x)
    assert verdict.score.shape == verdict.evidence.shape == verdict.alarm.shape == (count,)
    assert verdict.by_side.shape == (count, SIDES)
    assert np.all((verdict.score >= 0) & (verdict.score <= 1))
    assert np.all((verdict.evidence >= 0) & (verdict.evidence <= SIDES))
    assert np.allclose(verdict.by_side.sum(axis=1), verdict.evidence)
    assert not verdict.alarm[~np.isfinite(x)].any()
    assert not verdict.score[~np.isfinite(x)].any()


def run(values, times=None, step=60.0):
    """All verdicts on one series: (score, evidence, alarm) per point."""
    states, found = new_states(1), []
    for point, value in enumerate(values):
        x = np.array([value], dtype=np.float64)
        time = START + step * point if times is None else times[point]
        verdict = update(states, np.array([time]), x)
        assert_sound(verdict, states, x)
        found.append((verdict.score[0], verdict.evidence[0], bool(verdict.alarm[0])))
    score, evidence, alarm = (np.array(one) for one in zip(*found, strict=True))
    return score, evidence, alarm, states


def run_together(x, times=None, step=60.0):
    """The verdict on every point (a row) of several series at once, each at a time of its own if they are given."""
    states = new_states(x.shape[1])
    for point, row in enumerate(x):
        verdict = update(states, np.full(len(row), START + step * point) if times is None else times[point], row)
        assert_sound(verdict, states, row)
        yield verdict


@pytest.fixture(scope="module")
def learnt():
    """Two series that were seen for days."""
    states, random = new_states(2), np.random.default_rng(0)
    for point in range(500):
        update(states, np.full(2, START + 600.0 * point), random.normal(size=2))
    return states


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(TIMES, VALUES, VALUES), min_size=1, max_size=60), st.booleans())
def test_no_times_and_no_values_raise_or_give_a_score_that_is_no_number(learnt, points, learnt_before):
    states = learnt.copy() if learnt_before else new_states(2)

    for time, one, other in points:
        x = np.array([one, other])
        assert_sound(update(states, np.full(2, time), x), states, x)
        if np.isfinite(time):
            ends = band(states, np.full(2, time))
            assert not np.isnan(ends.lower).any() and not np.isnan(ends.upper).any()
            assert np.all(ends.lower <= ends.upper)


PATTERNS = st.tuples(st.lists(VALUES, min_size=1, max_size=8), st.integers(1, 90))


@settings(max_examples=5, deadline=None)
@given(st.lists(PATTERNS, min_size=5, max_size=5))
def test_patterns_that_repeat_for_long_raise_nothing(patterns):
    x = np.array([np.resize(np.repeat(pattern, stay), 900) for pattern, stay in patterns]).T

    for _ in run_together(x, step=300.0):
        pass  # what is asserted of every verdict


def test_constant_series_have_no_score_and_no_alarm():
    values = [0.0, 1.0, -3.7, 0.1, 1e-300, 1e15, LIMIT]

    for verdict in run_together(np.tile(values, (2_500, 1))):
        assert verdict.score.max() == verdict.evidence.max() == 0.0
        assert not verdict.alarm.any()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e308, -1e308])
def test_series_without_a_measurement_learn_nothing(value):
    score, _, alarm, states = run([value] * 500)

    fresh = new_states(1)
    states["block_points"], states["calm"] = fresh["block_points"], fresh["calm"]
    assert states.tobytes() == fresh.tobytes()
    assert score.max() == 0.0 and not alarm.any()


def test_every_other_value_missing_is_as_good_as_half_the_points():
    random = np.random.default_rng(3)
    values = random.normal(size=4_000)
    values[1::2] = np.nan
    values[3_000:3_040:2] += 12.0

    _, _, alarm, _ = run(values)

    assert alarm[3_000:3_010].any()
    assert alarm.sum() <= 4


GLITCHES = [1e308, -1e308, np.inf, 1e17, 1e12, 1e6, 1_000.0]


def test_100_points_after_a_glitch_ordinary_anomalies_are_seen_again():
    series, at = 16, 3_000
    random = np.random.default_rng(7)
    x = np.tile(10.0 + random.normal(size=(at + 130, series)), len(GLITCHES))
    x[at] = np.repeat(GLITCHES, series)
    x[at + 101 : at + 121] += 10.0
    alarms = []

    states = new_states(x.shape[1])
    for point, values in enumerate(x):
        alarms.append(update(states, np.full(len(values), START + 60.0 * point), values).alarm)

    told = alarms[at].reshape(len(GLITCHES), series).all(axis=1)
    seen = np.any(alarms[at + 101 : at + 121], axis=0).reshape(len(GLITCHES), series).all(axis=1)
    assert dict(zip(GLITCHES, seen.tolist(), strict=True)) == dict.fromkeys(GLITCHES, True)
    assert told.tolist() == [abs(glitch) <= LIMIT for glitch in GLITCHES]


def test_time_that_goes_backwards_raises_nothing_and_ages_no_series():
    random = np.random.default_rng(2)
    values = random.normal(size=1_500)

    _, _, alarm, states = run(values, times=START - 60.0 * np.arange(1_500))

    assert states["now"][0, 14] == 0.0
    assert not alarm.any()


def test_times_that_stand_still_or_jump_to_and_fro_raise_no_alarm():
    random = np.random.default_rng(2)
    values = random.normal(size=3_000)
    still = np.full(3_000, START)
    fro = START + 60.0 * np.arange(3_000) - 600.0 * (np.arange(3_000) % 2)

    verdicts = run_together(np.stack([values, values], axis=1), times=np.stack([still, fro], axis=1))
    alarms = np.array([verdict.alarm for verdict in verdicts])

    assert not alarms[:, 0].any()
    assert alarms[:, 1].sum() <= 3


def test_a_gap_of_a_week_is_no_anomaly_and_what_was_learnt_before_counts_after_it():
    random = np.random.default_rng(4)
    times = START + 600.0 * np.arange(4_000)
    values = 10.0 + 3.0 * np.sin(times / 86_400.0 * 2 * np.pi) + 0.3 * random.normal(size=4_000)
    times[3_000:] += 7 * 86_400.0
    values[3_500:3_512] += 6.0

    _, _, alarm, _ = run(values, times=times)

    assert not alarm[3_000:3_250].any()
    assert alarm[3_500:3_506].any()


def test_a_series_that_is_missing_in_a_batch_does_not_change_the_others():
    random = np.random.default_rng(5)
    x = random.normal(size=(1_000, 3))
    alone, together = new_states(2), new_states(3)
    holes = random.random(1_000) < 0.5

    for point in range(1_000):
        time = START + 60.0 * point
        row = x[point].copy()
        row[1] = np.nan if holes[point] else row[1]
        found = update(together, np.full(3, time), row)
        expected = update(alone, np.full(2, time), x[point, [0, 2]])
        assert np.array_equal(found.score[[0, 2]], expected.score)
        assert np.array_equal(found.alarm[[0, 2]], expected.alarm)

    assert together[[0, 2]].tobytes() == alone.tobytes()


def test_states_hold_no_number_that_is_none_after_the_worst_values():
    random = np.random.default_rng(6)
    values = random.choice([1e18, -1e18, 1e-300, 0.0, np.nan, 1e308, 5.0], size=3_000)

    _, _, _, states = run(values, step=300.0)

    assert not np.isnan(states["now"]).any()
    assert not np.isinf(states["now"][:, 42:]).any()
    assert states.dtype == SERIES
