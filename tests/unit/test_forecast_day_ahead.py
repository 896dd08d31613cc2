"""The next 24 hours: better than yesterday's curve, the band holds what it says, and no input breaks it."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from functions.core.forecast.day_ahead import DAY, HISTORY, DayAhead, day_ahead
from telemetry.layout import Floats


def pool(days: float, *, noise: float = 0.4, seed: int = 1) -> Floats:
    """Demand of ten nodes with a day and noise that lasts half an hour."""
    time = np.arange(int(days * DAY)) / DAY
    shocks = np.convolve(np.random.default_rng(seed).normal(size=len(time) + 5), np.full(6, 6**-0.5), "valid")
    return np.asarray(4 + 2 * np.sin(2 * np.pi * time) + noise * shocks)


def forecast(history: Floats) -> DayAhead:
    found = day_ahead(history)
    assert found is not None
    return found


def test_a_noisy_day_is_forecast_better_than_by_yesterday() -> None:
    y = pool(20)

    ratios = []
    for origin in range(14 * DAY, 19 * DAY, DAY // 2):
        came = y[origin : origin + DAY]
        ours = np.abs(forecast(y[:origin]).value - came).mean()
        ratios.append(ours / np.abs(y[origin - DAY : origin] - came).mean())
    assert np.mean(ratios) <= 0.85


def test_the_band_holds_about_what_it_says() -> None:
    y = pool(24)

    inside = []
    for origin in range(14 * DAY, 23 * DAY, DAY // 2):
        found = forecast(y[:origin])
        came = y[origin : origin + DAY]
        inside.append(((came >= found.lower) & (came <= found.upper)).mean())
    assert 0.74 <= np.mean(inside) <= 0.9


@pytest.mark.parametrize(("days", "hours"), [(1, 6), (3, 24)])
def test_a_level_that_changed_is_followed_first_for_hours_then_for_the_day(days: int, hours: int) -> None:
    y = pool(14, noise=0.1)
    y[-days * DAY :] += 3

    off = np.abs(forecast(y).value - (pool(15, noise=0.0)[-DAY:] + 3))
    assert off[: hours * 12].mean() < 1.0


def test_what_is_older_than_two_weeks_does_not_matter() -> None:
    y = pool(16)

    for a, b in zip(forecast(y), forecast(y[-HISTORY:]), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_constant_stays_with_a_band_of_nothing() -> None:
    found = forecast(np.full(5 * DAY, 2.5))

    for each in found:
        np.testing.assert_allclose(each, 2.5)


@pytest.mark.parametrize("known", [0, 10, DAY // 2 - 1])
def test_with_less_than_half_a_day_nothing_is_forecast(known: int) -> None:
    assert day_ahead(np.full(known, 1.0)) is None


@pytest.mark.parametrize("days", [0.5, 0.9, 1, 1.5, 2, 2.5, 3, 7])
def test_a_short_history_is_enough(days: float) -> None:
    found = forecast(pool(days))

    assert np.isfinite(np.array(found)).all()
    assert (found.lower < found.upper).all()


def test_a_gap_of_a_week_is_survived() -> None:
    y = pool(14)
    y[3 * DAY : 10 * DAY] = np.nan

    assert np.abs(forecast(y).value - pool(15, noise=0.0)[-DAY:]).mean() < 1.0


@settings(max_examples=40, deadline=None)
@given(
    arrays.arrays(np.float64, st.integers(DAY // 2, 3 * DAY), elements=st.floats(0, 100), fill=st.just(3.0)),
    st.lists(st.tuples(st.integers(0, 3 * DAY), st.sampled_from([np.nan, np.inf, -np.inf, 1e308, -5.0, 1e17]))),
)
def test_no_history_makes_an_exception_a_warning_or_no_number(y: Floats, spoilt: list[tuple[int, float]]) -> None:
    for place, value in spoilt:
        y[place % len(y)] = value

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = day_ahead(y)

    if found is not None:
        assert np.isfinite(np.array(found)).all()
        assert (found.lower <= found.value).all() and (found.value <= found.upper).all()
