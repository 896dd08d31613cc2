"""What the detectors say of shapes that operators know: seasons, shifts, restarts, gaps, hour changes, trends.

All series run beside each other in one batch, once for the whole module: they know nothing of each other.
"""

from typing import NamedTuple

import numpy as np
import pytest

from functions.core.detectors.series_state import SIDE_NAMES, new_states
from functions.core.detectors.streaming import INCIDENT, REST, THRESHOLD, WARM_UP, update

DAY, WEEK = 86_400.0, 604_800.0
MONDAY = 2_900 * WEEK + 4 * DAY
SERIES = 8
"""Of each shape, with noise of their own."""
STEP = 300.0
FACTORS = (1e-9, 1e-3, 1e6, 1e12)


class Shape(NamedTuple):
    x: np.ndarray  # (points, series)
    step: float = STEP
    time: np.ndarray | None = None  # of points that are not a step apart


class Judged(NamedTuple):
    evidence: np.ndarray
    alarm: np.ndarray
    score: np.ndarray


def points(days, step=STEP):
    return int(days * DAY / step)


def clock(count, step=STEP):
    """Hours of the day, days since Monday, (points, 1)."""
    seconds = step * np.arange(count)[:, None]
    return seconds % DAY / 3_600.0, seconds // DAY


def noise(count, seed, memory=0.85, size=0.4):
    random = np.random.default_rng(seed)
    found = random.normal(size=(count, SERIES))
    for point in range(1, count):
        found[point] = memory * found[point - 1] + np.sqrt(1 - memory**2) * found[point]
    return size * found


def humps(count, step=STEP, shift_hours=0.0):
    hour = (clock(count, step)[0] - shift_hours) % 24
    return np.exp(-0.5 * ((hour - 10) / 2) ** 2) + np.exp(-0.5 * ((hour - 15) / 2.5) ** 2)


def office_hours(days, seed=1, step=STEP, shift_hours=0.0):
    count = points(days, step)
    weekend = clock(count, step)[1] % 7 >= 5
    return 10 + 5 * humps(count, step, shift_hours) * np.where(weekend, 0.2, 1.0) + noise(count, seed)


def changed(x, start, length, by):
    """With `by` added from a point on."""
    x = x.copy()
    x[start : start + length] += by
    return x


def level(days, seed, mean=10.0, step=STEP):
    return mean + noise(points(days, step), seed)


def spikes(x, every):
    x = x.copy()
    x[::every] += 8.0
    return x


def resets(x, days):
    x = x.copy()
    for day in days:
        x[points(day) : points(day) + 3] = 0.0
    return x


def nightly(days, seed, extra_noon):
    hour, day = clock(points(days))
    x = level(days, seed) + 6.0 * ((hour >= 2) & (hour < 3))
    return x + 6.0 * ((hour >= 12) & (hour < 13) & (day == extra_noon))


def counter(days, step):
    random = np.random.default_rng(10)
    minute = np.arange(points(days, step))[:, None] + random.integers(0, 360, SERIES)
    x = np.cumsum(random.exponential(1.0, minute.shape) * (minute % 360 < 120), axis=0)
    restarted = np.maximum.accumulate(np.where(minute % 2_880 < 1, np.arange(len(x))[:, None], 0), axis=0)
    return x - x[restarted, np.arange(SERIES)]


def saw_tooth(days, seed):
    random = np.random.default_rng(seed)
    period = random.integers(150, 400, SERIES)
    place = (np.arange(points(days))[:, None] + random.integers(0, 400, SERIES)) % period
    return 10.0 * place / period + 0.2 * random.normal(size=(points(days), SERIES))


def bursts(days, seed):
    random = np.random.default_rng(seed)
    size = (points(days), SERIES)
    begin = (random.random(size) < 1 / 200) * random.exponential(5.0, size)
    return sum(np.roll(begin, later, axis=0) for later in range(5)) + 0.3 * np.abs(random.normal(size=size))


def counts(days, seed, mean, present=1.0, step=STEP):
    random = np.random.default_rng(seed)
    size = (points(days, step), SERIES)
    return np.where(random.random(size) < present, random.poisson(mean, size), 0).astype(np.float64)


def trend(slope):
    count = points(14)
    random = np.random.default_rng(11)
    return 100 + slope * np.arange(count)[:, None] + 0.1 * random.normal(size=(count, SERIES))


def rounding():
    x = np.full((points(6), SERIES), 1e6) + np.random.default_rng(12).choice([0.0, 0.0625], (points(6), SERIES))
    x[points(5)] += 0.3125
    return x


