"""What every RowSink promises (functions.core.ports)."""

import secrets

import orjson
import pytest

from telemetry.tables import NODE_ANOMALIES_TABLE, PIPELINE_RUNS_TABLE, TABLES
from tests.conformance.port_factories import ROW_SINKS


@pytest.fixture(params=ROW_SINKS)
def row_sink(request):
    with ROW_SINKS[request.param]() as sink:
        yield sink


def row(cluster, **changes):
    fields = {
        "TimeGenerated": "2026-09-21T14:13:00.000Z",
        "WindowStart": "2026-09-21T14:13:00.000Z",
        "Cluster": cluster,
        "Node": "node-1",
        "Pool": "user",
        "IncidentId": "0123456789abcdef",
        "Kind": "unusual",
        "State": "begin",
        "Severity": "Warning",
        "Suppressed": False,
        "Since": "2026-09-21T14:10:00.000Z",
        "Explanation": "CpuUtilization 98 %",
        "Revision": 6,
        "Metric": "CpuUtilization",
        "Score": 0.9,
        "Value": None,
        "Lower": 0.1,
        "Upper": 0.4,
        "Metrics": [{"Metric": "CpuUtilization", "Value": 0.98}],
    }
    assert set(fields) == {column.name for column in TABLES[NODE_ANOMALIES_TABLE]}
    return {**fields, **changes}


def written(under_test, cluster):
    """The rows of a cluster; a sink may be shared with other tests."""
    return [found for found in under_test.rows(NODE_ANOMALIES_TABLE) if found["Cluster"] == cluster]


@pytest.fixture
def cluster():
    return f"aks-{secrets.token_hex(6)}"


def test_every_row_is_there_when_write_returns(row_sink, cluster):
    rows = [row(cluster, Node=f"node-{index}") for index in range(5)]

    row_sink.sink.write(NODE_ANOMALIES_TABLE, [orjson.dumps(one) for one in rows])

    assert sorted(found["Node"] for found in written(row_sink, cluster)) == [one["Node"] for one in rows]
    assert {(found["Score"], found["Value"]) for found in written(row_sink, cluster)} == {(0.9, None)}


def test_more_rows_than_one_request_carries_arrive_whole(row_sink, cluster):
    rows = [row(cluster, Node=f"node-{index}", Metric="x" * 1000) for index in range(1200)]

    row_sink.sink.write(NODE_ANOMALIES_TABLE, [orjson.dumps(one) for one in rows])

    assert len({found["Node"] for found in written(row_sink, cluster)}) == 1200


def test_what_is_written_twice_is_there_twice(row_sink, cluster):
    """Readers de-duplicate by key; a sink that did would hide double counting."""
    for _ in range(2):
        row_sink.sink.write(NODE_ANOMALIES_TABLE, [orjson.dumps(row(cluster))])

    assert len(written(row_sink, cluster)) == 2


def test_tables_are_apart(row_sink, cluster):
    row_sink.sink.write(NODE_ANOMALIES_TABLE, [orjson.dumps(row(cluster))])

    assert all(found.get("Cluster") != cluster for found in row_sink.rows(PIPELINE_RUNS_TABLE))


def test_any_text_survives(row_sink, cluster):
    text = 'é\u4e2d\U0001f600 "quoted" \\ \' <b> \n\t'

    row_sink.sink.write(NODE_ANOMALIES_TABLE, [orjson.dumps(row(cluster, Metric=text))])

    assert [found["Metric"] for found in written(row_sink, cluster)] == [text]


def test_no_rows_are_no_rows(row_sink, cluster):
    row_sink.sink.write(NODE_ANOMALIES_TABLE, [])

    assert written(row_sink, cluster) == []
