"""From Event Hubs to KQL, Table Storage, blobs and HTTP, with things going wrong on the way.

Every test has nodes of its own; those that count runs have a partition of their own as well.
"""

import time

import pytest
from azure.data.tables import UpdateMode
from function_app_stack import SILENT_AFTER_SECONDS, running_stack

from functions.adapters.memory import MemoryDeadLetters, MemoryRowSink
from functions.adapters.table_state import TableStateStore
from functions.core.ingest import Ingest
from functions.core.ports import Event, Position
from functions.core.rows import timestamp
from functions.core.watch import Watch
from telemetry.envelope import encode
from tests.builders import envelope
from tests.eventually import eventually

MINUTE = 60_000
NOW = int(time.time() // 60) * MINUTE
CLUSTER = "aks-test"


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    with running_stack(tmp_path_factory.mktemp("stack"), partitions=4) as stack:
        yield stack


@pytest.fixture(autouse=True)
def no_faults(stack):
    stack.order_ingestion_faults()


def minute(node, seq, minutes_ago, values=(0.1, 0.2, 0.6), **changes):
    """An envelope with one sample of CPU utilisation per value within one minute."""
    number = len(values)
    start = NOW - minutes_ago * MINUTE
    return envelope(seq, node=node, number=number, start=start, metrics={"cpu": list(values)}, **changes)


def sample_time(stack, node, cluster=CLUSTER):
    return stack.snapshot(cluster, node).get("sampleTime")


def wait_for_sample(stack, node, minutes_ago, samples=3, cluster=CLUSTER):
    newest = timestamp(NOW - minutes_ago * MINUTE + (samples - 1) * 10_000)
    eventually(lambda: sample_time(stack, node, cluster) == newest, f"the sample of {newest} of {node}")


def windows(stack, node):
    """Start, revision, mean and maximum of each window of a node that KQL knows."""
    rows = stack.query(
        f"NodeMetrics() | where Node == '{node}' | order by Cluster asc, WindowStart asc"
        " | project Cluster, WindowStart, Revision, CpuUtilizationAvg, CpuUtilizationMax"
    )
    return [
        (
            round(row["WindowStart"].timestamp() * 1000),
            row["Revision"],
            row["CpuUtilizationAvg"],
            row["CpuUtilizationMax"],
        )
        for row in rows
    ]


def books(stack, partition):
    """The sums of a partition's runs."""
    rows = stack.query(
        f"PipelineRuns_CL | where PartitionId == '{partition}' | summarize Received = sum(Received), "
        "Stored = sum(Stored), Duplicates = sum(Duplicates), DeadLettered = sum(DeadLettered)"
    )
    return {name: value or 0 for name, value in rows[0].items()} if rows else {}


def dead_letters(stack, partition):
    return stack.query(f"DeadLetters() | where PartitionId == '{partition}' | order by SequenceNumber asc")


def test_published_samples_become_a_snapshot_and_closed_windows_rows_with_their_numbers(stack):
    stack.publish(minute("plain", 1, 4, (0.1, 0.2, 0.6)), minute("plain", 2, 3, (0.5,)))
    stack.publish(minute("plain", 3, 2, (0.25, 0.75)))

    wait_for_sample(stack, "plain", 2, samples=2)

    assert windows(stack, "plain") == [(NOW - 4 * MINUTE, 3, 0.3, 0.6), (NOW - 3 * MINUTE, 1, 0.5, 0.5)]


def test_late_sample_is_told_with_a_higher_revision_and_read_once(stack):
    stack.publish(minute("late", 1, 4, (0.2,)), minute("late", 2, 3, (0.2,)))
    wait_for_sample(stack, "late", 3, samples=1)

    stack.publish(minute("late", 3, 4, (0.4, 0.4, 0.4)), minute("late", 4, 2, (0.2,)))
    wait_for_sample(stack, "late", 2, samples=1)

    assert windows(stack, "late")[0] == (NOW - 4 * MINUTE, 4, 0.35, 0.4)
    assert len(stack.query("NodeMetrics_CL | where Node == 'late'")) == 3


def test_same_bytes_twice_are_counted_as_duplicates_and_stored_once(stack):
    raw = encode(minute("twice", 1, 4, (0.2, 0.4)))

    stack.publish(raw, raw, partition="1")
    stack.publish(raw, minute("twice", 2, 3), partition="1")

    wait_for_sample(stack, "twice", 3)
    expected = {"Received": 4, "Stored": 2, "Duplicates": 2, "DeadLettered": 0}
    eventually(lambda: books(stack, "1") == expected, f"{expected}, but {books(stack, '1')}")
    assert windows(stack, "twice") == [(NOW - 4 * MINUTE, 2, 0.3, 0.4)]


def test_poison_is_dead_lettered_with_its_reason_and_its_neighbours_are_stored(stack):
    poison = [b"not an envelope", b'{"version": 77}', encode(minute("poisoned", 9, 3, (7.5,)))]

    stack.publish(minute("poisoned", 1, 4), poison[0], minute("poisoned", 2, 3), poison[1], poison[2], partition="2")

    wait_for_sample(stack, "poisoned", 3)
    expected = {"Received": 5, "Stored": 2, "Duplicates": 0, "DeadLettered": 3}
    eventually(lambda: books(stack, "2") == expected, f"{expected}, but {books(stack, '2')}")
    assert windows(stack, "poisoned") == [(NOW - 4 * MINUTE, 3, 0.3, 0.6)]
    rows = dead_letters(stack, "2")
    assert [row["Reason"] for row in rows] == ["not_json", "unsupported_version", "out_of_range"]
    assert [row["SizeBytes"] for row in rows] == [len(raw) for raw in poison]
    assert all(row["Detail"] for row in rows)
    assert [stack.dead_letters.download_blob(row["BlobName"]).readall() for row in rows] == poison
    assert [stack.get(f"/api/dead-letters/{row['BlobName']}").content for row in rows] == poison


def test_outage_of_log_analytics_loses_nothing_and_dead_letters_nothing(stack):
    stack.publish(minute("outage", 1, 4), partition="3")
    wait_for_sample(stack, "outage", 4)
    before = books(stack, "3")
    stack.order_ingestion_faults(status_codes=[500], ratio=1.0)

    stack.publish(minute("outage", 2, 3), minute("outage", 3, 2), partition="3")
    stack.publish(minute("outage", 4, 1), partition="3")
    eventually(lambda: sum(stack.ingestion_faults().values()) >= 3, "an attempt that is refused")
    assert sample_time(stack, "outage") == timestamp(NOW - 4 * MINUTE + 20_000)
    stack.order_ingestion_faults()

    wait_for_sample(stack, "outage", 1)
    assert windows(stack, "outage") == [(NOW - ago * MINUTE, 3, 0.3, 0.6) for ago in (4, 3, 2)]
    assert dead_letters(stack, "3") == []
    eventually(lambda: books(stack, "3")["Stored"] == before["Stored"] + 3, "every envelope in the books")
    after = books(stack, "3")
    assert after["Received"] == after["Stored"] + after["Duplicates"]


def test_run_whose_row_was_refused_after_the_commit_is_in_the_books(stack):
    stack.publish(minute("booked", 1, 4), partition="3")
    wait_for_sample(stack, "booked", 4)
    eventually(lambda: stack.idle(), "an idle pipeline")
    before = books(stack, "3")
    stack.order_ingestion_faults(status_codes=[500], ratio=1.0)

    stack.publish(minute("booked", 2, 4, (0.5,)), partition="3")  # closes no window: only the run has a row
    eventually(lambda: sum(stack.ingestion_faults().values()) >= 3, "an attempt that is refused")
    stack.order_ingestion_faults()

    eventually(lambda: stack.idle(), "an idle pipeline")
    after = books(stack, "3")
    assert after["Stored"] == before["Stored"] + 1
    assert after["Received"] == after["Stored"] + after["Duplicates"] + after["DeadLettered"]


def test_state_that_somebody_else_changed_is_loaded_again(stack):
    stack.publish(minute("contested", 1, 4))
    wait_for_sample(stack, "contested", 4)
    stack.states.update_entity({"PartitionKey": CLUSTER, "RowKey": "contested", "Note": "x"}, mode=UpdateMode.MERGE)

    stack.publish(minute("contested", 2, 3))
    stack.publish(minute("contested", 3, 2))

    wait_for_sample(stack, "contested", 2)
    assert windows(stack, "contested") == [(NOW - ago * MINUTE, 3, 0.3, 0.6) for ago in (4, 3)]
    assert "Note" not in stack.states.get_entity(CLUSTER, "contested")


def test_state_that_somebody_deleted_is_made_anew(stack):
    stack.publish(minute("deleted", 1, 4))
    wait_for_sample(stack, "deleted", 4)
    stack.states.delete_entity(CLUSTER, "deleted")
    assert stack.snapshot(CLUSTER, "deleted") == {}

    stack.publish(minute("deleted", 2, 3), minute("deleted", 3, 2))

    wait_for_sample(stack, "deleted", 2)
    # The first window is told by the attempt that met the conflict: rows go before states.
    assert windows(stack, "deleted") == [(NOW - ago * MINUTE, 3, 0.3, 0.6) for ago in (4, 3)]


def test_killed_functions_host_loses_and_doubles_nothing(stack):
    nodes = [f"killed-{index}" for index in range(5)]
    for seq, ago in ((1, 5), (2, 4)):
        stack.publish(*(minute(node, seq, ago) for node in nodes))
    eventually(lambda: sample_time(stack, nodes[-1]), "the first snapshot")

    stack.publish(*(minute(node, 3, 3) for node in nodes))
    stack.host.kill()
    stack.publish(*(minute(node, 4, 2) for node in nodes))
    stack.start_host()
    stack.publish(*(minute(node, 5, 1) for node in nodes))

    for node in nodes:
        wait_for_sample(stack, node, 1)
        assert windows(stack, node) == [(NOW - ago * MINUTE, 3, 0.3, 0.6) for ago in (5, 4, 3, 2)]


def test_node_that_falls_silent_is_marked_its_window_told_and_it_comes_back(stack):
    received = NOW - SILENT_AFTER_SECONDS * 1000 - MINUTE
    ago = (NOW - received) // MINUTE
    _ingest_in_the_past(stack, minute("quiet", 1, ago), received)
    stack.publish(minute("talking", 1, 4))
    wait_for_sample(stack, "talking", 4)
    assert stack.snapshot(CLUSTER, "quiet")["status"] == "live"

    stack.sweep()

    eventually(lambda: stack.snapshot(CLUSTER, "quiet")["status"] == "silent", "that the node is silent")
    assert stack.snapshot(CLUSTER, "talking")["status"] == "live"
    assert windows(stack, "quiet") == [(NOW - ago * MINUTE, 3, 0.3, 0.6)]
    (anomaly,) = stack.query("NodeAnomalies() | where Node == 'quiet'")
    assert anomaly["Kind"] == "silent"
    assert anomaly["Score"] == 1.0
    assert anomaly["Value"] >= SILENT_AFTER_SECONDS
    listed = stack.get("/api/nodes", params={"status": "silent"}).json()["nodes"]
    assert [node["node"] for node in listed] == ["quiet"]

    stack.sweep()
    stack.publish(minute("quiet", 2, 2))

    wait_for_sample(stack, "quiet", 2)
    assert stack.snapshot(CLUSTER, "quiet")["status"] == "live"
    told = stack.query("NodeAnomalies() | where Node == 'quiet' | order by WindowStart asc, State asc")
    assert [(row["State"], row["IncidentId"]) for row in told] == [
        ("begin", anomaly["IncidentId"]),
        ("end", anomaly["IncidentId"]),
    ]
    assert [(row["Kind"], row["IsOver"]) for row in stack.query("Incidents() | where Node == 'quiet'")] == [
        ("silent", True)
    ]
    assert stack.get("/api/nodes", params={"status": "silent"}).json()["nodes"] == []


def _ingest_in_the_past(stack, sent, received_ms):
    """Commits an envelope as it would have been, had Event Hubs received it then; nothing waits in a test."""
    ingest = Ingest(TableStateStore(stack.states), MemoryRowSink(), MemoryDeadLetters(), Watch())
    report = ingest.run([Event(encode(sent), Position("telemetry", "0", 0, received_ms))])
    assert report.stored == 1


def test_node_that_moves_to_another_cluster_is_a_node_of_its_own_there(stack):
    stack.publish(minute("moving", 1, 4, cluster="old"), minute("moving", 2, 3, cluster="old"))
    stack.publish(minute("moving", 3, 2, (0.5,), cluster="new"), minute("moving", 4, 1, cluster="new"))

    wait_for_sample(stack, "moving", 1, cluster="new")

    assert sample_time(stack, "moving", "old") == timestamp(NOW - 3 * MINUTE + 20_000)
    assert windows(stack, "moving") == [(NOW - 2 * MINUTE, 1, 0.5, 0.5), (NOW - 4 * MINUTE, 3, 0.3, 0.6)]
