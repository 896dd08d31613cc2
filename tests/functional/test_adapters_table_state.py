"""TableStateStore on Azurite: what Table Storage itself decides (ETags, transactions, limits, order)."""

import os
import uuid

import pytest
from azure.data.tables import EdmType, TableClient

from functions.adapters.table_state import CHUNK_BYTES, MAX_OPERATIONS, POINT_READS, TableStateStore
from functions.bindings.services import RETRIES, TIME_LIMITS
from functions.core.ports import StateUpdate, StoredState
from telemetry.errors import StateConflict, StoreUnavailable


@pytest.fixture
def table(azurite):
    name = f"States{uuid.uuid4().hex}"
    with TableClient.from_connection_string(azurite.connection_string, name, **TIME_LIMITS, **RETRIES) as client:
        yield client


@pytest.fixture
def store(table):
    store = TableStateStore(table)
    store.create_table()
    return store


def update(node="node-1", *, cluster="aks", version=None, blob=b"state", **summary):
    fields = {"Pool": "pool1", "Status": "live", "LastSeen": 1_800_000_000_000, "AnomalyScore": 0.5} | summary
    return StateUpdate((cluster, node), blob, version, fields)


def nodes(number):
    return [f"node-{index:04d}" for index in range(number)]


def test_node_never_seen_loads_as_nothing(store):
    assert store.load([("aks", "unknown")]) == {("aks", "unknown"): StoredState(None, None)}


def test_nothing_to_load_and_nothing_to_commit_are_no_requests(store):
    assert store.load([]) == {}
    assert store.commit([]) == {}


def test_committed_state_loads_with_the_version_the_commit_gave(store):
    versions = store.commit([update(blob=b"\x00\xffstate")])

    assert store.load([("aks", "node-1")]) == {
        ("aks", "node-1"): StoredState(b"\x00\xffstate", versions["aks", "node-1"])
    }


def test_update_under_the_current_version_replaces_the_state_and_every_property(store, table):
    first = store.commit([update(blob=b"a" * (CHUNK_BYTES + 1), Extra="old")])["aks", "node-1"]

    second = store.commit([update(blob=b"b", version=first)])["aks", "node-1"]

    assert second != first
    assert store.load([("aks", "node-1")])["aks", "node-1"] == StoredState(b"b", second)
    assert "Extra" not in table.get_entity("aks", "node-1")


def test_table_that_is_already_there_is_no_error(store):
    store.commit([update()])

    store.create_table()

    assert store.load([("aks", "node-1")])["aks", "node-1"].blob == b"state"


@pytest.mark.parametrize("number", [POINT_READS, POINT_READS + 1, 3 * POINT_READS])
def test_many_nodes_of_a_cluster_load_at_once_and_only_those_asked_for(store, number):
    versions = store.commit([update(node, blob=node.encode()) for node in nodes(number + 2)])
    asked = [("aks", node) for node in [*nodes(number + 1)[1:], "node-0005x", "zzz"]]

    loaded = store.load(asked)

    assert list(loaded) == asked
    known = asked[:-2]
    assert {key: loaded[key] for key in known} == {key: StoredState(key[1].encode(), versions[key]) for key in known}
    assert loaded["aks", "node-0005x"] == loaded["aks", "zzz"] == StoredState(None, None)


def test_clusters_with_equal_node_names_do_not_mix(store):
    few, many = [("a", node) for node in nodes(3)], [("b", node) for node in nodes(POINT_READS + 5)]
    keys = [*few, *many, ("c", "node-0000")]
    store.commit([update(node, cluster=cluster, blob=f"{cluster}/{node}".encode()) for cluster, node in keys])

    loaded = store.load(keys)

    assert {key: stored.blob for key, stored in loaded.items()} == {key: "/".join(key).encode() for key in keys}


def test_order_of_node_names_is_the_order_of_the_table(store):
    names = ["A", "B.1", "Z", "a", "a-", "a.b", "a0", "aB", "a_b", "b", "z9", *nodes(POINT_READS)]
    store.commit([update(name, blob=name.encode()) for name in names])

    loaded = store.load([("aks", name) for name in names])

    assert [stored.blob for stored in loaded.values()] == [name.encode() for name in names]


def test_stale_version_is_a_conflict_that_names_the_node(store):
    first = store.commit([update("node-1"), update("node-2")])
    store.commit([update("node-2", version=first["aks", "node-2"])])

    with pytest.raises(StateConflict) as conflict:
        store.commit([update(node, blob=b"new", version=first["aks", node]) for node in ("node-1", "node-2")])

    assert conflict.value.keys == [("aks", "node-2")]
    assert store.load([("aks", "node-1")])["aks", "node-1"].blob == b"state"


