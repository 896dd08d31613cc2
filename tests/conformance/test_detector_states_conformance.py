"""What every DetectorStates promises (functions.core.ports)."""

import secrets

import pytest

from functions.core.ports import StoredState
from telemetry.errors import StateConflict
from tests.conformance.port_factories import DETECTOR_STATES


@pytest.fixture(params=DETECTOR_STATES)
def detector_states(request):
    with DETECTOR_STATES[request.param]() as states:
        yield states


@pytest.fixture
def name():
    """A name of this test's own, as those of partitions: hub/number."""
    return f"hub-{secrets.token_hex(6)}/0"


def test_nothing_was_stored_under_a_new_name(detector_states, name):
    assert detector_states.load(name) == StoredState(None, None)
    assert detector_states.load(name, unless='"0x8D"') == StoredState(None, None)


@pytest.mark.parametrize("size", [0, 1, 30_000, 5_000_000])
def test_bytes_come_back_under_the_version_that_saving_gave(detector_states, name, size):
    blob = secrets.token_bytes(size)

    version = detector_states.save(name, blob, None)

    assert detector_states.load(name) == StoredState(blob, version)


def test_what_has_not_changed_is_not_sent_again(detector_states, name):
    first = detector_states.save(name, b"one", None)
    assert detector_states.load(name, unless=first) is None

    second = detector_states.save(name, b"two", first)

    assert detector_states.load(name, unless=first) == StoredState(b"two", second)
    assert detector_states.load(name, unless=second) is None


def test_every_save_gives_another_version_even_of_the_same_bytes(detector_states, name):
    first = detector_states.save(name, b"same", None)

    assert detector_states.save(name, b"same", first) != first


def test_saving_over_a_version_that_is_gone_conflicts_and_changes_nothing(detector_states, name):
    first = detector_states.save(name, b"one", None)
    second = detector_states.save(name, b"two", first)

    with pytest.raises(StateConflict):
        detector_states.save(name, b"three", first)

    assert detector_states.load(name) == StoredState(b"two", second)


def test_saving_anew_what_is_there_conflicts_and_changes_nothing(detector_states, name):
    version = detector_states.save(name, b"one", None)

    with pytest.raises(StateConflict):
        detector_states.save(name, b"two", None)

    assert detector_states.load(name) == StoredState(b"one", version)


def test_saving_over_what_is_not_there_conflicts(detector_states, name):
    version = detector_states.save(name, b"one", None)

    with pytest.raises(StateConflict):
        detector_states.save(f"{name}0", b"two", version)

    assert detector_states.load(f"{name}0") == StoredState(None, None)


def test_names_are_apart(detector_states, name):
    detector_states.save(name, b"one", None)
    detector_states.save(f"{name}1", b"two", None)

    assert detector_states.load(name).blob == b"one"
    assert detector_states.load(f"{name}1").blob == b"two"
