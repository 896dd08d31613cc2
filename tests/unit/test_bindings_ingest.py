"""The trigger's function on in-memory services: the books of its runs, whatever fails."""

import json
from datetime import UTC, datetime
from itertools import count
from types import SimpleNamespace

import azure.functions as func
import orjson
import pytest
from azure.functions.meta import Datum

from functions.adapters.memory import MemoryDeadLetters, MemoryRowSink, MemoryStateStore, Moment
from functions.bindings import ingest as module
from functions.bindings.services import Partition
from functions.core.ingest import Ingest
from functions.core.watch import Watch
from telemetry.envelope import encode
from telemetry.errors import SinkUnavailable, StoreUnavailable
from telemetry.tables import NODE_METRICS_TABLE, PIPELINE_RUNS_TABLE
from tests.builders import START, envelope

RECEIVED = datetime.fromtimestamp(START / 1000 + 60, UTC)


@pytest.fixture
def app(monkeypatch):
    store, sink, letters = MemoryStateStore(), MemoryRowSink(), MemoryDeadLetters()
    kept = {}

    def partition(name):
        return kept.setdefault(name, Partition(Ingest(store, sink, letters, Watch())))

    app = SimpleNamespace(store=store, sink=sink, letters=letters, partition=partition, kept=kept)
    monkeypatch.setattr(module, "services", lambda: app)
    return app


def batch(*bodies, partition="0", first=0, enqueued=RECEIVED):
    """Events as the library makes them of what the host sends."""
    context = json.dumps({"EventHubName": "telemetry", "PartitionId": partition})
    metadata = {"PartitionContext": Datum(context, "json")}
    numbers = count(first)
    return [
        func.EventHubEvent(body=body, trigger_metadata=metadata, enqueued_time=enqueued, sequence_number=next(numbers))
        for body in bodies
    ]


def books(app):
    rows = [orjson.loads(row) for row in app.sink.tables[PIPELINE_RUNS_TABLE]]
    return [tuple(row[name] for name in ("Received", "Stored", "Duplicates", "DeadLettered")) for row in rows]


def test_run_is_told_with_where_it_was_and_what_became_of_it(app):
    module.ingest(batch(encode(envelope(1)), encode(envelope(1)), b"poison", partition="3", first=41))

    (row,) = map(orjson.loads, app.sink.tables[PIPELINE_RUNS_TABLE])
    assert books(app) == [(3, 1, 1, 1)]
    assert (row["EventHub"], row["PartitionId"]) == ("telemetry", "3")
    assert (row["FirstSequenceNumber"], row["LastSequenceNumber"]) == (41, 43)
    assert row["LagMs"] > 0 and row["DurationMs"] >= 0
    assert [position.sequence for position in app.letters.letters] == [43]


def test_empty_batch_is_no_run(app):
    module.ingest([])

    assert books(app) == []


@pytest.mark.parametrize("zone", [UTC, None])
def test_enqueued_time_without_a_zone_is_utc(app, zone):
    module.ingest(batch(b"poison", enqueued=RECEIVED.replace(tzinfo=zone)))

    assert [position.enqueued_ms for position in app.letters.letters] == [START + 60_000]


def test_partitions_keep_their_nodes_apart(app):
    module.ingest(batch(encode(envelope(1)), partition="0"))
    module.ingest(batch(encode(envelope(1, node="node-2")), partition="1"))

    assert set(app.kept) == {"telemetry/0", "telemetry/1"}
    assert [list(kept.ingest.fleet.nodes) for kept in app.kept.values()] == [
        [("aks-test", "node-1")],
        [("aks-test", "node-2")],
    ]


def test_run_that_failed_before_its_commit_is_told_once_it_succeeds(app):
    events = batch(encode(envelope(1)))
    app.store.faults.fail("commit")
    with pytest.raises(StoreUnavailable):
        module.ingest(events)
    assert books(app) == []

    module.ingest(events)

    assert books(app) == [(1, 1, 0, 0)]


@pytest.mark.parametrize("attempts", [1, 3])
def test_run_whose_row_was_refused_after_the_commit_is_told_with_what_it_stored(app, attempts):
    events = batch(encode(envelope(1)), b"poison")
    app.sink.faults.fail("write", after_calls=1)  # the first call is the dead letter's row
    for _ in range(attempts):
        with pytest.raises(SinkUnavailable):
            module.ingest(events)
        app.sink.faults.fail("write")
    app.sink.faults.clear()

    module.ingest(events)

    assert books(app) == [(2, 1, 0, 1), (2, 0, 1, 1)]
    module.ingest(batch(encode(envelope(2)), first=2))
    assert books(app)[2:] == [(1, 1, 0, 0)]


def test_row_of_a_run_whose_answer_was_lost_is_told_again_under_its_own_id(app):
    events = batch(encode(envelope(1)))
    app.sink.faults.fail("write", Moment.AFTER)
    with pytest.raises(SinkUnavailable):
        module.ingest(events)

    module.ingest(events)

    runs = [orjson.loads(row)["RunId"] for row in app.sink.tables[PIPELINE_RUNS_TABLE]]
    assert runs[0] == runs[1] != runs[2]
    assert books(app) == [(1, 1, 0, 0), (1, 1, 0, 0), (1, 0, 1, 0)]


def test_batch_that_is_repeated_after_a_refused_row_stores_nothing_twice(app):
    events = batch(encode(envelope(1)), encode(envelope(2, start=START + 60_000)))
    app.sink.faults.fail("write")
    with pytest.raises(SinkUnavailable):
        module.ingest(events)

    module.ingest(events)

    assert books(app) == [(2, 2, 0, 0)]
    assert len(app.sink.tables[NODE_METRICS_TABLE]) == 1
