"""A node that stays unlike its pool is one incident; what is short, shared by the pool, or old news is none."""

from functools import cache

import numpy as np
import orjson
import pytest

from functions.core.fleet_model.outliers import Course, Outliers, Scored, course_of, ended
from functions.core.fleet_model.training import fit, split
from functions.core.node import new_node
from functions.core.policy.incidents import Phase
from functions.core.policy.maintenance import MaintenanceWindow
from functions.core.rows import outlier_row
from telemetry.tables import FEATURES
from tests.fleet_rows import MEMORY, POOL, START, fleet_rows

NODES = 8
LATER = START + 8 * 1440


@cache
def trained(hours=7 * 24):
    """Not made while tests are collected: training takes a second's imports."""
    return fit(split(fleet_rows(NODES, hours=hours)), "m")


@cache
def later_rows():
    return fleet_rows(NODES, hours=30, step=1, start=LATER).features.reshape(-1, NODES, len(FEATURES))


class Life:
    """The nodes of a pool, judged minute by minute."""

    def __init__(self, model=None, pool=POOL[1]):
        self.outliers, self.model, self.pool = Outliers(), model or trained(), pool
        self.courses = [Course() for _ in range(NODES)]
        self.minute = LATER
        self.rows = later_rows()
        self.told = []
        """(node, minute since LATER, told)"""

    def windows(self, nodes=range(NODES)):
        return [Scored(("c", f"n{node}"), self.pool, self.minute, self.courses[node]) for node in nodes]

    def live(self, minutes, ill=(), factor=3.0, maintenance=()):
        for _ in range(minutes):
            features = self.rows[self.minute - LATER].copy()
            features[list(ill), MEMORY] *= factor
            verdicts = self.outliers.judge(self.model, self.windows(), features, maintenance)
            self.told += [
                (node, self.minute - LATER, one.told) for node, one in enumerate(verdicts) if one.told is not None
            ]
            self.minute += 1
        return verdicts

    def phases(self):
        return [(node, told.phase) for node, _, told in self.told]


@pytest.mark.parametrize("days", [5, 6, 6.4])
def test_model_that_does_not_know_a_whole_week_scores_and_tells_nothing(days):
    life = Life(trained(int(24 * days - 1)))
    verdicts = life.live(60, ill=[2])

    assert verdicts[2].score > 0.999
    assert life.told == []


def test_node_that_stays_unlike_its_pool_is_told_once_and_ended_once():
    life = Life()
    life.live(20)
    life.live(60, ill=[2])
    life.live(40)

    assert life.phases() == [(2, Phase.BEGIN), (2, Phase.END)]
    (_, at, begin), (_, _, end) = life.told
    assert 29 <= at <= 32
    assert abs(begin.since - (LATER + 20)) <= 1
    assert begin.id == end.id
    assert begin.contributions[0].feature == "MemoryUtilization"
    assert end.lasted == pytest.approx(60, abs=3)


def test_scores_are_high_while_it_lasts_and_there_is_one_for_every_node():
    verdicts = Life().live(1, ill=[2])

    assert verdicts[2].score >= 0.999
    assert all(0 <= one.score <= 1 for one in verdicts)


def test_short_oddity_is_not_told():
    life = Life()
    life.live(8, ill=[2])
    life.live(30)

    assert life.told == []


def test_what_a_third_of_the_pool_does_is_not_told_of_its_nodes():
    life = Life()
    life.live(60, ill=[1, 2, 5])

    assert life.told == []


def test_what_does_not_end_is_told_to_end_after_a_day_and_not_again():
    life = Life()
    life.live(26 * 60, ill=[2])

    assert life.phases() == [(2, Phase.BEGIN), (2, Phase.END)]
    assert life.told[1][2].lasted == 24 * 60


def test_in_maintenance_it_is_recorded_as_suppressed():
    life = Life()
    planned = MaintenanceWindow("c", LATER * 60_000, (LATER + 600) * 60_000)
    life.live(30, ill=[2], maintenance=[planned])

    assert [told.suppressed for _, _, told in life.told] == [True]


def test_without_a_model_there_is_no_score_and_an_open_incident_ends():
    life = Life()
    life.live(20, ill=[2])
    life.model = None
    verdicts = life.live(20, ill=[2])

    assert [one.score for one in verdicts] == [None] * NODES
    assert life.phases() == [(2, Phase.BEGIN), (2, Phase.END)]


def test_pool_the_model_does_not_know_has_no_score():
    life = Life(pool="new")

    assert [one.score for one in life.live(30, ill=[2])] == [None] * NODES
    assert life.told == []


def test_late_window_is_scored_and_decides_nothing():
    life = Life()
    life.live(20)
    before = [course.to_document() for course in life.courses]
    life.minute -= 10
    verdicts = life.outliers.judge(life.model, life.windows(), 5 * life.rows[3])

    assert all(one.score is not None and one.told is None for one in verdicts)
    assert [course.to_document() for course in life.courses] == before


def test_several_windows_of_a_node_in_one_batch_count_in_their_order():
    life, course = Life(), Course()
    features = np.stack([life.rows[minute][2] for minute in range(12)])
    features[:, MEMORY] *= 3.0
    windows = [Scored(("c", "n2"), POOL[1], LATER + minute, course) for minute in range(12)]

    verdicts = life.outliers.judge(life.model, windows[::-1], features[::-1])

    begun = [one for one in verdicts if one.told is not None]
    assert len(begun) == 1
    assert course.since == LATER


def test_silence_ends_persistence():
    life = Life()
    life.live(9, ill=[2])
    life.minute += 60
    life.live(5, ill=[2])

    assert life.told == []


def test_course_comes_back_from_its_document():
    course = Course(LATER, 0b1011, 3, LATER - 5, True)

    assert course_of(orjson.loads(orjson.dumps(course.to_document()))) == course
    assert course_of(None) == Course()


@pytest.mark.parametrize("document", [[1, 2], "text", [1, 2, 3, 4, None], 7])
def test_nonsense_is_no_course(document):
    with pytest.raises((ValueError, TypeError)):
        course_of(document)


def test_row_says_what_is_unlike_and_in_which_band_the_pool_is():
    life = Life()
    life.live(30, ill=[2])
    node = new_node(("c", "n2"))
    node.resource = {"pool": "user"}

    row = orjson.loads(outlier_row(node, LATER + 12, 6, 1.0, life.told[0][2]))

    assert (row["Kind"], row["State"], row["Severity"]) == ("outlier", "begin", "Informational")
    assert row["Metric"] == "MemoryUtilization"
    assert row["Lower"] < row["Upper"] < row["Value"]
    assert row["Explanation"].startswith("unlike its pool: MemoryUtilization ")
    assert row["Metrics"][0]["Strength"] > 1


def test_end_is_told_in_words():
    node, course = new_node(("c", "n2")), Course(LATER, since=LATER - 30)

    row = orjson.loads(outlier_row(node, LATER, 6, None, ended(node.key, course, 31)))

    assert row["Explanation"] == "no longer unlike its pool, after 31 min"
    assert (row["Metric"], row["Value"], row["Metrics"], row["Score"]) == ("", None, [], None)
    assert course.since == -1
