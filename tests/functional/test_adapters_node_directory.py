"""NodeDirectory on Azurite: pages, filters, and what hostile clients bring."""

import base64
import json
import uuid

import pytest
from azure.data.tables import TableClient

from functions.adapters.continuation import BadContinuation
from functions.adapters.node_directory import NodeDirectory, Summary
from functions.adapters.table_state import CHUNK_BYTES, TableStateStore
from functions.bindings.services import RETRIES, TIME_LIMITS
from functions.core.ports import StateUpdate
from telemetry.errors import StoreUnavailable

KEYS = [(cluster, f"node-{index:02d}") for cluster in ("blue", "green") for index in range(12)]


@pytest.fixture(scope="module")
def table(azurite):
    name = f"Nodes{uuid.uuid4().hex}"
    with TableClient.from_connection_string(azurite.connection_string, name, **TIME_LIMITS, **RETRIES) as client:
        store = TableStateStore(client)
        store.create_table()
        store.commit([_state(*key, index) for index, key in enumerate(KEYS)])
        yield client


@pytest.fixture
def directory(table):
    return NodeDirectory(table)


def _state(cluster, node, index):
    summary = {
        "Pool": "it's a pool" if index % 2 else "plain",
        "Status": "silent" if index % 3 == 0 else "live",
        "LastSeen": 1_800_000_000_000 + index,
        "AnomalyScore": index / 100,
        "AnomalyMetric": "cpu",
        "IncidentId": "0123456789abcdef" if index % 2 else "",
        "Severity": "Error" if index % 2 else "",
    }
    return StateUpdate((cluster, node), bytes(CHUNK_BYTES + index), None, summary)


def all_pages(directory, limit, **filters):
    pages, continuation = [], None
    for _ in range(len(KEYS) + 2):
        page, continuation = directory.page(limit=limit, continuation=continuation, filters=filters)
        pages.append([(summary.cluster, summary.node) for summary in page])
        if continuation is None:
            return pages
    raise AssertionError("the pages never end")


def token(document):
    return base64.urlsafe_b64encode(json.dumps(document).encode()).decode()


@pytest.mark.parametrize("limit", [1, 5, 11, 12, 23, 24, 25, 1000])
def test_pages_give_every_node_once_in_order(directory, limit):
    pages = all_pages(directory, limit)

    assert [key for page in pages for key in page] == KEYS
    assert all(len(page) <= limit for page in pages)


def test_filtered_pages_give_every_match_once(directory):
    pages = all_pages(directory, 2, PartitionKey="green", Status="silent")

    wanted = [key for index, key in enumerate(KEYS) if key[0] == "green" and index % 3 == 0]
    assert [key for page in pages for key in page] == wanted


def test_line_of_a_node_is_what_was_committed_beside_its_state(directory):
    (found, other), _ = directory.page(limit=2, continuation=None, filters={"PartitionKey": "green"})

    assert found == Summary("green", "node-00", "plain", "silent", 1_800_000_000_012, 0.12, "cpu", "", "")
    assert (other.incident_id, other.severity) == ("0123456789abcdef", "Error")


def test_quote_in_a_filter_is_a_character_like_others(directory):
    pages = all_pages(directory, 100, Pool="it's a pool")

    assert len(pages[0]) == len(KEYS) // 2


@pytest.mark.parametrize(
    "value",
    [
        "x' or 1 eq 1",
        "x' or '1' eq '1",
        "x' or PartitionKey ne '",
        "' or true or '",
        "x'' or 1 eq 1 or ''",
        "@PartitionKey",
        "@Pool",
        "plain or true",
        "\\' or true",
        "",
        " ",
    ],
)
@pytest.mark.parametrize("column", ["PartitionKey", "Pool"])
def test_filter_value_never_becomes_part_of_the_query(directory, column, value):
    found, following = directory.page(limit=100, continuation=None, filters={column: value})

    assert (found, following) == ([], None)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "abcd",
        "====",
        "é",
        "\ud800",
        "\x00",
        token([]),
        token("text"),
        token(None),
        token(1),
        token({}),
        token({"PartitionKey": "blue"}),
        token({"PartitionKey": "blue", "RowKey": 1}),
        token({"PartitionKey": None, "RowKey": None}),
        token({"PartitionKey": "", "RowKey": "node-01"}),
        token({"PartitionKey": ["blue"], "RowKey": "node-01"}),
        token({"PartitionKey": "blue", "RowKey": "node-01", "Extra": "x"}),
        token({"PartitionKey": "blue\x00", "RowKey": "node-01"}),
        token({"PartitionKey": "blue\r\nHost: x", "RowKey": "node-01"}),
        token({"PartitionKey": "\ud800", "RowKey": "node-01"}),
        token({"Marker": "blob"}),
        base64.urlsafe_b64encode(b"[" * 100_000).decode(),
        base64.urlsafe_b64encode(b"\xff\xfe").decode(),
        base64.urlsafe_b64encode(b"1" * 5000).decode(),
    ],
)
def test_token_no_page_gave_is_refused(directory, text):
    with pytest.raises(BadContinuation) as refused:
        directory.page(limit=1, continuation=text, filters={})

    assert len(str(refused.value)) < 300


@pytest.mark.parametrize(
    "document",
    [
        {"PartitionKey": "no such cluster", "RowKey": "x"},
        {"PartitionKey": "zzz", "RowKey": None},
        {"PartitionKey": "' or 1 eq 1", "RowKey": "%00&$filter=true"},
        {"PartitionKey": "b" * 5000, "RowKey": "n" * 5000},
    ],
)
def test_made_up_token_of_the_right_form_shows_nothing_that_a_list_would_not(directory, document):
    try:
        found, _ = directory.page(limit=100, continuation=token(document), filters={"PartitionKey": "blue"})
    except BadContinuation:
        return

    assert {summary.cluster for summary in found} <= {"blue"}


def test_token_of_another_filter_lists_this_filter_only(directory):
    _, following = directory.page(limit=3, continuation=None, filters={"PartitionKey": "green"})

    found, _ = directory.page(limit=100, continuation=following, filters={"PartitionKey": "blue"})

    assert {summary.cluster for summary in found} <= {"blue"}


def test_state_is_joined_from_its_parts_and_has_the_version_of_the_entity(directory, table):
    blob, version = directory.state(*KEYS[3])

    assert blob == bytes(CHUNK_BYTES + 3)
    assert version == table.get_entity(*KEYS[3]).metadata["etag"]


@pytest.mark.parametrize("key", [("blue", "unknown"), ("unknown", "node-01"), ("blue", "Node-01")])
def test_unknown_node_has_no_state(directory, key):
    assert directory.state(*key) is None


def test_missing_table_is_not_an_unknown_node(azurite):
    with TableClient.from_connection_string(azurite.connection_string, f"None{uuid.uuid4().hex}") as client:
        directory = NodeDirectory(client)

        with pytest.raises(StoreUnavailable):
            directory.state("blue", "node-01")
        with pytest.raises(StoreUnavailable):
            directory.page(limit=1, continuation=None, filters={})
