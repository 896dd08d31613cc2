"""The rivals are what they are called, and none of them looks ahead."""

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

from bench.eval.rivals import DIMENSION, HISTORY, NEIGHBOUR, RIVALS, ewma_z, knn, rolling_mad

POINTS = 1_300


def noise(seed=1):
    return np.random.default_rng(seed).normal(10.0, 1.0, (2, POINTS))


@pytest.mark.parametrize("name", RIVALS)
def test_a_jump_stands_out(name):
    series = noise()
    series[0, 1_000:1_010] += 15.0

    scores = RIVALS[name](series)

    assert scores[0, 1_000] > 2 * np.delete(scores[0], np.s_[1_000:1_060]).max()
    assert scores.shape == series.shape


@pytest.mark.parametrize("name", RIVALS)
def test_no_score_depends_on_what_comes_later(name):
    series = noise()
    changed = series.copy()
    changed[:, 1_100:] = 1e6

    np.testing.assert_array_equal(RIVALS[name](series)[:, :1_100], RIVALS[name](changed)[:, :1_100])


@pytest.mark.parametrize("name", RIVALS)
def test_a_constant_series_gets_no_score(name):
    assert RIVALS[name](np.full((1, POINTS), 3.0)).max() == 0.0


def test_the_rolling_median_is_taken_of_the_points_before():
    series = noise()[:1]
    point = 1_000

    past = series[0, point - HISTORY : point]
    median = np.median(past)
    deviation = 1.4826 * np.median(np.abs(past - median))

    floor = 1e-3 * median + 1e-9
    assert rolling_mad(series)[0, point] == pytest.approx(abs(series[0, point] - median) / (deviation + floor))


def test_neighbours_are_subsequences_of_the_history_that_do_not_overlap():
    series = noise()[:1]
    scores = knn(series)[0]

    subsequences = sliding_window_view(series[0], DIMENSION)  # the one that ends at a point has its number less 3
    for point in range(HISTORY + DIMENSION, POINTS):
        last = point - DIMENSION + 1
        history = subsequences[last - HISTORY + 1 : last - DIMENSION + 1]
        distances = np.sort(np.linalg.norm(history - subsequences[last], axis=1))
        assert scores[point] == pytest.approx(distances[NEIGHBOUR - 1])


def test_the_weighted_mean_and_deviation_settle_at_those_of_the_noise():
    scores = ewma_z(noise())[:, 600:]

    assert np.mean(scores) == pytest.approx(np.sqrt(2 / np.pi), rel=0.15)  # the mean distance of a Gaussian
