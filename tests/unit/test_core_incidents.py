"""Incidents through the whole core: what NodeAnomalies_CL, NodeMetrics_CL and snapshots say of a node that has one."""

import json
from itertools import batched

import pytest

from functions.adapters.memory import (
    MemoryBlobs,
    MemoryDeadLetters,
    MemoryMaintenanceCalendar,
    MemoryRowSink,
    MemoryStateStore,
    Moment,
)
from functions.core.ingest import Ingest
from functions.core.policy.incidents import incident_id
from functions.core.policy.maintenance import MaintenanceWindow
from functions.core.snapshot import snapshot
from functions.core.sweep import Sweep
from functions.core.watch import Watch
from telemetry.envelope import encode
from telemetry.errors import SinkUnavailable, StateConflict
from telemetry.tables import NODE_ANOMALIES_TABLE, NODE_METRICS_TABLE, TABLES
from tests.builders import START, envelope, event
from tests.reckoning import rows_of

MINUTE = 60_000
QUIET = [0.20, 0.21, 0.19]
KEY = ("aks-test", "node-1")
WARM = 100 * QUIET
FAULT = [0.99] * 10


class Node:
    """A node that says its CPU utilization, a minute per envelope."""

    def __init__(self, *maintenance):
        self.store, self.sink, self.letters = MemoryStateStore(), MemoryRowSink(), MemoryDeadLetters()
        self.states, self.calendar = MemoryBlobs(), MemoryMaintenanceCalendar(*maintenance)
        self.ingest = self.another_instance()
        self.seq = 0
        self.ahead = 0

    def another_instance(self):
        watch = Watch(self.states, name="0")
        return Ingest(self.store, self.sink, self.letters, watch, self.calendar)

    def events(self, values, minute=None):
        for value in values:
            self.seq += 1
            start = START + (self.seq if minute is None else minute) * MINUTE
            said = envelope(
                self.seq, start=start + self.ahead, metrics={"cpu": [value] * 3}, resource={"pool": "pool1"}
            )
            yield event(encode(said), enqueued_ms=start + 24_000)

    def live(self, values, minute=None):
        for one in self.events(values, minute):
            self.ingest.run([one])

    def warm(self):
        """Says WARM, many minutes a batch as when catching up, which is quicker."""
        for batch in batched(self.events(WARM), 30, strict=True):
            self.ingest.run(batch)

    def sweep(self, now):
        return Sweep(self.store, self.sink, self.calendar, silent_after_ms=60_000).run(now)

    @property
    def rows(self):
        return rows_of(self.sink, NODE_ANOMALIES_TABLE)

    @property
    def node(self):
        return self.ingest.fleet.nodes[KEY]


@pytest.fixture
def node():
    return Node()


def test_a_healthy_node_has_no_incident(node):
    node.live(WARM)

    assert node.rows == []
    assert all(0 <= row["AnomalyScore"] < 0.5 for row in rows_of(node.sink, NODE_METRICS_TABLE))
    assert snapshot(node.node)["incident"] is None


def test_an_incident_is_a_row_that_says_everything(node):
    node.warm()
    node.live(FAULT)

    (row,) = node.rows
    assert set(row) == {column.name for column in TABLES[NODE_ANOMALIES_TABLE]}
    since = START // MINUTE + len(WARM) + 1
    assert (row["Cluster"], row["Node"], row["Pool"]) == (*KEY, "pool1")
    assert row["IncidentId"] == incident_id(*KEY, "unusual", since)
    assert (row["Kind"], row["State"], row["Severity"], row["Suppressed"]) == ("unusual", "begin", "Warning", False)
    assert row["Since"] == row["Metrics"][0]["Since"].replace("Z", ".000Z")
    assert (row["Metric"], row["Value"]) == ("CpuUtilization", 0.99)
    assert row["Lower"] <= 0.2 <= row["Upper"] < 0.99
    assert row["Explanation"].startswith("CpuUtilization 99 % (usually")
    told = rows_of(node.sink, NODE_METRICS_TABLE)[len(WARM) + 4]
    assert (row["WindowStart"], row["Revision"], row["Score"]) == (told["WindowStart"], 3, told["AnomalyScore"])


