"""What every StateStore promises (functions.core.ports, functions.core.sweep)."""

import secrets

import pytest

from functions.core.ports import StateUpdate, StoredState
from telemetry.errors import StateConflict
from tests.conformance.port_factories import STATE_STORES


@pytest.fixture(params=STATE_STORES)
def state_store(request):
    with STATE_STORES[request.param]() as store:
        yield store


@pytest.fixture
def cluster():
    """A cluster of this test's own: a store may be shared with other tests."""
    return f"aks-{secrets.token_hex(6)}"


def update(key, blob=b"state", version=None, *, status="live", last_seen=1_790_000_000_000):
    summary = {"Pool": "", "Status": status, "LastSeen": last_seen, "AnomalyScore": 0.5, "AnomalyMetric": ""}
    return StateUpdate(key, blob, version, summary)


def test_node_never_seen_has_neither_state_nor_version(state_store, cluster):
    assert state_store.load([(cluster, "a")]) == {(cluster, "a"): StoredState(None, None)}


@pytest.mark.parametrize("size", [1, 1000, 61_440, 61_441, 500_000])
def test_state_comes_back_byte_for_byte_under_the_version_the_commit_gave(state_store, cluster, size):
    blob = secrets.token_bytes(size)

    versions = state_store.commit([update((cluster, "a"), blob)])

    assert state_store.load([(cluster, "a")]) == {(cluster, "a"): StoredState(blob, versions[cluster, "a"])}


def test_smaller_state_leaves_nothing_of_the_larger_one_before(state_store, cluster):
    versions = state_store.commit([update((cluster, "a"), b"x" * 200_000)])

    state_store.commit([update((cluster, "a"), b"small", versions[cluster, "a"])])

    assert state_store.load([(cluster, "a")])[cluster, "a"].blob == b"small"


def test_every_commit_gives_another_version_even_of_the_same_bytes(state_store, cluster):
    first = state_store.commit([update((cluster, "a"))])[cluster, "a"]
    second = state_store.commit([update((cluster, "a"), version=first)])[cluster, "a"]

    assert second != first
    with pytest.raises(StateConflict):
        state_store.commit([update((cluster, "a"), version=first)])


def test_stale_version_conflicts_names_the_node_and_changes_nothing(state_store, cluster):
    old = state_store.commit([update((cluster, "a"), b"one")])[cluster, "a"]
    new = state_store.commit([update((cluster, "a"), b"two", old)])[cluster, "a"]

    with pytest.raises(StateConflict) as conflict:
        state_store.commit([update((cluster, "a"), b"three", old)])

    assert conflict.value.keys == [(cluster, "a")]
    assert state_store.load([(cluster, "a")])[cluster, "a"] == StoredState(b"two", new)


def test_creating_a_node_that_is_there_conflicts(state_store, cluster):
    state_store.commit([update((cluster, "a"), b"one")])

    with pytest.raises(StateConflict):
        state_store.commit([update((cluster, "a"), b"two")])

    assert state_store.load([(cluster, "a")])[cluster, "a"].blob == b"one"


def test_updating_a_node_that_is_not_there_conflicts(state_store, cluster):
    version = state_store.commit([update((cluster, "a"))])[cluster, "a"]

    with pytest.raises(StateConflict):
        state_store.commit([update((cluster, "b"), version=version)])

    assert state_store.load([(cluster, "b")])[cluster, "b"] == StoredState(None, None)


def test_after_a_conflict_every_node_of_the_call_is_wholly_old_or_wholly_new(state_store, cluster):
    keys = [(cluster, f"n{index}") for index in range(6)] + [(f"{cluster}-2", "n0")]
    before = state_store.commit([update(key, b"old") for key in keys])
    ahead = state_store.commit([update(keys[3], b"ahead", before[keys[3]])])[keys[3]]

    with pytest.raises(StateConflict) as conflict:
        state_store.commit([update(key, b"new", before[key]) for key in keys])

    found = state_store.load(keys)
    assert keys[3] in conflict.value.keys
    assert found[keys[3]] == StoredState(b"ahead", ahead)
    for key in (key for key in keys if key != keys[3]):
        assert (found[key].blob == b"old") == (found[key].version == before[key])
        assert found[key].blob in (b"old", b"new")
    again = {key: found[key].version for key in keys}
    assert set(state_store.commit([update(key, b"again", again[key]) for key in keys])) == set(keys)


def test_nodes_of_the_same_name_in_two_clusters_are_two_nodes(state_store, cluster):
    state_store.commit([update((cluster, "a"), b"one"), update((f"{cluster}-2", "a"), b"two")])

    found = state_store.load([(cluster, "a"), (f"{cluster}-2", "a")])

    assert [state.blob for state in found.values()] == [b"one", b"two"]


def test_every_name_that_validation_lets_through_is_a_node_of_its_own(state_store, cluster):
    names = ["a", "A", "a.b", "a-b", "a_b", "0", "00", "a..b", "x" * 128]

    state_store.commit([update((cluster, name), name.encode()) for name in names])

    found = state_store.load([(cluster, name) for name in names])
    assert {key[1]: state.blob for key, state in found.items()} == {name: name.encode() for name in names}


def test_hundreds_of_nodes_are_committed_and_loaded_in_one_call(state_store, cluster):
    keys = [(cluster, f"node-{index:03d}") for index in range(250)]

    versions = state_store.commit([update(key, key[1].encode()) for key in keys])
    found = state_store.load([*keys, (cluster, "node-100x")])

    assert set(versions) == set(keys)
    assert all(found[key] == StoredState(key[1].encode(), versions[key]) for key in keys)
    assert found[cluster, "node-100x"] == StoredState(None, None)


def test_nothing_to_do_is_done(state_store):
    assert state_store.load([]) == {}
    assert state_store.commit([]) == {}


def test_silent_nodes_are_the_live_ones_not_heard_since(state_store, cluster):
    long_ago = 1000
    state_store.commit(
        [
            update((cluster, "old"), last_seen=long_ago),
            update((cluster, "edge"), last_seen=long_ago + 5),
            update((cluster, "marked"), status="silent", last_seen=long_ago),
            update((cluster, "fresh"), last_seen=long_ago + 10),
        ]
    )

    found = state_store.find_silent(long_ago + 5, 1000)

    assert [key for key in found if key[0] == cluster] == [(cluster, "old")]


def test_no_more_silent_nodes_are_found_than_asked_for(state_store, cluster):
    state_store.commit([update((cluster, f"n{index}"), last_seen=1) for index in range(5)])

    assert len(state_store.find_silent(2, 3)) == 3
