"""NAB's score against cases worked out by hand."""

import math

import numpy as np
import pytest

from bench.eval.nab_score import LOW_FP, STANDARD, probation, score, tally

ROWS = 1000
WINDOWS = ((400, 499), (700, 719))


def alarms(*rows, length=ROWS):
    flags = np.zeros(length, np.bool_)
    flags[list(rows)] = True
    return flags


def total(flags, windows=WINDOWS, cost=STANDARD):
    return score([tally(flags, windows)], cost)


def value(position):
    """2 * sigmoid(-5 position) - 1, as the benchmark's paper gives it."""
    return 2 / (1 + math.exp(5 * position)) - 1


def test_an_oracle_that_fires_at_each_left_edge_gets_100():
    assert total(alarms(400, 700)) == pytest.approx(100.0)


def test_a_detector_that_never_fires_gets_0():
    assert total(alarms()) == 0.0


def test_an_alarm_in_the_middle_of_a_window_earns_what_the_curve_gives():
    # row 450 of 400-499: (450 - 499 - 1) / 100 = -0.5; the other window is missed
    earned = value(-0.5) / value(-1.0) - 1.0

    assert total(alarms(450)) == pytest.approx(100 * (earned + 2) / 4)


def test_only_the_earliest_alarm_of_a_window_counts_and_later_ones_cost_nothing():
    assert total(alarms(400, 401, 450, 499, 700, 719)) == pytest.approx(100.0)


def test_an_alarm_at_the_right_edge_earns_hardly_anything_but_the_window_is_not_missed():
    found = tally(alarms(499), WINDOWS[:1])

    assert found.detected == (True,)
    assert found.earned == pytest.approx(value(-0.01) / value(-1.0))
    assert 0.02 < found.earned < 0.03


def test_a_false_alarm_before_any_window_costs_the_whole_of_it():
    assert total(alarms(300, 400, 700)) == pytest.approx(100 * (2 - 0.11 + 2) / 4)
    assert total(alarms(300, 400, 700), cost=LOW_FP) == pytest.approx(100 * (2 - 0.22 + 2) / 4)


def test_a_false_alarm_just_after_a_window_costs_less_than_one_far_behind():
    # 10 rows behind a window of 100: position 10 / 99
    just_after, far_behind = tally(alarms(509), WINDOWS[:1]), tally(alarms(900), WINDOWS[:1])

    assert just_after.spoilt == pytest.approx(-value(10 / 99))
    assert just_after.spoilt < 0.3
    assert far_behind.spoilt == 1.0


def test_what_is_three_widths_behind_a_window_costs_the_whole():
    # the second window is 20 wide: 700 + 19 + 3 * 19 = 776
    assert tally(alarms(775), WINDOWS).spoilt < 1.0
    assert tally(alarms(776), WINDOWS).spoilt == 1.0


def test_a_false_alarm_is_measured_from_the_window_before_it_not_from_the_nearest():
    assert tally(alarms(699), WINDOWS).spoilt == pytest.approx(-value(200 / 99))


def test_alarms_in_probation_neither_earn_nor_cost():
    assert probation(ROWS) == 150
    assert tally(alarms(0, 10, 149), WINDOWS) == tally(alarms(), WINDOWS)
    assert tally(alarms(150), WINDOWS).false_alarms == 1


def test_probation_is_750_rows_at_most():
    assert probation(4_032) == 604
    assert probation(100_000) == 750


def test_a_window_wholly_in_probation_is_not_scored_and_one_that_reaches_out_of_it_is():
    assert tally(alarms(120), ((100, 140),)).detected == ()
    assert tally(alarms(120), ((100, 150),)).detected == (False,)
    assert tally(alarms(150), ((100, 150),)).detected == (True,)


def test_files_without_windows_only_cost():
    quiet = tally(alarms(), ())
    noisy = tally(alarms(500, 600), ())
    found = tally(alarms(400, 700), WINDOWS)

    assert score([found, quiet], STANDARD) == pytest.approx(100.0)
    assert score([found, noisy], STANDARD) == pytest.approx(100 * (2 - 0.22 + 2) / 4)


def test_an_alarm_at_every_point_scores_far_below_nothing():
    assert total(np.ones(ROWS, np.bool_)) < -1000


def test_a_score_of_no_windows_at_all_is_refused():
    with pytest.raises(ValueError, match="no file has a window"):
        score([tally(alarms(), ())], STANDARD)


def test_a_window_of_one_row_is_scored():
    assert total(alarms(400), ((400, 400),)) == pytest.approx(100.0)
    assert 0 < tally(alarms(401), ((400, 400),)).spoilt <= 1.0