def test_creating_over_a_state_is_a_conflict_that_names_the_node(store):
    store.commit([update("node-2")])

    with pytest.raises(StateConflict) as conflict:
        store.commit([update("node-1"), update("node-2", blob=b"new"), update("node-3")])

    assert conflict.value.keys == [("aks", "node-2")]
    assert store.load([("aks", "node-2")])["aks", "node-2"].blob == b"state"


def test_updating_a_deleted_state_is_a_conflict_that_names_the_node(store, table):
    versions = store.commit([update("node-1"), update("node-2")])
    table.delete_entity("aks", "node-2")

    with pytest.raises(StateConflict) as conflict:
        store.commit([update(node, version=versions["aks", node]) for node in ("node-1", "node-2")])

    assert conflict.value.keys == [("aks", "node-2")]


def test_conflict_in_one_cluster_heals_by_loading_again(store):
    stale = store.commit([update(cluster="a"), update(cluster="b")])
    store.commit([update(cluster="b", version=stale["b", "node-1"])])
    with pytest.raises(StateConflict):
        store.commit([update(cluster=c, version=stale[c, "node-1"], blob=b"new") for c in "ab"])

    fresh = store.load([("a", "node-1"), ("b", "node-1")])
    store.commit([update(cluster=c, version=fresh[c, "node-1"].version, blob=b"new") for c in "ab"])

    assert {stored.blob for stored in store.load(list(fresh)).values()} == {b"new"}


def test_more_nodes_than_a_transaction_takes_are_committed(store):
    names = nodes(2 * MAX_OPERATIONS + 5)

    versions = store.commit([update(node, blob=node.encode()) for node in names])

    loaded = store.load([("aks", node) for node in names])
    assert {key: stored.version for key, stored in loaded.items()} == versions
    assert [stored.blob for stored in loaded.values()] == [node.encode() for node in names]


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 11 * CHUNK_BYTES + 7])
def test_state_of_any_size_comes_back_byte_for_byte(store, size):
    blob = os.urandom(size)

    store.commit([update(blob=blob)])

    assert store.load([("aks", "node-1")])["aks", "node-1"].blob == blob


def test_states_that_fill_more_than_one_transaction_come_back_byte_for_byte(store):
    blobs = {("aks", node): os.urandom(700 * 1024) for node in nodes(7)}

    store.commit([update(node, blob=blob) for (_, node), blob in blobs.items()])

    assert {key: stored.blob for key, stored in store.load(list(blobs)).items()} == blobs


def test_state_that_shrinks_leaves_no_bytes_of_the_larger_one(store):
    version = store.commit([update(blob=os.urandom(5 * CHUNK_BYTES))])["aks", "node-1"]

    store.commit([update(blob=b"small", version=version)])

    assert store.load([("aks", "node-1")])["aks", "node-1"].blob == b"small"


def test_whole_numbers_of_the_summary_are_kept_as_64_bit_and_the_rest_as_they_are(store, table):
    store.commit([update(LastSeen=1_800_000_000_123, Small=1, Flag=True, AnomalyScore=0.25, Pool="p'1")])

    entity = table.get_entity("aks", "node-1")

    assert (entity["LastSeen"].value, entity["LastSeen"].edm_type) == (1_800_000_000_123, EdmType.INT64)
    assert entity["Small"].edm_type == EdmType.INT64
    assert (entity["Flag"], entity["AnomalyScore"], entity["Pool"]) == (True, 0.25, "p'1")


def test_silent_are_live_nodes_received_before_the_time_and_no_others(store):
    limit = 1_800_000_000_000
    store.commit(
        [
            update("long-ago", LastSeen=5),
            update("just-before", LastSeen=limit - 1),
            update("at-the-time", LastSeen=limit),
            update("after", LastSeen=limit + 10),
            update("known-silent", LastSeen=limit - 1, Status="silent"),
            update("elsewhere", cluster="other", LastSeen=limit - 1),
        ]
    )

    found = store.find_silent(limit, 10)

    assert sorted(found) == [("aks", "just-before"), ("aks", "long-ago"), ("other", "elsewhere")]


@pytest.mark.parametrize("limit", [1, 4, 5, 6])
def test_silent_nodes_are_given_up_to_the_limit(store, limit):
    store.commit([update(node, LastSeen=1) for node in nodes(5)])

    found = store.find_silent(2, limit)

    assert len(found) == len(set(found)) == min(limit, 5)


def test_missing_table_is_no_conflict_and_no_unknown_node(table):
    store = TableStateStore(table)

    with pytest.raises(StoreUnavailable):
        store.commit([update()])
    with pytest.raises(StoreUnavailable):
        store.load([("aks", "node-1")])
    with pytest.raises(StoreUnavailable):
        store.find_silent(1, 1)
