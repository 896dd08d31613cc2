"""Scores and anomalies: score before learning, learn once per window, tell an anomaly once, never say NaN."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.adapters.memory import MemoryDeadLetters, MemoryRowSink, MemoryStateStore
from functions.core.detector import ConsecutivePolicy, RobustBand
from functions.core.ingest import Ingest
from telemetry.envelope import encode
from telemetry.tables import FEATURES, NODE_ANOMALIES_TABLE, NODE_METRICS_TABLE, TABLES
from tests.builders import START, envelope, event
from tests.reckoning import rows_of

MINUTE = 60_000
QUIET = [0.2, 0.21, 0.19]


class Node:
    """A node that says one number a minute."""

    def __init__(self):
        self.sink = MemoryRowSink()
        self.ingest = Ingest(MemoryStateStore(), self.sink, MemoryDeadLetters(), RobustBand())
        self.seq = 0

    def live(self, values, minute=None):
        for value in values:
            self.seq += 1
            start = START + (self.seq if minute is None else minute) * MINUTE
            said = envelope(self.seq, start=start, metrics={"cpu": [value] * 3})
            self.ingest.run([event(encode(said), enqueued_ms=start + MINUTE)])

    def scores(self):
        return [row["AnomalyScore"] for row in rows_of(self.sink, NODE_METRICS_TABLE)]

    def anomalies(self):
        return rows_of(self.sink, NODE_ANOMALIES_TABLE)

    @property
    def history(self):
        return self.ingest.fleet.nodes["aks-test", "node-1"].history


@pytest.fixture
def node():
    return Node()


def test_nothing_is_unusual_before_thirty_windows_were_seen(node):
    node.live([0.2, 0.9] * 15)

    assert set(node.scores()) == {0.0}


def test_window_is_scored_by_what_was_learnt_before_it(node):
    node.live([*QUIET * 12, 1.0, 0.2])

    assert node.scores()[-1] > 0.8
    assert rows_of(node.sink, NODE_METRICS_TABLE)[-1]["AnomalyMetric"] == "CpuUtilization"


def test_window_within_the_usual_is_not_scored_high(node):
    node.live(QUIET * 20)

    assert max(node.scores()) < 0.2
    assert node.anomalies() == []


def test_anomaly_begins_once_with_the_third_window_in_a_row(node):
    node.live([*QUIET * 12, 1.0, 1.0, 1.0, 1.0, 1.0, 0.2])

    rows = node.anomalies()
    assert len(rows) == 1
    assert set(rows[0]) == {column.name for column in TABLES[NODE_ANOMALIES_TABLE]}
    assert (rows[0]["Metric"], rows[0]["Kind"], rows[0]["Value"]) == ("CpuUtilization", "band", 1.0)
    assert rows[0]["Upper"] < 1.0
    third = rows_of(node.sink, NODE_METRICS_TABLE)[36 + 2]
    assert rows[0]["WindowStart"] == third["WindowStart"]


def test_two_windows_are_no_anomaly(node):
    node.live([*QUIET * 12, 1.0, 1.0, *QUIET, 1.0, 1.0, *QUIET])

    assert node.anomalies() == []


def test_late_samples_change_the_row_but_teach_nothing_twice(node):
    node.live(QUIET * 12)
    node.live([0.2, 0.2])
    before = node.history.copy()

    node.live([0.9], minute=node.seq - 1)

    assert np.array_equal(node.history, before)
    assert rows_of(node.sink, NODE_METRICS_TABLE)[-1]["Revision"] == 6


def test_no_row_has_a_number_that_json_has_not(node):
    node.live([None, 0.2, None, 0.0, 1.0] * 12)

    for table in (NODE_METRICS_TABLE, NODE_ANOMALIES_TABLE):
        for row in node.sink.tables[table]:
            json.loads(row, parse_constant=lambda name: pytest.fail(f"{name} in a row"))
    assert np.isfinite(node.history).all()


numbers = st.one_of(st.just(float("nan")), st.just(0.0), st.floats(0, 2.0**60), st.floats(0, 1))


@given(st.lists(st.lists(numbers, min_size=3, max_size=3), min_size=1, max_size=80))
def test_scores_are_between_0_and_1_and_states_finite_whatever_comes(windows):
    band = RobustBand()
    state = np.zeros((1, band.planes, 3), np.float32)
    state[:, 2] = band.grace

    for window in windows:
        x = np.array([window])
        scores = band.score(state, x)
        assert ((scores >= 0) & (scores <= 1)).all()
        assert (scores[np.isnan(x)] == 0).all()
        seen = state[:, 2].copy()
        band.learn(state, x)
        assert np.isfinite(state).all()
        assert np.array_equal(state[:, 2], seen + ~np.isnan(x))
        assert np.isfinite(np.array(band.band(state))).all()


def test_scoring_changes_no_state():
    band = RobustBand()
    state = np.full((2, band.planes, len(FEATURES)), 40.0, np.float32)
    before = state.copy()

    band.score(state, np.full((2, len(FEATURES)), 99.0))

    assert np.array_equal(state, before)


def test_missing_value_keeps_the_state():
    band = RobustBand()
    state = np.full((1, band.planes, 2), 40.0, np.float32)
    before = state.copy()

    band.learn(state, np.full((1, 2), np.nan))

    assert np.array_equal(state, before)


@given(st.lists(st.booleans(), max_size=30))
def test_policy_begins_an_anomaly_at_the_third_of_every_run(high):
    policy = ConsecutivePolicy()
    runs = np.zeros((1, 1))
    begins = []
    for one in high:
        runs, begin = policy.decide(runs, np.array([[0.9 if one else 0.1]]))
        begins.append(bool(begin[0, 0]))

    for index, begin in enumerate(begins):
        third = index >= 2 and all(high[index - 2 : index + 1]) and (index == 2 or not high[index - 3])
        assert begin == third