def irregular():
    random = np.random.default_rng(13)
    time = np.cumsum(random.choice([60.0, 290.0, 310.0, 900.0], points(14)))
    x = 10 + 5 * np.sin(time / DAY * 2 * np.pi)[:, None] + noise(len(time), 13)
    x[random.random(x.shape) < 0.05] = np.nan
    return Shape(changed(x, points(12), 12, 9.0), time=time)


def gap():
    x = office_hours(21)
    x[points(10) : points(12)] = np.nan
    return Shape(changed(x, points(18), 12, 8.0))


def made_shapes():
    """Series and what is done to them, by name."""
    bump = changed(office_hours(8), points(7), 10, 8.0)
    return {
        "first day": Shape(changed(level(2, 1), 100, 1, 1e6)),
        "ramp": Shape(changed(level(7, 3), points(5), 40, np.linspace(4, 40, 40)[:, None])),
        "shift up": Shape(changed(level(14, 4, 20), points(7), points(7), 6.0)),
        "shift down": Shape(changed(level(14, 4, 20), points(7), points(7), -6.0)),
        "every day": Shape(
            sum((changed(np.zeros((points(14), 1)), points(d), 12, 8.0) for d in range(6, 13)), level(14, 5))
        ),
        "hour-long": Shape(changed(level(8, 6), points(7), 36, 8.0)),
        "restless": Shape(changed(spikes(level(7, 22), 50), points(5), 45, 1.2 * noise(45, 23, 0.0, 1.0))),
        "two spikes": Shape(changed(changed(level(7, 14), points(5), 1, 2.0), points(5) + 30, 20, 25.0)),
        "comes back": Shape(changed(changed(level(16, 15), points(6), 20, 7.0), points(6) + REST + 100, 20, 7.0)),
        "comes back soon": Shape(changed(changed(level(9, 15), points(6), 20, 7.0), points(6) + REST // 2, 20, 7.0)),
        "week": Shape(office_hours(28)),
        "busy sunday": Shape(changed(office_hours(28), points(27), points(1), 4 * humps(points(1)))),
        "idle wednesday": Shape(changed(office_hours(28), points(23), points(1), -4 * humps(points(1)))),
        "clock change": Shape(np.concatenate([office_hours(14), office_hours(28, shift_hours=1.0)[points(14) :]])),
        "nightly": Shape(nightly(16, 8, 14)),
        "resets": Shape(resets(level(21, 9, 50), (7, 9, 11, 13, 15, 17, 19))),
        "counter": Shape(counter(5.5, 60.0), 60.0),
        "saw-tooth": Shape(changed(saw_tooth(21, 16), points(20), 20, 12.0)),
        "bursts": Shape(changed(bursts(21, 17), points(20), 60, 40.0)),
        "counts": Shape(changed(counts(21, 18, 5.0), points(20), 12, 25.0)),
        "sparse": Shape(changed(counts(21, 19, 3.0, 0.03), points(20), 12, 20.0)),
        "sparse, hourly": Shape(counts(100, 21, 4.0, 0.03, 3_600.0), 3_600.0),
        "constant": Shape(changed(np.full((points(3), SERIES), 7.0), points(2), 1, 3.0)),
        "trend up": Shape(trend(0.002)),
        "trend down": Shape(trend(-0.002)),
        "rounding": Shape(rounding()),
        "gap": gap(),
        "irregular": irregular(),
        "hourly": Shape(changed(office_hours(120, 20, 3_600.0), points(100.4, 3_600.0), 3, 8.0), 3_600.0),
        "bump": Shape(bump),
        "bump, in Kelvin": Shape(bump + 273.15),
        **{f"bump times {factor:g}": Shape(bump * factor) for factor in FACTORS},
    }


@pytest.fixture(scope="module")
def judged():
    """What the detectors said, by shape."""
    shapes = made_shapes()
    longest = max(len(shape.x) for shape in shapes.values())
    x = np.concatenate(
        [np.pad(one.x, ((0, longest - len(one.x)), (0, 0)), constant_values=np.nan) for one in shapes.values()], axis=1
    )
    time = np.empty_like(x)
    for place, shape in enumerate(shapes.values()):
        own = shape.step * np.arange(longest) if shape.time is None else np.resize(shape.time, longest)
        time[:, place * SERIES : (place + 1) * SERIES] = MONDAY + own[:, None]
    states = new_states(x.shape[1])
    found = [update(states, time[point], x[point]) for point in range(longest)]
    whole = [np.array([getattr(one, name) for one in found]) for name in Judged._fields]
    return {
        name: Judged(*(one[: len(shape.x), place * SERIES : (place + 1) * SERIES] for one in whole))
        for place, (name, shape) in enumerate(shapes.items())
    }


def test_nothing_is_said_before_the_warm_up_and_little_on_the_first_day(judged):
    _, alarm, score = judged["first day"]

    assert score[: WARM_UP - 1].max() == 0.0
    assert not alarm[:WARM_UP].any()
    assert score[WARM_UP : points(1)].mean() < 0.5 * score[points(1) :].mean() + 0.05


def test_a_spike_is_told_at_once_and_says_which_view_is_surprised():
    x = level(1.5, 2)
    x[-1] += 20.0
    states = new_states(SERIES)

    for point, values in enumerate(x):
        verdict = update(states, np.full(SERIES, MONDAY + STEP * point), values)

    assert verdict.alarm.all()
    assert (verdict.score > 0.7).all()
    assert (verdict.by_side[:, [SIDE_NAMES.index("value"), SIDE_NAMES.index("jump")]] > 0.9).all()
    assert (verdict.by_side[:, [SIDE_NAMES.index("low smooth 5"), SIDE_NAMES.index("low residual 5")]] == 0.0).all()


def test_an_incident_is_one_alarm_however_long_evidence_goes_on(judged):
    evidence, alarm, _ = judged["ramp"]

    during = slice(points(5), points(5) + 40 + INCIDENT)
    assert (evidence[during] > THRESHOLD).sum(axis=0).min() > 10
    assert (alarm[during].sum(axis=0) == 1).all()


@pytest.mark.parametrize("shape", ["shift up", "shift down"])
def test_a_level_shift_raises_one_alarm_and_becomes_normal(judged, shape):
    _, alarm, score = judged[shape]

    assert (alarm[points(7) : points(8)].sum(axis=0) == 1).mean() >= 0.8
    assert alarm[points(7) : points(7) + 12].any(axis=0).all()
    assert alarm[points(8) :].sum() <= 0.5 * SERIES
    assert score[points(7) : points(7) + 100].mean() > 0.6
    assert score[points(13) :].mean() < 0.25


def test_what_comes_every_day_is_told_once_and_less_strange_every_time(judged):
    _, alarm, score = judged["every day"]

    each = [score[points(day) : points(day) + 12].mean() for day in range(6, 13)]
    assert each[0] > 0.75
    assert each[-1] < 0.85 * each[0]
    assert np.all(np.diff(each) < 0)
    assert alarm[points(6) : points(6) + 12].any(axis=0).all()
    assert alarm[points(7) :].sum() <= 0.6 * SERIES


def test_an_anomaly_keeps_its_score_as_long_as_it_lasts_and_not_longer(judged):
    _, _, score = judged["hour-long"]

    assert np.percentile(score[points(7) : points(7) + 36], 10) > 0.7
    end = points(7) + 36
    assert score[end + 20 : end + 60].mean() < 0.4
    assert np.median(score[end + 60 :]) < 0.2


def test_restlessness_is_in_the_score_although_no_peak_of_it_is_new(judged):
    evidence, _, score = judged["restless"]

    begin = points(5)
    restless, calm = slice(begin + 20, begin + 45), slice(begin - 200, begin)
    assert np.median(evidence[restless]) == 0.0
    assert np.median(score[restless]) > 2.5 * np.median(score[calm])
    assert np.median(score[begin + 120 :]) < 0.2


def test_a_weak_alarm_does_not_hide_what_is_far_stronger(judged):
    evidence, alarm, _ = judged["two spikes"]

    weak = (evidence[points(5)] > THRESHOLD) & (evidence[points(5)] < 3.0)
    assert weak.sum() >= SERIES / 2
    assert alarm[points(5) + 30, weak].all()
    assert (alarm[points(5) + 31 : points(5) + 30 + INCIDENT].sum(axis=0) == 0).all()


def test_what_returns_after_a_long_rest_is_told_again_and_after_a_short_one_is_not(judged):
    late, soon = judged["comes back"].alarm, judged["comes back soon"].alarm

    for alarm in (late, soon):
        assert alarm[points(6) : points(6) + 12].any(axis=0).all()
    again = points(6) + REST + 100
    assert late[again : again + 20].any(axis=0).mean() >= 0.75
    again = points(6) + REST // 2
    assert soon[again : again + 20].any(axis=0).mean() <= 0.25


def test_weekly_habits_are_known_after_two_weeks(judged):
    _, alarm, score = judged["week"]

    assert alarm[: points(14)].sum() <= 2 * SERIES
    assert alarm[points(14) :].sum() <= SERIES  # in two weeks of all of them
    assert score[points(21) :].mean() < 0.25


def test_a_sunday_like_a_workday_and_a_workday_like_a_sunday_are_anomalies(judged):
    assert judged["busy sunday"].alarm[points(27) :].any(axis=0).mean() >= 0.75
    assert judged["idle wednesday"].alarm[points(23) : points(24)].any(axis=0).mean() >= 0.6
    assert judged["week"].alarm[points(27) :].any(axis=0).mean() <= 0.25


def test_a_nightly_job_is_normal_and_the_same_load_at_noon_is_not(judged):
    _, alarm, _ = judged["nightly"]

    assert alarm[points(14.5) : points(14.55)].any(axis=0).mean() >= 0.75
    assert alarm[points(8) : points(14)].sum() <= 0.75 * SERIES


def test_a_clock_change_is_no_flood_and_normal_within_a_week(judged):
    _, alarm, _ = judged["clock change"]

    assert alarm[points(14) : points(21)].sum() <= 1.5 * SERIES
    assert alarm[points(21) :].sum() <= 0.75 * SERIES


def test_a_reset_to_zero_is_seen_the_first_time_and_normal_when_it_keeps_returning(judged):
    _, alarm, _ = judged["resets"]

    assert alarm[points(7) : points(7) + 12].any(axis=0).mean() >= 0.8
    assert alarm[points(12) :].sum() <= 0.75 * SERIES


def test_a_counter_that_rests_and_restarts_is_seldom_news(judged):
    assert judged["counter"].alarm[points(2, 60.0) :].sum() <= 2.5 * SERIES


@pytest.mark.parametrize("shape", ["saw-tooth", "bursts", "counts", "sparse"])
def test_habits_that_are_no_seasons_are_normal_and_what_is_beyond_them_is_told(judged, shape):
    _, alarm, score = judged[shape]

    assert alarm[points(7) : points(20)].sum() / SERIES <= 2.0  # in thirteen days
    assert alarm[points(20) : points(20) + 20].any(axis=0).mean() >= 0.75
    during, before = score[points(20) : points(20) + 12], score[points(13) : points(20)]
    assert np.median(during) > np.percentile(before, 99)


def test_what_is_seldom_not_zero_is_strange_when_it_is_not_and_shortly_after(judged):
    _, alarm, score = judged["sparse, hourly"]

    later = slice(points(50, 3_600.0), None)
    assert alarm[later].sum() <= 1.5 * SERIES  # in seven weeks
    assert (score[later] > 0.5).mean() < 0.2


def test_a_spike_in_a_constant_is_told_and_nothing_else(judged):
    _, alarm, score = judged["constant"]

    assert alarm[points(2)].all()
    assert alarm.sum() == SERIES
    assert score[: points(2)].max() == 0.0
    assert score[points(2) + 80 :].max() < 0.3


@pytest.mark.parametrize("shape", ["trend up", "trend down"])
def test_a_steady_trend_is_no_anomaly(judged, shape):
    assert judged[shape].alarm[points(3) :].sum() <= SERIES


def test_noise_of_rounding_is_no_anomaly(judged):
    _, alarm, score = judged["rounding"]

    assert not alarm.any()
    assert score[points(5)].max() < 0.1


def test_after_a_gap_of_days_habits_are_still_known(judged):
    evidence, alarm, score = judged["gap"]

    assert not (alarm | (evidence > 0) | (score > 0))[points(10) : points(12)].any()
    assert alarm[points(12) : points(14)].sum() <= 0.5 * SERIES
    assert alarm[points(18) : points(18) + 12].any(axis=0).all()


def test_points_at_irregular_times_with_some_missing_are_no_anomaly_by_themselves(judged):
    _, alarm, _ = judged["irregular"]

    assert alarm[points(5) : points(12)].sum() <= 1.5 * SERIES
    assert alarm[points(12) : points(12) + 12].any(axis=0).all()


def test_hourly_points_are_as_good_as_frequent_ones(judged):
    _, alarm, _ = judged["hourly"]

    there = points(100.4, 3_600.0)
    assert alarm[points(60, 3_600.0) : there].sum() <= 2 * SERIES
    assert alarm[there : there + 4].any(axis=0).mean() >= 0.75


@pytest.mark.parametrize("factor", FACTORS)
def test_what_a_series_is_measured_in_changes_nothing(judged, factor):
    expected, found = judged["bump"], judged[f"bump times {factor:g}"]

    assert (found.alarm == expected.alarm).mean() > 0.9999
    for one, other in ((found.evidence, expected.evidence), (found.score, expected.score)):
        assert np.percentile(np.abs(one - other), 98) < 0.02  # what is near a limit can come down on its other side


def test_where_a_scale_has_its_zero_changes_little(judged):
    expected, found = judged["bump"], judged["bump, in Kelvin"]

    assert found.alarm[points(7) : points(7) + 10].any(axis=0).all()
    assert abs(int(found.alarm.sum()) - int(expected.alarm.sum())) <= 0.5 * SERIES
    assert np.median(found.score[points(7) : points(7) + 10]) > 0.7
