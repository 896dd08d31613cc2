"""What is remembered of a level, and its bytes."""

from __future__ import annotations

import numpy as np
import pytest

from functions.core.forecast.level_history import (
    BIN_S,
    BINS,
    HOURS,
    LevelsUnreadable,
    decode_levels,
    encode_levels,
    hours,
    new_levels,
    recent,
    remember,
)

START = 1_767_225_600.0


def filled(points: int, count: int = 2) -> np.ndarray:
    states = new_levels(count)
    for index in range(points):
        level = np.full(count, index / 1000 % 1.0)
        remember(states, START + BIN_S * index, level - 0.001, level)
    return states


def test_points_and_hours_come_back_in_order() -> None:
    states = filled(100)

    newest = np.arange(100 - BINS, 100) - 1  # the lower of two neighbours: growth shows a point later
    assert recent(states)[0] == pytest.approx(newest / 1000, abs=1e-4)
    by_hour = hours(states, "high")[0]
    assert np.isnan(by_hour[: HOURS - 25]).all()
    assert by_hour[-25:] == pytest.approx((np.arange(25) * 4 + 2) / 1000, abs=1e-4)
    assert hours(states, "low")[0][-2:] == pytest.approx([0.091, 0.095], abs=1e-4)


def test_a_spike_of_one_point_is_no_level() -> None:
    states = filled(50)

    remember(states, START + BIN_S * 50, np.zeros(2), np.ones(2))
    remember(states, START + BIN_S * 51, np.zeros(2), np.full(2, 0.05))

    assert recent(states).max() < 0.06


def test_what_is_older_than_the_memory_is_gone_after_a_gap() -> None:
    states = filled(300)

    remember(states, START + BIN_S * (300 + 6 * 4), np.full(2, 0.5), np.full(2, 0.5))

    assert np.count_nonzero(~np.isnan(recent(states)[0])) == 1
    known = hours(states, "high")[0]
    assert np.isnan(known[-6:-1]).all() and known[-1] == pytest.approx(0.5)
    assert np.count_nonzero(~np.isnan(known)) == 75 + 1


def test_after_a_week_nothing_old_is_left() -> None:
    states = filled(300)

    remember(states, START + BIN_S * 300 + 7 * 86_400, np.full(2, 0.5), np.full(2, 0.5))

    assert np.count_nonzero(~np.isnan(hours(states, "high")[0])) == 1


def test_states_come_back_from_their_bytes() -> None:
    states = filled(200)

    assert decode_levels(encode_levels(states), 2).tobytes() == states.tobytes()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda blob: blob[:-1], "bytes"),
        (lambda blob: b"", "begin with"),
        (lambda blob: b"DML\x02" + blob[4:], "begin with"),
        (lambda blob: blob[:20] + bytes([blob[20] ^ 1]) + blob[21:], "checksum"),
        (lambda blob: blob + blob[8:], "bytes"),
    ],
)
def test_spoilt_bytes_are_recognised(spoil, said: str) -> None:
    blob = encode_levels(filled(20))

    with pytest.raises(LevelsUnreadable, match=said):
        decode_levels(spoil(blob), 2)
