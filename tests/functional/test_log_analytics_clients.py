"""Microsoft's clients, unmodified, against the stand-in: only the two certificate variables are set."""

import argparse
import io
import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError
from azure.monitor.ingestion import LogsIngestionClient
from azure.monitor.query import LogsBatchQuery, LogsQueryClient, LogsQueryStatus
from log_analytics_process import RULE, STREAM, TOKEN, WORKSPACE, StaticToken, running_service

from local import kql


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    with running_service(tmp_path_factory.mktemp("service")) as service:
        yield service


@pytest.fixture(autouse=True)
def trusted(service, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(service.certificates.bundle))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(service.certificates.bundle))


def upload(service, rows):
    with LogsIngestionClient(service.url, StaticToken()) as client:
        client.upload(RULE, STREAM, rows)


def ask(service, query, timespan=None, **options):
    with LogsQueryClient(StaticToken(), endpoint=service.url) as client:
        return client.query_workspace(WORKSPACE, query, timespan=timespan, **options)


def test_row_that_was_uploaded_is_in_the_next_query(service):
    moment = datetime.now(UTC).replace(microsecond=123000)
    row = {"TimeGenerated": moment.isoformat(), "Node": "fresh", "Revision": 7, "Ratio": 0.5, "Ok": True}
    upload(service, [row | {"Bag": {"a": [1, "é"]}, "Undeclared": 1}])

    result = ask(service, 'Things_CL | where Node == "fresh"')

    table = result.tables[0]
    assert result.status == LogsQueryStatus.SUCCESS
    assert table.columns == ["TimeGenerated", "Node", "Revision", "Ratio", "Ok", "Bag"]
    assert table.columns_types == ["datetime", "string", "long", "real", "bool", "dynamic"]
    assert list(table.rows[0]) == [moment, "fresh", 7, 0.5, True, '{"a":[1,"é"]}']


ASYNCHRONOUS_UPLOAD = """
import asyncio, sys
from azure.monitor.ingestion.aio import LogsIngestionClient
from log_analytics_process import RULE, STREAM, StaticToken

class AsynchronousToken:
    async def get_token(self, *scopes, **_):
        return StaticToken().get_token()

async def main():
    async with LogsIngestionClient(sys.argv[1], AsynchronousToken()) as client:
        await client.upload(RULE, STREAM, [{"Node": "async"}])

asyncio.run(main())
"""


def test_asynchronous_client_uploads(service):
    # In a process of its own: aiohttp reads SSL_CERT_FILE when it is imported.
    paths = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[2])])
    command = [sys.executable, "-c", ASYNCHRONOUS_UPLOAD, service.url]

    finished = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True, timeout=60, check=False
    )

    assert finished.returncode == 0, finished.stderr
    assert len(ask(service, 'Things_CL | where Node == "async"').tables[0].rows) == 1


def test_batches_that_the_sdk_fills_to_its_limit_are_accepted(service):
    rows = [{"Node": "full", "Revision": number} for number in range(60_000)]  # several chunks of 1 MB

    upload(service, rows)

    result = ask(service, 'Things_CL | where Node == "full" | summarize n = count(), d = dcount(Revision)')
    assert list(result.tables[0].rows[0]) == [60_000, 60_000]


def test_row_sent_twice_is_there_twice_and_the_saved_function_reads_it_once(service):
    upload(service, [{"Node": "twice", "Revision": 1}])
    upload(service, [{"Node": "twice", "Revision": 1}])

    counts = [
        len(ask(service, f'{source} | where Node == "twice"').tables[0].rows) for source in ("Things_CL", "Things()")
    ]

    assert counts == [2, 1]


def test_timespan_filters_every_table_of_the_query_including_those_in_functions(service):
    hour = timedelta(hours=1)
    now = datetime.now(UTC)
    upload(service, [{"Node": "old", "TimeGenerated": (now - 5 * hour).isoformat()}, {"Node": "old"}])

    def nodes(timespan, source="Things_CL"):
        return ask(service, f'{source} | where Node == "old" | count', timespan).tables[0].rows[0][0]

    assert nodes(None) == 2
    assert nodes(hour) == 1
    assert nodes((now - 6 * hour, now - 4 * hour)) == 1
    assert nodes((now - 7 * hour, hour), "Things()") == 0
    assert nodes((now - 6 * hour, 2 * hour), "Things()") == 1


