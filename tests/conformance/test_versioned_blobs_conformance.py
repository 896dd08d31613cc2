"""What every VersionedBlobs promises (functions.core.ports)."""

import secrets

import pytest

from functions.core.ports import StoredState
from telemetry.errors import StateConflict
from tests.conformance.port_factories import VERSIONED_BLOBS


@pytest.fixture(params=VERSIONED_BLOBS)
def versioned_blobs(request):
    with VERSIONED_BLOBS[request.param]() as states:
        yield states


@pytest.fixture
def name():
    """A name of this test's own, as those of partitions: hub/number."""
    return f"hub-{secrets.token_hex(6)}/0"


def test_nothing_was_stored_under_a_new_name(versioned_blobs, name):
    assert versioned_blobs.load(name) == StoredState(None, None)
    assert versioned_blobs.load(name, unless='"0x8D"') == StoredState(None, None)


@pytest.mark.parametrize("size", [0, 1, 30_000, 5_000_000])
def test_bytes_come_back_under_the_version_that_saving_gave(versioned_blobs, name, size):
    blob = secrets.token_bytes(size)

    version = versioned_blobs.save(name, blob, None)

    assert versioned_blobs.load(name) == StoredState(blob, version)


def test_what_has_not_changed_is_not_sent_again(versioned_blobs, name):
    first = versioned_blobs.save(name, b"one", None)
    assert versioned_blobs.load(name, unless=first) is None

    second = versioned_blobs.save(name, b"two", first)

    assert versioned_blobs.load(name, unless=first) == StoredState(b"two", second)
    assert versioned_blobs.load(name, unless=second) is None


def test_every_save_gives_another_version_even_of_the_same_bytes(versioned_blobs, name):
    first = versioned_blobs.save(name, b"same", None)

    assert versioned_blobs.save(name, b"same", first) != first


def test_saving_over_a_version_that_is_gone_conflicts_and_changes_nothing(versioned_blobs, name):
    first = versioned_blobs.save(name, b"one", None)
    second = versioned_blobs.save(name, b"two", first)

    with pytest.raises(StateConflict):
        versioned_blobs.save(name, b"three", first)

    assert versioned_blobs.load(name) == StoredState(b"two", second)


def test_saving_anew_what_is_there_conflicts_and_changes_nothing(versioned_blobs, name):
    version = versioned_blobs.save(name, b"one", None)

    with pytest.raises(StateConflict):
        versioned_blobs.save(name, b"two", None)

    assert versioned_blobs.load(name) == StoredState(b"one", version)


def test_saving_over_what_is_not_there_conflicts(versioned_blobs, name):
    version = versioned_blobs.save(name, b"one", None)

    with pytest.raises(StateConflict):
        versioned_blobs.save(f"{name}0", b"two", version)

    assert versioned_blobs.load(f"{name}0") == StoredState(None, None)


def test_names_are_apart(versioned_blobs, name):
    versioned_blobs.save(name, b"one", None)
    versioned_blobs.save(f"{name}1", b"two", None)

    assert versioned_blobs.load(name).blob == b"one"
    assert versioned_blobs.load(f"{name}1").blob == b"two"
