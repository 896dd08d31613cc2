"""The saved functions of infra/queries/functions, run on rows whose answer is known."""

from datetime import datetime, timedelta
from pathlib import Path

import pytest

from local.log_analytics.columns import convert_rows
from local.log_analytics.kql_engine import KqlEngine, load_functions
from local.log_analytics.schema import Rule, Stream, Table
from local.log_analytics.store import LogStore

FOLDER = Path(__file__).parents[2] / "infra/queries/functions"
START = datetime(2026, 11, 1)
KEYS = {"TimeGenerated": "datetime", "WindowStart": "datetime", "Cluster": "string", "Node": "string"}
RUN_COUNTS = ("Received", "Stored", "Duplicates", "DeadLettered")
COLUMNS = {
    "NodeMetrics_CL": KEYS
    | {"Pool": "string", "Revision": "long", "CpuAvg": "real"}
    | dict.fromkeys(("Disks", "Pods", "Custom"), "dynamic"),
    "NodeAnomalies_CL": KEYS
    | dict.fromkeys(("Pool", "IncidentId", "Kind", "State", "Severity", "Metric", "Explanation"), "string")
    | {"Revision": "long", "Score": "real", "Suppressed": "boolean", "Since": "datetime", "Metrics": "dynamic"},
    "NodeForecasts_CL": KEYS
    | dict.fromkeys(("Pool", "Kind", "Metric", "Device", "IncidentId"), "string")
    | dict.fromkeys(("Confidence", "Value", "Limit", "SecondsLeft"), "real")
    | {"ForecastTime": "datetime"},
    "DeadLetters_CL": {
        "TimeGenerated": "datetime",
        "EventHub": "string",
        "PartitionId": "string",
        "SequenceNumber": "long",
        "Reason": "string",
    },
    "PipelineRuns_CL": {
        "TimeGenerated": "datetime",
        "WindowStart": "datetime",
        "RunId": "string",
        "DurationMs": "real",
        "LagMs": "real",
    }
    | dict.fromkeys(RUN_COUNTS, "long"),
}


@pytest.fixture
def workspace(tmp_path):
    tables = {name: Table(name, columns) for name, columns in COLUMNS.items()}
    streams = {name: Stream(name, columns, "source", name) for name, columns in COLUMNS.items()}
    store = LogStore(tmp_path, tables, Rule("dcr", streams), threads=1)
    engine = KqlEngine(tables, load_functions(FOLDER))

    class Workspace:
        def post(self, table, *rows):
            store.append(streams[table], convert_rows(rows, COLUMNS[table], START), START)

        def ask(self, query):
            store.apply_pending()
            statement = engine.translate(query)
            with store.cursor() as cursor:
                cursor.execute(statement.sql, statement.bind(START) or None)
                names = [column[0] for column in cursor.description]
                return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    yield Workspace()
    store.close()


def at(minutes):
    return (START + timedelta(minutes=minutes)).isoformat()


def test_node_metrics_reads_each_window_once_at_its_highest_revision(workspace):
    window = {"Cluster": "c", "Node": "n", "WindowStart": at(0)}
    workspace.post(
        "NodeMetrics_CL",
        window | {"Revision": 5, "CpuAvg": 0.5, "Disks": [{"device": "sda"}]},
        window | {"Revision": 6, "CpuAvg": 0.6},
        window | {"Revision": 6, "CpuAvg": 0.6},
        window | {"Revision": 4, "CpuAvg": 0.4},
        window | {"WindowStart": at(1), "Revision": 1, "CpuAvg": 0.1},
    )

    rows = workspace.ask("NodeMetrics() | order by WindowStart asc")

    assert [(row["Revision"], row["CpuAvg"], row["Disks"]) for row in rows] == [(6, 0.6, None), (1, 0.1, None)]
    assert set(rows[0]) == set(COLUMNS["NodeMetrics_CL"])
    assert list(rows[0])[:4] == ["Cluster", "Node", "WindowStart", "Revision"]


def test_pod_metrics_has_a_row_for_each_pod_of_each_window(workspace):
    window = {"Cluster": "c", "Node": "n", "Pool": "p", "WindowStart": at(0), "Revision": 1}
    web = {"Device": "shop/web-0", "Cpu": 0.25, "Memory": 100, "Receive": 1.5, "Transmit": None, "Volume": 0.5}
    workspace.post(
        "NodeMetrics_CL",
        window | {"Pods": [{"Device": "gone/gone", "Cpu": 9}]},
        window | {"Revision": 2, "Pods": [web | {"Storage": 7, "Restarts": 2}, {"Device": "kube-system/proxy"}]},
        window | {"Node": "without the collector"},
        window | {"Node": "without pods", "Pods": []},
    )

    rows = workspace.ask("PodMetrics() | order by Pod asc")

    assert [(row["Node"], row["Namespace"], row["Pod"]) for row in rows] == [
        ("n", "kube-system", "proxy"),
        ("n", "shop", "web-0"),
    ]
    assert rows[1] == {
        "TimeGenerated": START,
        "WindowStart": START,
        "Cluster": "c",
        "Node": "n",
        "Pool": "p",
        "Namespace": "shop",
        "Pod": "web-0",
        "Cpu": 0.25,
        "Memory": 100.0,
        "Receive": 1.5,
        "Transmit": None,
        "Volume": 0.5,
        "Storage": 7.0,
        "Restarts": 2.0,
    }


