"""The detectors' memory: copies until it is kept, the same after a round trip, begun anew where bytes are none."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from isal import igzip

from functions.core import detector_memory
from functions.core.detector_memory import FORGOTTEN_AFTER, DetectorMemory, decode_memory
from functions.core.detectors.series_state import SERIES, DetectorStateUnreadable, new_states
from functions.core.policy.rules import METRICS

A, B, C = ("c", "a"), ("c", "b"), ("d", "a")
MINUTE = 29_833_333


def learnt(memory, *keys, level, minute=MINUTE):
    states = memory.take(keys)
    states["now"][..., 7] = level
    memory.keep(keys, states, [minute] * len(keys))


def levels(memory, key):
    return memory.take([key])["now"][0, :, 7]


@pytest.fixture
def memory():
    found = DetectorMemory()
    learnt(found, A, B, level=3.0)
    learnt(found, C, level=5.0)
    return found


def test_a_node_takes_at_most_a_kilobyte_for_each_metric(memory):
    assert SERIES.itemsize <= 1016
    assert memory.take([A]).nbytes == len(METRICS) * SERIES.itemsize


def test_unknown_nodes_have_new_states(memory):
    new = memory.take([("c", "new"), A])

    assert new.shape == (2, len(METRICS))
    assert new[0].tobytes() == new_states(len(METRICS)).tobytes()
    assert len(memory) == 3


def test_what_is_taken_is_a_copy_until_it_is_kept(memory):
    states = memory.take([A, C])
    states["now"][..., 7] = 9.0

    assert levels(memory, A).max() == 3.0

    memory.keep([A, C], states, [MINUTE, MINUTE])
    states["now"][..., 7] = 11.0
    assert levels(memory, A).min() == levels(memory, C).min() == 9.0
    assert levels(memory, B).max() == 3.0


def test_a_batchs_array_is_used_again_by_the_next_and_never_by_two_at_once(memory):
    first, second = memory.take([A, B]), memory.take([A])
    memory.keep([A, B], first, [MINUTE, MINUTE])

    assert not np.shares_memory(first, second)
    assert np.shares_memory(first, memory.take([C]))


def test_nodes_that_come_after_others_were_forgotten_have_a_place_of_their_own(memory):
    memory.forget([A])

    new = [("e", str(number)) for number in range(5)]
    learnt(memory, *new, level=7.0)

    assert len(memory) == 7
    assert (levels(memory, B).max(), levels(memory, C).max()) == (3.0, 5.0)
    assert all(levels(memory, key).min() == 7.0 for key in new)
    assert levels(memory, A).max() == 0.0


def test_new_states_are_nobodys_own(memory):
    memory.take([("c", "new")])["now"][...] = 1.0

    assert memory.take([("c", "new")]).tobytes() == new_states(len(METRICS)).tobytes()


def test_memory_comes_back_from_its_bytes_exactly(memory):
    back = decode_memory(memory.encode())

    assert len(back) == 3
    for key in (A, B, C):
        assert back.take([key]).tobytes() == memory.take([key]).tobytes()
    assert decode_memory(back.encode()).take([A, B, C]).tobytes() == memory.take([A, B, C]).tobytes()


def test_nothing_comes_back_as_nothing():
    assert len(decode_memory(DetectorMemory().encode())) == 0


def test_nodes_not_heard_of_for_two_weeks_are_not_stored(memory):
    learnt(memory, A, level=4.0, minute=MINUTE + FORGOTTEN_AFTER)

    back = decode_memory(memory.encode())

    assert len(back) == 1
    assert levels(back, A).max() == 4.0


def test_forgotten_nodes_begin_anew(memory):
    memory.forget([A, ("never", "there")])

    assert len(memory) == 2
    assert memory.take([A]).tobytes() == new_states(len(METRICS)).tobytes()


def test_metrics_follow_their_name_when_the_rules_change(memory, monkeypatch):
    states = memory.take([A])
    states["now"][..., 7] = np.arange(len(METRICS))
    memory.keep([A], states, [MINUTE])
    blob = memory.encode()
    other = ("Brand new", METRICS[2], METRICS[0], *METRICS[3:])
    monkeypatch.setattr(detector_memory, "METRICS", other)

    back = levels(decode_memory(blob), A)

    assert back[:4].tolist() == [0.0, 2.0, 0.0, 3.0]


def some_bytes():
    memory = DetectorMemory()
    learnt(memory, A, B, level=3.0)
    return memory.encode()


BLOB = some_bytes()


@pytest.mark.parametrize("size", [0, 1, 3, 4, 5, 20, len(BLOB) // 2, len(BLOB) - 8, len(BLOB) - 1])
def test_truncated_bytes_are_refused(size):
    with pytest.raises(DetectorStateUnreadable):
        decode_memory(BLOB[:size])


@given(position=st.integers(0, len(BLOB) - 1), bit=st.integers(0, 7))
def test_a_flipped_bit_is_refused_unless_it_means_nothing(position, bit):
    flipped = bytearray(BLOB)
    flipped[position] ^= 1 << bit

    try:
        back = decode_memory(bytes(flipped))
    except DetectorStateUnreadable:
        return
    assert back.take([A, B]).tobytes() == decode_memory(BLOB).take([A, B]).tobytes()


@given(st.binary(max_size=400))
def test_compressed_rubbish_is_refused(rubbish):
    with pytest.raises(DetectorStateUnreadable):
        decode_memory(BLOB[:4] + igzip.compress(rubbish, 1))


@pytest.mark.parametrize("magic", [b"DMM\x02", b"DMS\x02", b"", b"{}"])
def test_bytes_of_another_version_are_refused_and_both_are_named(magic):
    with pytest.raises(DetectorStateUnreadable, match="this build reads b'DMM"):
        decode_memory(magic + BLOB[4:] if len(magic) == 4 else magic)
