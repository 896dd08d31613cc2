"""Autocorrelated noise is a function of node and moment alone, however many are asked for at once."""

import numpy as np
import pytest

from local.fleet.noise import PERIODS, Noise

STREAMS = ("cpu", "memory")
NODES = (3, 11, 40)
START = 1_767_571_200.0


@pytest.mark.parametrize("step", [10.0, 60.0, 3_600.0])
def test_many_moments_at_once_have_the_same_noise_as_each_by_itself(step):
    seconds = START + step * np.arange(200) + np.array([[0.0], [3.7], [9.1]])

    together = Noise(5, NODES).octaves(STREAMS, seconds)

    assert together.shape == (len(PERIODS), len(STREAMS), len(NODES), 200)
    for moment in range(0, 200, 7):
        alone = Noise(5, NODES).octaves(STREAMS, seconds[:, moment : moment + 1])
        np.testing.assert_array_equal(alone[..., 0], together[..., moment])


def test_it_is_continuous_and_has_the_same_spread_everywhere():
    seconds = np.broadcast_to(START + 10.0 * np.arange(20_000), (3, 20_000))

    octaves = Noise(5, NODES).octaves(STREAMS, seconds)

    assert np.abs(np.diff(octaves[-1], axis=-1)).max() < 0.01
    assert octaves[0].std() == pytest.approx(1.0, abs=0.05)
