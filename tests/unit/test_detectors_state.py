"""The record of a series: its size, its bytes, and that what is stored goes on as if it had never been stored."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.core.detectors.series_state import (
    SERIES,
    DetectorStateUnreadable,
    decode_states,
    encode_states,
    from_upper_half,
    new_states,
    upper_half,
)
from functions.core.detectors.streaming import update

POINTS = 2_000


def taught(series=4, points=POINTS, seed=1):
    states = new_states(series)
    for time, x in series_of(series, points, seed):
        update(states, time, x)
    return states


def series_of(series, points, seed=1, start=0):
    random = np.random.default_rng(seed)
    x = 5 + np.sin(np.arange(start + points) / 229)[:, None] + random.normal(size=(start + points, series))
    x[random.random(x.shape) < 0.02] = np.nan
    for point in range(start, start + points):
        yield np.full(series, 1.7e9 + 60.0 * point), x[point]


def test_a_series_alone_takes_at_most_1024_bytes_with_its_header():
    assert len(encode_states(new_states(1))) <= 1024


def test_stored_states_go_on_bit_by_bit_as_if_they_had_never_been_stored():
    kept = new_states(4)
    for point, (time, x) in enumerate(series_of(4, POINTS)):
        if point % 97 == 0:
            stored = decode_states(encode_states(kept), 4)
            expected = update(kept, time, x)
            found = update(stored, time, x)
            for one, other in zip(found, expected, strict=True):
                assert np.array_equal(one, other)
            assert stored.tobytes() == kept.tobytes()
            kept = stored
        else:
            update(kept, time, x)


def test_states_without_a_series_are_stored_and_read():
    assert len(decode_states(encode_states(new_states(0)), 0)) == 0


@pytest.mark.parametrize("size", [0, 1, 3, 7, 8, 9, 500, SERIES.itemsize + 7, SERIES.itemsize + 9])
def test_truncated_or_longer_bytes_are_unreadable(size):
    blob = (encode_states(taught(1, 200)) + b"\0")[:size]

    with pytest.raises(DetectorStateUnreadable):
        decode_states(blob, 1)


def test_states_of_another_number_of_series_are_unreadable_and_the_error_says_what_would_be_right():
    with pytest.raises(DetectorStateUnreadable, match=rf"2 series of {SERIES.itemsize} would be right"):
        decode_states(encode_states(new_states(1)), 2)


def test_states_of_another_version_are_unreadable_and_the_error_names_both():
    blob = encode_states(new_states(1))

    with pytest.raises(DetectorStateUnreadable, match=r"DMD\\xff.*DMD\\x03"):
        decode_states(blob[:3] + b"\xff" + blob[4:], 1)


BLOB = encode_states(taught(1, 400))


@given(st.integers(0, 8 * len(BLOB) - 1))
def test_a_flipped_bit_makes_states_unreadable(bit):
    flipped = bytearray(BLOB)
    flipped[bit // 8] ^= 1 << bit % 8

    with pytest.raises(DetectorStateUnreadable):
        decode_states(bytes(flipped), 1)


@given(st.binary(max_size=2_100))
def test_bytes_of_any_kind_are_unreadable_and_nothing_worse(blob):
    with pytest.raises(DetectorStateUnreadable):
        decode_states(blob, 1)


def test_decoded_states_can_be_written_to():
    states = decode_states(BLOB, 1)

    update(states, np.array([2e9]), np.array([1.0]))

    assert states.tobytes() != BLOB[8:]


@given(st.floats(allow_nan=False, min_value=-1e30, max_value=1e30))
def test_upper_halves_keep_three_digits(value):
    found = from_upper_half(upper_half(np.array([value])))[0]

    assert found == pytest.approx(value, rel=2**-8, abs=1e-37)


def test_upper_halves_keep_what_is_not_known():
    assert np.isnan(from_upper_half(upper_half(np.array([np.nan])))[0])
