"""When something runs out: leaks are foreseen, saw-teeth, steps and plateaus are not, and nothing breaks it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from functions.core.forecast import exhaustion
from functions.core.forecast.exhaustion import HORIZON, Foreseen, update
from functions.core.forecast.level_history import BIN_S, LEVELS, States, new_levels
from telemetry.layout import Floats

DAY = 86_400 // BIN_S
START = 1_767_225_600.0
Shape = Callable[[Floats], Floats]


def run(
    levels: Floats, *, states: States | None = None, spread: float = 0.0, limit: float | Floats = 1.0
) -> list[Foreseen]:
    """Feeds levels (points, series) to series nothing is known of; a limit for all, or one for each."""
    states = new_levels(levels.shape[1]) if states is None else states
    limits = np.full(levels.shape[1], limit)
    return [update(states, START + BIN_S * i, row - spread, row, limits) for i, row in enumerate(levels)]


def told(verdicts: list[Foreseen]) -> list[int]:
    """Points at which an episode of the first series begins."""
    return [index for index, verdict in enumerate(verdicts) if verdict.begins[0]]


def one(shape: Shape, days: float) -> Floats:
    return shape(np.arange(int(days * DAY)) / DAY)[:, None]


def leak(hours: float, at_day: float = 3.0, start: float = 0.4) -> Shape:
    """Flat, then growing to 1 within so many hours."""
    return lambda day: start + (1 - start) * np.clip((day - at_day) * 24 / hours, 0.0, 1.0)


def saw(period_days: float, low: float, high: float) -> Shape:
    return lambda day: low + (high - low) * (day / period_days % 1.0)


LEAKS = (6.0, 12.0, 24.0, 48.0, 72.0)
"""Hours to exhaustion."""
HARMLESS: dict[str, Shape] = {
    "constant near the limit": lambda day: np.full_like(day, 0.97),
    "daily rotation": saw(1.0, 0.3, 0.9),
    "images collected every five days": saw(5.0, 0.5, 0.85),
    "garbage collection": saw(0.1, 0.4, 0.95),
    "step": lambda day: np.where(day < 4, 0.3, 0.8),
    "cache that fills": lambda day: 0.3 + 0.4 * (1 - np.exp(-np.maximum(day - 3, 0) * 2)),
    "day and night": lambda day: 0.4 + 0.3 * np.sin(2 * np.pi * day) ** 2,
    "slow growth that is no matter yet": lambda day: 0.3 + 0.01 * day,
    "weekend": lambda day: np.where((day % 7 < 5), 0.6, 0.3) + 0.1 * np.sin(2 * np.pi * day),
    "back after a restart": lambda day: np.where(day < 4, 0.8, 0.3 + np.minimum(day - 4, 1) * 0.5),
}


@pytest.fixture(scope="module")
def leaking() -> list[Foreseen]:
    """One series per leak, which all end with the same point."""
    days = 3 + max(LEAKS) / 24
    return run(np.concatenate([one(leak(hours, days - hours / 24), days) for hours in LEAKS], axis=1))


def test_a_leak_is_told_of_once_and_at_least_four_hours_ahead(leaking: list[Foreseen]) -> None:
    begins = np.array([verdict.begins for verdict in leaking])

    assert begins.sum(axis=0).tolist() == [1] * len(LEAKS)
    assert (begins.argmax(axis=0) <= len(leaking) - 4 * 3600 // BIN_S).all()


def test_the_time_of_exhaustion_is_right_for_linear_growth(leaking: list[Foreseen]) -> None:
    for index, verdict in enumerate(leaking[:-4]):
        for seconds in verdict.seconds[verdict.foreseen]:
            assert seconds == pytest.approx((len(leaking) - 1 - index) * BIN_S, rel=0.35, abs=900)


def test_confidence_grows_on_the_way(leaking: list[Foreseen]) -> None:
    confidence = np.array([verdict.confidence for verdict in leaking])

    for series, begin in enumerate(np.array([verdict.begins for verdict in leaking]).argmax(axis=0)):
        assert 0.8 <= confidence[begin, series] < confidence[-4, series] <= 0.99


def test_what_is_no_leak_is_not_told_of() -> None:
    levels = np.concatenate([one(shape, 15) for shape in HARMLESS.values()], axis=1)
    levels += np.random.default_rng(1).normal(0.0, 0.002, levels.shape)

    begins = np.array([verdict.begins for verdict in run(levels, spread=0.002)])

    first_of_their_kind = 5 * DAY // 2  # what a series does for the first time cannot be told from a leak
    told_of = begins[first_of_their_kind:].any(axis=0)
    assert [name for name, wrongly in zip(HARMLESS, told_of, strict=True) if wrongly] == []


def test_a_leak_below_a_saw_tooth_is_seen_through_it() -> None:
    hours = 36.0

    def shape(day: Floats) -> Floats:
        return saw(0.11, 0.2, 0.4)(day) + 0.6 * np.clip((day - 5) * 24 / hours, 0.0, 1.0)

    begins = told(run(one(shape, 5 + hours / 24)))

    assert len(begins) == 1
    assert begins[0] <= (5 + hours / 24) * DAY - 16


def test_growth_faster_than_ever_is_told_of_before_the_highest_level_of_the_week() -> None:
    def shape(day: Floats) -> Floats:
        return 0.4 + 0.5 * np.maximum(1 - np.abs(day - 3), 0) + 2.0 * np.maximum(day - 8, 0)

    levels = one(shape, 8.25)
    begins = told(run(levels))

    assert begins and levels[begins[0], 0] < 0.7


def batch_jobs(leaks_from: float, hours: float) -> Floats:
    """Memory of a node on which jobs come and go at random; a leak of so many hours lies below them."""
    random = np.random.default_rng(5)
    level = np.full(6 * DAY, 0.3) + 0.004 * random.random(6 * DAY)
    for start in np.flatnonzero(random.random(6 * DAY) < 0.12):
        level[start : start + int(random.integers(1, 4))] = 0.6
    point = np.arange(6 * DAY)
    return np.minimum(level + 0.65 * np.clip((point - leaks_from * DAY) / (4 * hours), 0.0, None), 1.0)[:, None]


def test_a_leak_below_jobs_that_come_and_go_is_told_of_four_hours_ahead() -> None:
    leaking = batch_jobs(4.0, 10.0)

    (begin,) = told(run(leaking, spread=0.002))

    assert 4 * DAY < begin <= 4 * DAY + 4 * 6
    assert leaking[4 * DAY : begin, 0].min() < leaking[: 4 * DAY].max()


def test_jobs_that_come_and_go_are_no_leak() -> None:
    assert told(run(batch_jobs(99.0, 10.0), spread=0.002)) == []


def test_a_morning_like_every_morning_is_no_leak_however_steady() -> None:
    morning = one(lambda day: 0.3 + 0.6 * np.clip((day % 1 - 0.3) / 0.25, 0, 1) * (day % 1 < 0.8), 6)

    assert told(run(morning)) == []


def test_a_second_leak_is_told_of_anew() -> None:
    def shape(day: Floats) -> Floats:
        return leak(24, 3.0)(day) * (day < 4) + leak(24, 12.0)(day) * (day >= 4)

    assert len(told(run(one(shape, 13)))) == 2


def test_a_leak_soon_after_the_start_is_told_of_once_enough_is_known() -> None:
    begins = told(run(one(leak(60, 0.0), 2.5)))

    assert begins and begins[0] >= DAY


def test_the_limit_decides() -> None:
    levels = np.repeat(one(leak(30, 3.0), 3.6), 2, axis=1)

    soon, late = run(levels, limit=np.array([0.8, 1.0]))[-1].seconds

    assert soon < late < HORIZON


def test_each_series_is_judged_as_if_it_were_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exhaustion, "_BLOCK", 3)
    rng = np.random.default_rng(2)
    shapes = [leak(20, 1.5), saw(1.0, 0.3, 0.8), leak(60, 1.5), lambda day: np.full_like(day, 0.5)]
    levels = np.concatenate([one(shape, 2.4) for shape in shapes], axis=1)
    levels += rng.normal(0, 0.003, levels.shape)
    levels[rng.random(levels.shape) < 0.1] = np.nan

    together = run(levels)
    alone = [run(levels[:, [index]]) for index in range(4)]

    for index in range(4):
        for a, b in zip(together, alone[index], strict=True):
            assert [field[index] for field in a] == pytest.approx([field[0] for field in b], nan_ok=True)


def test_nothing_looks_ahead() -> None:
    levels = one(leak(12), 3.4)
    changed = levels.copy()
    changed[3 * DAY + 20 :] = 0.1

    together = run(np.concatenate([levels, changed], axis=1))

    for verdict in together[: 3 * DAY + 20]:
        for before, after in verdict:
            np.testing.assert_array_equal(before, after)
    assert not np.array_equal(*np.array(together[-1]).T, equal_nan=True)


def test_a_gap_of_a_week_begins_anew_and_foresees_nothing_until_enough_is_known() -> None:
    states = new_levels(1)
    run(one(leak(48, 2.0), 3), states=states)

    limit = np.ones(1)
    later = [
        update(states, START + 12 * 86_400 + BIN_S * i, np.array([0.5 + 0.004 * i]), np.array([0.5 + 0.004 * i]), limit)
        for i in range(DAY)
    ]

    assert not any(verdict.foreseen[0] for verdict in later)


def test_alternating_missing_points_hide_no_leak() -> None:
    levels = one(leak(24), 4)
    levels[::2] = np.nan

    begins = told(run(levels))

    assert len(begins) == 1
    assert begins[0] <= len(levels) - 16


def test_points_that_come_twice_or_late_change_nothing() -> None:
    levels = one(leak(24), 3.8)
    states = new_levels(1)
    run(levels, states=states)
    before = states.copy()

    for back in (0, 1, 50):
        again = update(states, START + BIN_S * (len(levels) - 1 - back), np.array([0.9]), np.array([0.99]), np.ones(1))
        assert not again.foreseen[0]

    assert states.tobytes() == before.tobytes()


_NASTY = st.one_of(
    st.floats(0, 1.2),
    st.sampled_from([np.nan, np.inf, -np.inf, 1e308, -1e308, -0.5, 0.0, 1.0, 5e-324]),
)


@cache
def growing() -> States:
    """Of two series that leak."""
    states = new_levels(2)
    run(np.repeat(one(leak(30, 2.0), 2.5), 2, axis=1), states=states)
    return states


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(_NASTY, _NASTY, st.sampled_from([0, 1, 1, 1, 1, 3, 700, -5])), min_size=1, max_size=60))
def test_no_input_makes_an_exception_a_warning_or_a_number_out_of_range(points: list[tuple[float, float, int]]) -> None:
    states = growing().copy()
    time = START + 2.5 * 86_400

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for low, high, step in points:
            time += BIN_S * step
            found = update(states, time, np.array([low, 0.5]), np.array([high, low]), np.array([1.0, 0.95]))
            assert not np.isnan(found.seconds).any() and (found.seconds >= 0).all()
            assert ((found.confidence >= 0) & (found.confidence <= 1)).all()
            assert (np.isfinite(found.seconds) == found.foreseen).all()
            assert not np.isnan(found.base[found.foreseen]).any()
            assert not np.isnan(found.level[found.foreseen]).any()


def test_no_series_is_fine() -> None:
    found = update(new_levels(0), START, np.empty(0), np.empty(0), np.empty(0))

    assert found.foreseen.shape == (0,)


def test_a_series_takes_less_than_a_kilobyte() -> None:
    assert LEVELS.itemsize <= 1024
