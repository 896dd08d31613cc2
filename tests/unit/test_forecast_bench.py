"""The measuring of forecasts: leads, false alarms, errors, and levels that come out the same again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.forecast.day_ahead import labelled, measured
from bench.forecast.exhaustion import WAYS, tally
from bench.forecast.figures import forecast_figures
from bench.forecast.hard_series import KINDS, hard
from bench.forecast.leaks import LEAKS, Leak, Levels, simulated

DAY = 96


def levels(*leaks: Leak, points: int = 7 * DAY) -> Levels:
    flat = np.full((points, 2), 0.5)
    return Levels(flat, flat, np.ones(2), ("a", "b"), (0, 1), list(leaks))


def test_a_leak_counts_as_foreseen_from_four_hours_ahead_on() -> None:
    foreseen = np.zeros((7 * DAY, 2), np.bool_)
    foreseen[84:101, 0] = True
    foreseen[285:301, 1] = True

    found = tally(levels(Leak("x", 0, 50, 100, 100), Leak("x", 1, 250, 300, 300)), foreseen)

    assert found.leads["x"] == [(12.5, 4.0), (12.5, 3.75)]
    assert found.recall == 0.5
    assert sum(found.false_alarms.values()) == 0


def test_false_alarms_are_counted_by_episode_and_not_while_something_leaks() -> None:
    foreseen = np.zeros((7 * DAY, 2), np.bool_)
    foreseen[[10, 12, 60], 0] = True  # two episodes
    foreseen[[100, 210], 1] = True  # within the leak, and soon after it

    found = tally(levels(Leak("x", 1, 90, 150, 200)), foreseen)

    assert found.false_alarms == {"a": 2, "b": 0}
    assert found.node_weeks == pytest.approx(2.0)


def test_a_leak_that_was_never_told_of_is_not_foreseen() -> None:
    found = tally(levels(Leak("x", 0, 50, 100, 100)), np.zeros((7 * DAY, 2), np.bool_))

    assert found.leads["x"] == [(12.5, -1.0)]


def test_simulated_leaks_end_where_the_level_is_at_its_limit() -> None:
    found = simulated(10, 10, seed=4)

    assert len(found.leaks) == 6
    assert {leak.kind for leak in found.leaks} <= set(LEAKS)
    for leak in found.leaks:
        before, after = found.high[leak.begin - 4, leak.series], found.high[leak.begin : leak.end + 1, leak.series]
        assert after.max() > before + 0.2
        assert leak.begin < leak.end <= leak.over
    again = simulated(10, 10, seed=4)
    np.testing.assert_array_equal(found.high, again.high)


def test_hard_series_leak_every_second_time() -> None:
    found = hard(2, 14, seed=1)

    assert len(found.leaks) == len(KINDS)
    assert found.high.shape == (14 * DAY, 2 * len(KINDS))
    assert all(found.high[leak.end, leak.series] >= 0.99 for leak in found.leaks if leak.end < leak.over)


def test_common_ways_see_what_they_look_for() -> None:
    level = np.linspace(0.2, 1.0, DAY)[:, None]
    one = Levels(level, level, np.ones(1), ("a",), (0,), [])

    assert WAYS["static_85"](one)[:, 0].argmax() == np.flatnonzero(level[:, 0] >= 0.85)[0]
    assert WAYS["linear_6h"](one)[:, 0].argmax() == pytest.approx(DAY - 1 - 16, abs=1)


def test_a_forecast_of_noise_about_a_level_beats_yesterday_by_the_root_of_two() -> None:
    y = np.random.default_rng(1).normal(5.0, 1.0, 10 * 288)

    found = measured(y)

    assert found is not None
    assert found.mase_ratio == pytest.approx(0.5**0.5, abs=0.04)


def test_a_series_that_repeats_itself_exactly_is_left_out() -> None:
    assert measured(np.tile(np.arange(288.0), 10)) is None


def test_labelled_series_are_put_on_a_grid_with_what_is_missing(tmp_path: Path) -> None:
    stamps = [f"2026-01-01 00:{minute:02}:00,{minute}" for minute in (0, 5, 10, 20, 25, 30, 35)]
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "one.csv").write_text("\n".join(["timestamp,value", *stamps]))

    found = labelled(tmp_path)

    np.testing.assert_array_equal(found["x/one.csv"], [0, 5, 10, np.nan, 20, 25, 30, 35])


def test_figures_of_an_evaluation_are_all_there_and_within_their_ranges() -> None:
    found = forecast_figures(3, nodes=10, days=11, quick=True)

    assert 0.0 <= found["eval.exhaustion_recall_4h"] <= 1.0
    assert found["eval.exhaustion_leaks"] + found["eval.exhaustion_leaks_below_4h"] == 6
    assert found["eval.exhaustion_false_alarms_per_node_week"] >= 0.0
    assert 0.0 < found["eval.forecast_mase_ratio"] <= found["eval.forecast_worst_mase_ratio"]
    assert 0.0 <= found["eval.forecast_coverage"] <= 1.0


def test_too_few_days_for_leaks_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 11 days are needed, got 5"):
        forecast_figures(1, nodes=10, days=5)
