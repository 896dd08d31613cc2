"""Series of any kind, made wrong: labels say where, and a score that knows them is perfect."""

import numpy as np
import pytest

from bench.eval import cadences
from bench.eval.cadences import OfCadence, add_figures, cadence_tasks, score_cadence
from bench.eval.spoilt_series import CADENCES, FEWEST, HEALTHY, MOST, SHAPES, spoil, spoilt_series
from bench.figures import Figures
from bench.healthy import KINDS

POINTS = 3_000


@pytest.fixture(scope="module")
def hourly():
    return spoilt_series(1, "1h", 1)


def test_there_are_series_of_every_kind_whose_points_are_a_step_apart(hourly):
    assert [one.kind for one in hourly] == list(KINDS)
    for one in hourly:
        assert one.values.shape == one.labels.shape == (CADENCES["1h"].points,)
        assert set(np.diff(one.time)) == {3_600.0}


def test_a_seed_gives_the_same_series_and_another_one_others(hourly):
    again, other = spoilt_series(1, "1h", 1), spoilt_series(2, "1h", 1)

    for one, same, different in zip(hourly, again, other, strict=True):
        np.testing.assert_array_equal(one.values, same.values)
        assert not np.array_equal(one.labels, different.labels)


@pytest.mark.parametrize("seed", range(30))
def test_what_is_labelled_is_changed_and_nothing_else(seed):
    random = np.random.default_rng(seed)
    healthy = 10.0 + random.normal(size=POINTS)

    values, labels = spoil(random, healthy, (2, 9))

    np.testing.assert_array_equal(values != healthy, labels)
    begins = np.flatnonzero(np.diff(labels.astype(int), prepend=0) == 1)
    ends = np.flatnonzero(np.diff(labels.astype(int), append=0) == -1) + 1
    assert FEWEST - 1 <= len(begins) <= MOST  # one that would be too near to another one is left out
    assert set((ends - begins).tolist()) <= {2, 9}
    assert not labels[: round(POINTS * HEALTHY)].any()
    assert all(begins[1:] - ends[:-1] >= 30)


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_is_wrong_by_more_than_noise(shape):
    random = np.random.default_rng(4)
    healthy = 10.0 + random.normal(size=60)

    changed = shape(random, healthy, float(healthy.std()))

    assert np.abs(changed - healthy).mean() > 0.8 * healthy.std()


def test_who_knows_the_labels_gets_everything_noise_little_and_the_shipped_score_more_than_that(monkeypatch):
    monkeypatch.setitem(CADENCES, "1h", CADENCES["1h"]._replace(points=1_500))
    labels = np.stack([one.labels for one in spoilt_series(1, "1h", 1)])
    noise = np.random.default_rng(6).random(labels.shape)
    rivals = {"oracle": lambda x: labels.astype(float), "noise": lambda x: noise}
    monkeypatch.setattr(cadences, "RIVALS", rivals)

    found = score_cadence(1, "1h", 1, lambda done, of: None)

    assert min(found.vus_pr["oracle"]) > 0.9
    assert np.mean(found.vus_pr["noise"]) < 0.25
    for kind in KINDS:
        assert found.of_kind(kind, "shipped") > found.of_kind(kind, "noise")
    assert np.mean(found.vus_pr["shipped"]) > 0.5


def test_there_is_a_task_per_cadence_with_fewer_series_when_it_has_to_be_quick():
    whole, quick = cadence_tasks(3), cadence_tasks(3, quick=True)

    assert [task.arguments[:2] for task in whole] == [(3, name) for name in CADENCES]
    assert all(one.arguments[2] > other.arguments[2] for one, other in zip(whole, quick, strict=True))


def test_figures_are_means_by_cadence_and_detector(capsys):
    add_figures(Figures(), [OfCadence("5min", ["a", "b"], {"shipped": [0.5, 0.7], "knn": [0.1, 0.3]})])

    assert capsys.readouterr().out.splitlines() == [
        "eval.vus_pr_5min 0.6 of 1, mean of 2 series of any kind",
        "eval.vus_pr_5min_knn 0.2 of 1, mean of 2 series of any kind",
    ]