def test_custom_metrics_has_a_row_for_each_metric_and_device(workspace):
    window = {"Cluster": "c", "Node": "n", "Pool": "p", "WindowStart": at(0), "Revision": 1}
    values = {"acme.jobs": 3, "acme.gpu.utilization/gpu0": 0.5, "acme.queue.length/mail/out": 7}
    workspace.post(
        "NodeMetrics_CL",
        window | {"Custom": [{"Device": name, "Value": value} for name, value in values.items()]},
        window | {"Node": "without plug-ins"},
    )

    rows = workspace.ask("CustomMetrics()")

    assert sorted((row["Node"], row["Metric"], row["Device"], row["Value"]) for row in rows) == [
        ("n", "acme.gpu.utilization", "gpu0", 0.5),
        ("n", "acme.jobs", "", 3.0),
        ("n", "acme.queue.length", "mail/out", 7.0),
    ]


def told(minutes, state, identity="i", **changes):
    """A row of NodeAnomalies_CL."""
    return {
        "WindowStart": at(minutes),
        "Cluster": "c",
        "Node": "n",
        "Pool": "p",
        "IncidentId": identity,
        "Kind": "unusual",
        "State": state,
        "Severity": "Warning",
        "Suppressed": False,
        "Since": at(1),
        "Revision": 6,
        "Metric": "CpuSteal",
        "Metrics": [{"Metric": "CpuSteal"}],
        "Explanation": f"{state} {minutes}",
        **changes,
    }


def test_node_anomalies_reads_what_was_told_once_at_its_highest_revision(workspace):
    begin = told(3, "begin")
    workspace.post(
        "NodeAnomalies_CL",
        begin | {"Revision": 5, "Score": 0.8},
        begin | {"Score": 0.9},
        begin | {"Score": 0.9},
        told(9, "end", Score=0.1),
        told(3, "begin", identity="other", Score=0.7),
    )

    rows = workspace.ask("NodeAnomalies()")

    assert sorted((row["IncidentId"], row["State"], row["Score"]) for row in rows) == [
        ("i", "begin", 0.9),
        ("i", "end", 0.1),
        ("other", "begin", 0.7),
    ]


def test_incidents_has_one_row_for_each_with_its_worst_severity_and_its_latest_explanation(workspace):
    worse = told(5, "update", Severity="Error", Metric="DiskBusy")
    workspace.post("NodeAnomalies_CL", told(3, "begin"), told(3, "begin"), worse, told(30, "end", Severity="Error"))

    (row,) = workspace.ask("Incidents()")

    assert row["Metrics"] is not None
    del row["Metrics"]
    assert row == {
        "IncidentId": "i",
        "Cluster": "c",
        "Pool": "p",
        "Node": "n",
        "Kind": "unusual",
        "Severity": "Error",
        "Suppressed": False,
        "Since": START + timedelta(minutes=1),
        "Told": START + timedelta(minutes=3),
        "IsOver": True,
        "LastTold": START + timedelta(minutes=30),
        "Nodes": 1,
        "Metric": "CpuSteal",
        "Explanation": "end 30",
    }


def test_incidents_shows_what_is_open_newest_first(workspace):
    old = [told(3, "begin", "old"), told(20, "end", "old")]
    workspace.post("NodeAnomalies_CL", *old, told(40, "begin", "open", Since=at(38)))

    rows = workspace.ask("Incidents()")

    assert [(row["IncidentId"], row["IsOver"]) for row in rows] == [("open", False), ("old", True)]


def test_a_pools_incident_is_one_row_and_open_until_its_last_node_is_well(workspace):
    begun = [told(3 + place, "begin", Kind="pool", Node=node) for place, node in enumerate("abc")]
    workspace.post("NodeAnomalies_CL", *begun, told(30, "end", Kind="pool", Node="a"))
    (row,) = workspace.ask("Incidents()")
    assert (row["Node"], row["Nodes"], row["IsOver"], row["Told"]) == ("", 3, False, START + timedelta(minutes=3))

    workspace.post("NodeAnomalies_CL", *(told(31, "end", Kind="pool", Node=node) for node in "bc"))

    (row,) = workspace.ask("Incidents()")
    assert row["IsOver"]


