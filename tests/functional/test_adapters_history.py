"""LogAnalyticsHistory against the stand-in: whole answers by columns, or HistoryUnavailable that says why."""

import json
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from azure.monitor.ingestion import LogsIngestionClient
from azure.monitor.query import LogsQueryClient
from log_analytics_process import RULE, WORKSPACE, StaticToken, running_service

from functions.adapters.history import LogAnalyticsHistory
from functions.adapters.log_analytics import LogAnalyticsSink
from telemetry.errors import HistoryUnavailable

NOW = datetime.now(UTC).replace(microsecond=0)
AGO = NOW - timedelta(hours=3)


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    with running_service(tmp_path_factory.mktemp("history")) as service:
        bundle = str(service.certificates.bundle)
        rows = [
            {"TimeGenerated": (NOW - timedelta(hours=hours)).isoformat(), "Node": f"node-{hours}", "Revision": hours}
            for hours in range(6)
        ]
        with LogsIngestionClient(service.url, StaticToken(), connection_verify=bundle) as client:
            LogAnalyticsSink(client, RULE).write("Things_CL", [json.dumps(row).encode() for row in rows])
        yield service


@contextmanager
def asking(service, workspace=WORKSPACE):
    bundle = str(service.certificates.bundle)
    with LogsQueryClient(StaticToken(), endpoint=service.url, connection_verify=bundle, retry_total=0) as client:
        yield LogAnalyticsHistory(client, workspace)


def test_answer_comes_by_columns_and_holds_the_asked_time_only(service):
    with asking(service) as history:
        found = history.query("Things_CL | project Node, Revision | order by Revision asc", AGO, NOW)

    assert found == {"Node": ["node-0", "node-1", "node-2", "node-3"], "Revision": [0, 1, 2, 3]}


def test_no_row_is_an_empty_list_per_column(service):
    with asking(service) as history:
        found = history.query("Things_CL | where Node == 'nobody' | project Node, Revision", AGO, NOW)

    assert found == {"Node": [], "Revision": []}


def test_query_that_is_wrong_is_told_with_the_services_words(service):
    with asking(service) as history, pytest.raises(HistoryUnavailable, match="NoSuchTable_CL"):
        history.query("NoSuchTable_CL | take 1", AGO, NOW)


def test_workspace_that_is_not_there_is_told(service):
    unknown = "99999999-2222-3333-4444-555555555555"
    with asking(service, unknown) as history, pytest.raises(HistoryUnavailable, match="does not exist"):
        history.query("Things_CL", AGO, NOW)


def test_answer_that_is_too_large_is_refused_and_not_cut(service):
    with asking(service) as history, pytest.raises(HistoryUnavailable, match="ask for less"):
        history.query("range Number from 1 to 600000 step 1", AGO, NOW)