def test_statistics_come_when_asked_for(service):
    assert ask(service, "print 1").statistics is None
    assert ask(service, "print 1", include_statistics=True).statistics["query"]["executionTime"] >= 0


def test_batch_answers_each_query_in_order_and_apart(service):
    queries = [
        LogsBatchQuery(WORKSPACE, "print a = 1", timespan=None),
        LogsBatchQuery(WORKSPACE, "Nope_CL", timespan=None),
        LogsBatchQuery("another-workspace", "print a = 2", timespan=None),
        LogsBatchQuery(WORKSPACE, "print a = 3", timespan=timedelta(hours=1)),
    ]

    with LogsQueryClient(StaticToken(), endpoint=service.url) as client:
        first, second, third, fourth = client.query_batch(queries)

    assert [first.tables[0].rows[0][0], fourth.tables[0].rows[0][0]] == [1, 3]
    assert (second.code, "Nope_CL" in second.message) == ("BadArgumentError", True)
    assert third.code == "PathNotFoundError"


@pytest.mark.parametrize(
    ("query", "kind"),
    [
        ("Things_CL | wherex", "SyntaxError"),
        ("Things_CL | where Nope > 1", "SemanticError"),
        (".show tables", "SyntaxError"),
    ],
)
def test_wrong_query_raises_with_the_kind_of_mistake(service, query, kind):
    with pytest.raises(HttpResponseError) as raised:
        ask(service, query)

    assert raised.value.status_code == 400
    assert raised.value.error.code == "BadArgumentError"
    assert raised.value.error.innererror["code"] == kind


def test_wrong_token_is_refused_by_both_apis(service):
    with LogsIngestionClient(service.url, StaticToken("wrong")) as client, pytest.raises(ClientAuthenticationError):
        client.upload(RULE, STREAM, [{"Node": "never"}])
    with (
        LogsQueryClient(StaticToken("wrong"), endpoint=service.url) as client,
        pytest.raises(HttpResponseError) as raised,
    ):
        client.query_workspace(WORKSPACE, "print 1", timespan=None)

    assert raised.value.status_code == 403
    assert ask(service, 'Things_CL | where Node == "never" | count').tables[0].rows[0][0] == 0


def execute(service, *arguments, url=None):
    parser = argparse.ArgumentParser()
    kql.add_arguments(parser)
    output, errors = io.StringIO(), io.StringIO()
    code = kql.execute(
        parser.parse_args(arguments),
        endpoint=url or service.url,
        workspace_id=WORKSPACE,
        token=TOKEN,
        ca_bundle=service.certificates.bundle,
        output=output,
        errors=errors,
    )
    return code, output.getvalue(), errors.getvalue()


def test_kql_command_prints_the_answer(service):
    code, output, errors = execute(service, 'print Node = "a", Count = 2', "--json")

    assert (code, json.loads(output), errors) == (0, [{"Node": "a", "Count": 2}], "")


def test_kql_command_takes_a_timespan(service):
    upload(service, [{"Node": "span", "TimeGenerated": (datetime.now(UTC) - timedelta(hours=3)).isoformat()}])

    counts = [
        execute(service, 'Things_CL | where Node == "span" | count', "--csv", "--timespan", span)[1]
        for span in ("2h", "1d")
    ]

    assert counts == ["Count\n0\n", "Count\n1\n"]


def test_kql_command_says_what_is_wrong_with_the_query(service):
    code, output, errors = execute(service, "Nope_CL | take 1")

    assert (code, output) == (2, "")
    assert errors.startswith("kql: Failed to resolve table or column expression named 'Nope_CL'")


def test_kql_command_says_when_nobody_answers(service):
    code, _, errors = execute(service, "print 1", url="https://127.0.0.1:9")

    assert code == 2
    assert "https://127.0.0.1:9 does not answer" in errors