def test_rows_of_the_metrics_carry_the_score_and_the_metric(node):
    node.warm()
    node.live(FAULT)

    row = rows_of(node.sink, NODE_METRICS_TABLE)[-1]
    assert row["AnomalyScore"] > 0.5
    assert row["AnomalyMetric"] == "CpuUtilization"


def test_the_snapshot_shows_the_open_incident_and_the_list_names_it(node):
    node.warm()
    node.live(FAULT)

    shown = snapshot(node.node)["incident"]

    assert (shown["id"], shown["severity"]) == (node.rows[0]["IncidentId"], "Warning")
    assert shown["explanation"] == node.rows[0]["Explanation"]
    assert shown["metrics"][0]["metric"] == "CpuUtilization"
    assert shown["similar"] is None
    summary = node.store._states[KEY][0].summary
    assert (summary["IncidentId"], summary["Severity"]) == (shown["id"], "Warning")


def test_the_end_is_a_row_of_the_same_incident_and_the_snapshot_shows_it_no_more(node):
    node.warm()
    node.live([*FAULT, *QUIET * 6])

    begin, end = node.rows
    assert (end["IncidentId"], end["State"], end["Since"]) == (begin["IncidentId"], "end", begin["Since"])
    assert end["Explanation"].endswith("over after 10 min")
    assert snapshot(node.node)["incident"] is None
    assert node.store._states[KEY][0].summary["IncidentId"] == ""


def test_an_incident_survives_the_instance(node):
    node.warm()
    node.live(FAULT)

    node.ingest = node.another_instance()
    node.live(QUIET * 6)

    assert [row["State"] for row in node.rows] == ["begin", "end"]
    assert len({row["IncidentId"] for row in node.rows}) == 1


def test_a_batch_that_fails_and_runs_again_tells_and_teaches_the_same():
    steady, failing = Node(), Node()
    for one in (steady, failing):
        one.warm()

    for number, (one, other) in enumerate(zip(steady.events(FAULT), failing.events(FAULT), strict=True)):
        steady.ingest.run([one])
        if number % 2:
            failing.sink.faults.fail("write", Moment.BEFORE)
            with pytest.raises(SinkUnavailable):
                failing.ingest.run([other])
        failing.ingest.run([other])

    assert failing.rows == steady.rows
    assert rows_of(failing.sink, NODE_METRICS_TABLE) == rows_of(steady.sink, NODE_METRICS_TABLE)
    learnt = [one.ingest.watch.memory.take([KEY]).tobytes() for one in (steady, failing)]
    assert learnt[0] == learnt[1]


def test_late_samples_change_the_row_but_teach_nothing_and_begin_nothing(node):
    node.warm()
    node.live([0.2, 0.2])
    before = node.ingest.watch.memory.take([KEY]).tobytes()

    node.live([0.9], minute=node.seq - 1)

    assert node.ingest.watch.memory.take([KEY]).tobytes() == before
    assert rows_of(node.sink, NODE_METRICS_TABLE)[-1]["Revision"] == 6
    assert node.rows == []


def test_an_incident_in_maintenance_is_recorded_as_suppressed():
    node = Node(MaintenanceWindow("aks-test", 0, 2 * START, pool="pool1"))

    node.warm()
    node.live(FAULT)

    assert [row["Suppressed"] for row in node.rows] == [True]
    assert snapshot(node.node)["incident"]["suppressed"] is True


def test_a_calendar_that_cannot_be_read_stops_nothing(node):
    node.warm()
    node.calendar.faults.fail("windows")

    node.live(FAULT)

    assert len(node.rows) == 1
    assert [problem.split(":")[0] for problem in node.ingest.watch.problems] == [
        "maintenance is as it was known before"
    ]