def test_an_incident_is_suppressed_unless_it_outlasted_maintenance(workspace):
    during = told(3, "begin", Suppressed=True)
    workspace.post("NodeAnomalies_CL", during)
    assert [row["Suppressed"] for row in workspace.ask("Incidents()")] == [True]

    workspace.post("NodeAnomalies_CL", told(9, "update"))

    assert [row["Suppressed"] for row in workspace.ask("Incidents()")] == [False]


def foreseen(minutes, hours_left, **changes):
    """A row of NodeForecasts_CL about something that will be used up."""
    row = {
        "TimeGenerated": at(minutes),
        "WindowStart": at(minutes),
        "Cluster": "c",
        "Node": "n",
        "Pool": "p",
        "Kind": "exhaustion",
        "Metric": "FilesystemUtilization",
        "Device": "/",
        "ForecastTime": at(minutes + 60 * hours_left),
        "SecondsLeft": 3600 * hours_left,
        "Confidence": 0.9,
        "Value": 0.7,
        "Limit": 1.0,
        "IncidentId": "i",
    }
    return row | changes


def test_node_forecasts_reads_each_forecast_once(workspace):
    one = foreseen(-30, 5)
    demand = {"Kind": "demand", "Node": "", "Device": "", "Metric": "CpuUtilization"}
    workspace.post("NodeForecasts_CL", one, one, foreseen(-15, 5), foreseen(0, 1, **demand), foreseen(0, 2, **demand))

    rows = workspace.ask("NodeForecasts()")

    assert sorted((row["Kind"], row["WindowStart"], row["SecondsLeft"]) for row in rows) == [
        ("demand", START, 3600),
        ("demand", START, 7200),
        ("exhaustion", START - timedelta(minutes=30), 18_000),
        ("exhaustion", START - timedelta(minutes=15), 18_000),
    ]
    assert set(rows[0]) == set(COLUMNS["NodeForecasts_CL"])


def test_exhaustion_has_the_newest_forecast_of_what_is_still_foreseen_soonest_first(workspace):
    workspace.post(
        "NodeForecasts_CL",
        foreseen(-30, 5, Confidence=0.8),
        foreseen(-15, 4.45, Confidence=0.9),
        foreseen(-15, 1.75, Node="soon"),
        foreseen(-75, 3, Node="not any more"),
        foreseen(-15, 1, Kind="demand"),
    )

    rows = workspace.ask("Exhaustion()")

    assert [(row["Node"], row["HoursLeft"], row["Confidence"]) for row in rows] == [("soon", 1.5, 0.9), ("n", 4.2, 0.9)]
    assert rows[1] == {
        "Cluster": "c",
        "Pool": "p",
        "Node": "n",
        "Metric": "FilesystemUtilization",
        "Device": "/",
        "UsedUp": START + timedelta(hours=4.2),
        "HoursLeft": 4.2,
        "Confidence": 0.9,
        "Value": 0.7,
        "Limit": 1.0,
        "Told": START - timedelta(minutes=15),
        "IncidentId": "i",
    }


def test_dead_letters_reads_each_envelope_once(workspace):
    letter = {"EventHub": "h", "PartitionId": "0", "SequenceNumber": 7, "Reason": "schema"}
    workspace.post("DeadLetters_CL", letter, letter, letter | {"PartitionId": "1"}, letter | {"SequenceNumber": 8})

    rows = workspace.ask("DeadLetters()")

    assert sorted((row["PartitionId"], row["SequenceNumber"]) for row in rows) == [("0", 7), ("0", 8), ("1", 7)]


def test_pipeline_health_counts_each_run_once_and_shows_what_is_unaccounted(workspace):
    def run(identity, minutes, received, stored, duplicates, dead, lag):
        counts = dict(zip(RUN_COUNTS, (received, stored, duplicates, dead), strict=True))
        return {"RunId": identity, "WindowStart": at(minutes), "LagMs": lag, "DurationMs": lag * 2} | counts

    first = run("a", 1, 10, 7, 2, 1, 100)
    workspace.post("PipelineRuns_CL", first, first, run("b", 4, 5, 4, 0, 0, 300), run("c", 6, 1, 1, 0, 0, 50))

    rows = workspace.ask("PipelineHealth()")

    assert rows == [
        {
            "WindowStart": START,
            "Runs": 2,
            "Received": 15,
            "Stored": 11,
            "Duplicates": 2,
            "DeadLettered": 1,
            "Unaccounted": 1,
            "LagP95Ms": 300.0,
            "DurationP95Ms": 600.0,
        },
        {
            "WindowStart": START + timedelta(minutes=5),
            "Runs": 1,
            "Received": 1,
            "Stored": 1,
            "Duplicates": 0,
            "DeadLettered": 0,
            "Unaccounted": 0,
            "LagP95Ms": 50.0,
            "DurationP95Ms": 100.0,
        },
    ]
