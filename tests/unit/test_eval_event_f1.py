"""F1 over events, counted by hand."""

import numpy as np
import pytest

from bench.eval.event_f1 import GRACE, SLOT, Events, best_events, crossings, events, found_by_turn, together

POINTS = 10 * SLOT


def flags(*rows):
    found = np.zeros(POINTS, np.bool_)
    found[list(rows)] = True
    return found


LABELS = flags(*range(130, 170), *range(500, 510))
"""Two anomalies: in slot 2, and in slot 8."""


def test_an_anomaly_is_found_by_one_alarm_however_long_it_is():
    assert events(flags(131), LABELS)[:3] == (1, 1, 0)
    assert events(flags(131, 140, 150, 505), LABELS)[:3] == (2, 0, 0)


def test_it_is_told_which_of_the_anomalies_were_found():
    assert found_by_turn(flags(505), LABELS) == [False, True]
    assert found_by_turn(flags(130, 169 + GRACE), LABELS) == [True, False]


def test_alarms_shortly_after_an_anomaly_are_about_it_and_later_ones_are_not():
    assert events(flags(169 + GRACE), LABELS)[:3] == (1, 1, 0)
    assert events(flags(170 + GRACE), LABELS)[:3] == (0, 2, 1)


def test_false_alarms_count_once_per_slot_of_time():
    assert events(flags(0, 1, SLOT - 1), LABELS).false_slots == 1
    assert events(flags(SLOT - 1, SLOT), LABELS).false_slots == 2
    assert events(flags(128, 129), LABELS).false_slots == 1  # beside an anomaly, in its slot


def test_slots_are_counted_in_which_there_was_nothing_to_find():
    assert events(flags(), LABELS).slots == 8


def test_f1_is_of_events_and_false_slots():
    assert Events(3, 1, 2, 100).f1 == pytest.approx(2 * 3 / (2 * 3 + 1 + 2))
    assert Events(0, 4, 0, 100).f1 == 0.0
    assert Events(4, 0, 0, 100).f1 == 1.0


def test_alarming_everywhere_is_no_way_to_a_good_score():
    assert events(np.ones(POINTS, np.bool_), LABELS).f1 < 0.4


def test_counts_of_series_are_added():
    assert together([Events(1, 2, 3, 4), Events(10, 20, 30, 40)]) == Events(11, 22, 33, 44)


def test_the_best_threshold_is_found_over_all_series_together():
    scores = [np.where(LABELS, 2.0, 0.1), np.where(LABELS, 2.0, 0.1)]
    scores[0][:20] = 1.0

    threshold, found = best_events(scores, [LABELS, LABELS])

    assert 1.0 <= threshold < 2.0
    assert found[:3] == (4, 0, 0)


def test_an_alarm_is_where_a_score_rises_above_the_threshold():
    assert crossings(np.array([2.0, 2.0, 0.0, 1.0, 3.0, 3.0]), 1.0).tolist() == [True, False, False, False, True, False]