def test_no_row_has_a_number_that_json_has_not(node):
    node.live([None, 0.2, None, 0.0, 1.0] * 40)

    for table in (NODE_METRICS_TABLE, NODE_ANOMALIES_TABLE):
        for row in node.sink.tables[table]:
            json.loads(row, parse_constant=lambda name: pytest.fail(f"{name} in a row"))


class TestSilence:
    def test_a_silent_node_is_told_with_the_seconds_and_its_last_window_is_not_judged(self, node):
        node.live(QUIET)

        assert node.sweep(START + (node.seq + 10) * MINUTE) == [KEY]

        (row,) = node.rows
        assert (row["Kind"], row["State"], row["Severity"], row["Metric"]) == ("silent", "begin", "Error", "")
        assert row["Value"] == 10 * 60 - 24
        assert row["Explanation"] == "nothing received for 576 s"
        assert rows_of(node.sink, NODE_METRICS_TABLE)[-1]["AnomalyScore"] is None

    def test_a_node_that_speaks_again_is_told_once(self, node):
        node.live(QUIET)
        node.sweep(START + 100 * MINUTE)
        node.seq += 200
        node.ingest = node.another_instance()

        node.live([0.2, 0.2])

        begin, end = node.rows
        assert (end["Kind"], end["State"], end["IncidentId"]) == ("silent", "end", begin["IncidentId"])
        assert end["Explanation"] == "the node reports again"

    def test_an_incident_of_a_node_that_falls_silent_is_over(self, node):
        node.warm()
        node.live(FAULT)

        node.sweep(2 * START)

        assert [(row["Kind"], row["State"]) for row in node.rows] == [
            ("unusual", "begin"),
            ("silent", "begin"),
            ("unusual", "end"),
        ]

    def test_a_node_that_speaks_while_it_is_marked_is_told_to_be_silent_and_no_longer(self, node):
        node.live(QUIET)
        commit = node.store.commit

        def speak_first(updates):
            node.store.commit = commit
            node.live([0.2])
            return commit(updates)

        node.store.commit = speak_first
        assert node.sweep(START + 100 * MINUTE) == []

        begin, end = node.rows
        assert (begin["State"], end["State"], end["IncidentId"]) == ("begin", "end", begin["IncidentId"])
        assert not node.node.silent

    def test_silence_in_maintenance_is_suppressed(self):
        node = Node(MaintenanceWindow("aks-test", 0, 2 * START, node="node-1"))
        node.live(QUIET)

        node.sweep(START + 100 * MINUTE)

        assert [row["Suppressed"] for row in node.rows] == [True]

    def test_the_detectors_memory_outlives_a_sweep_in_another_process(self, node):
        node.warm()
        before = node.ingest.watch.memory.take([KEY]).tobytes()
        node.sweep(START + (len(WARM) + 3) * MINUTE)

        said = list(node.events([0.2]))
        with pytest.raises(StateConflict):
            node.ingest.run(said)
        node.ingest.watch.prepare()

        assert node.ingest.watch.memory.take([KEY]).tobytes() == before


class TestClocks:
    def test_a_wrong_clock_is_an_incident_of_the_whole_node_until_it_is_right(self, node):
        node.live(QUIET * 2)
        node.ahead = 90_000
        node.live(QUIET * 3)
        node.ahead = 0
        node.live(QUIET * 3)

        begin, end = node.rows
        assert (begin["Kind"], begin["State"], begin["Metric"], begin["Value"]) == ("clock", "begin", "", 90.0)
        assert begin["Explanation"] == "the node's clock is 90 s ahead"
        assert (end["State"], end["IncidentId"]) == ("end", begin["IncidentId"])

    def test_a_clock_so_far_behind_that_everything_is_late_is_told_as_well(self, node):
        node.live(QUIET * 2)
        node.ahead = -600_000

        node.live(QUIET * 2)

        assert len(node.letters.letters) == 6
        assert [(row["Kind"], row["Value"]) for row in node.rows] == [("clock", -600.0)]
        assert node.rows[0]["Explanation"] == "the node's clock is 600 s behind"
