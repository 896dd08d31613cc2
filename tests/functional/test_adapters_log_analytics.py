"""LogAnalyticsSink against the stand-in, with the credential the app has in Azure: a managed identity."""

import json
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import requests
from azure.identity import ManagedIdentityCredential
from azure.monitor.ingestion import LogsIngestionClient
from azure.monitor.query import LogsQueryClient
from log_analytics_process import RULE, TOKEN, WORKSPACE, StaticToken, running_service

from functions.adapters.log_analytics import LogAnalyticsSink
from functions.bindings import services
from functions.bindings.services import RETRIES, TIME_LIMITS, PromptRetry
from functions.core.bodies import MAX_BODY_BYTES
from telemetry.errors import SinkUnavailable


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    with running_service(tmp_path_factory.mktemp("service"), "--faults") as service:
        yield service


@pytest.fixture(autouse=True)
def healthy(service, monkeypatch):
    order_faults(service)
    monkeypatch.setattr(services, "LONGEST_RETRY_AFTER", 0.05)


@pytest.fixture
def sink(service):
    with open_sink(service) as sink:
        yield sink


@contextmanager
def open_sink(service, credential=None, rule=RULE, url=None):
    bundle = str(service.certificates.bundle)
    with LogsIngestionClient(
        url or service.url,
        credential or StaticToken(),
        retry_policy=PromptRetry(**RETRIES),
        connection_verify=bundle,
        **TIME_LIMITS,
    ) as client:
        yield LogAnalyticsSink(client, rule)


def order_faults(service, **faults):
    bundle = str(service.certificates.bundle)
    answer = requests.post(f"{service.url}/faults", json=faults, verify=bundle, timeout=10)
    assert answer.status_code == 200, answer.text


def fault_counts(service):
    bundle = str(service.certificates.bundle)
    return requests.get(f"{service.url}/faults", verify=bundle, timeout=10).json()["counts"]


def row(node, **values):
    return json.dumps({"TimeGenerated": datetime.now(UTC).isoformat(), "Node": node, **values}).encode()


def ask(service, query):
    bundle = str(service.certificates.bundle)
    with LogsQueryClient(StaticToken(), endpoint=service.url, connection_verify=bundle) as client:
        table = client.query_workspace(WORKSPACE, query, timespan=None).tables[0]
        return [list(found) for found in table.rows]


def test_rows_are_in_their_table_when_write_returns(service, sink):
    sink.write("Things_CL", [row("arrived", Revision=1), row("arrived", Revision=2, Bag={"é": [1]})])

    found = ask(service, "Things_CL | where Node == 'arrived' | order by Revision asc | project Revision, Bag")
    assert found == [[1, None], [2, '{"é":[1]}']]


def test_no_rows_are_no_request(service):
    with open_sink(service, url="https://127.0.0.1:1") as sink:
        sink.write("Things_CL", [])


def test_more_rows_than_a_call_takes_arrive_in_several(service, sink):
    rows = [row("several", Revision=index, Bag={"filler": "x" * 50_000}) for index in range(40)]
    assert sum(map(len, rows)) > 2 * MAX_BODY_BYTES

    sink.write("Things_CL", rows)

    assert fault_counts(service)["none"] == 3
    found = ask(service, "Things_CL | where Node == 'several' | summarize count(), dcount(Revision)")
    assert found == [[40, 40]]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 429, 500, 502, 503])
def test_refusal_is_sink_unavailable_whatever_its_status(service, sink, status):
    order_faults(service, status_codes=[status], ratio=1.0)

    with pytest.raises(SinkUnavailable, match="Things_CL"):
        sink.write("Things_CL", [row("refused")])

    order_faults(service)
    assert ask(service, "Things_CL | where Node == 'refused'") == []


def test_hiccup_is_bridged_by_the_sdk(service, sink):
    order_faults(service, status_codes=[503], ratio=0.5, seed=1)

    for index in range(4):
        sink.write("Things_CL", [row("hiccup", Revision=index)])

    assert fault_counts(service).get("503", 0) > 0
    assert ask(service, "Things_CL | where Node == 'hiccup' | summarize dcount(Revision)") == [[4]]


def test_wrong_rule_table_and_token_are_sink_unavailable(service, sink):
    with open_sink(service, rule="dcr-unknown") as elsewhere, pytest.raises(SinkUnavailable):
        elsewhere.write("Things_CL", [row("wrong")])
    with open_sink(service, StaticToken("wrong")) as stranger, pytest.raises(SinkUnavailable):
        stranger.write("Things_CL", [row("wrong")])
    with pytest.raises(SinkUnavailable):
        sink.write("Unknown_CL", [row("wrong")])


def test_certificate_nobody_vouches_for_is_sink_unavailable(service):
    with (
        LogsIngestionClient(service.url, StaticToken(), retry_policy=PromptRetry(**RETRIES)) as client,
        pytest.raises(SinkUnavailable),
    ):
        LogAnalyticsSink(client, RULE).write("Things_CL", [row("unverified")])


@contextmanager
def identity_endpoint(monkeypatch, status, document):
    """The token endpoint of a Functions sandbox; yields the requests it got."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append((self.path, self.headers["X-IDENTITY-HEADER"]))
            body = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        monkeypatch.setenv("IDENTITY_ENDPOINT", f"http://127.0.0.1:{server.server_port}/msi/token")
        monkeypatch.setenv("IDENTITY_HEADER", "secret")
        try:
            yield asked
        finally:
            server.shutdown()
            thread.join(10)


def test_managed_identity_gets_one_token_for_many_writes(service, monkeypatch):
    granted = {
        "access_token": TOKEN,
        "expires_on": str(int(time.time()) + 3600),
        "token_type": "Bearer",
        "resource": "r",
    }
    with identity_endpoint(monkeypatch, 200, granted) as asked:
        credential = ManagedIdentityCredential(client_id="the-client", **TIME_LIMITS, **RETRIES)
        with credential, open_sink(service, credential) as sink:
            for index in range(3):
                sink.write("Things_CL", [row("identity", Revision=index)])

    assert len(asked) == 1
    path, header = asked[0]
    assert "resource=https" in path and "monitor.azure.com" in path and "client_id=the-client" in path
    assert header == "secret"
    assert ask(service, "Things_CL | where Node == 'identity' | count") == [[3]]


@pytest.mark.parametrize("status", [400, 403, 500])
def test_identity_that_gets_no_token_is_sink_unavailable(service, monkeypatch, status):
    with identity_endpoint(monkeypatch, status, {"statusCode": status, "message": "no"}):
        credential = ManagedIdentityCredential(**TIME_LIMITS, **RETRIES)
        with credential, open_sink(service, credential) as sink, pytest.raises(SinkUnavailable):
            sink.write("Things_CL", [row("nobody")])


def test_identity_endpoint_that_is_down_is_sink_unavailable(service, monkeypatch, free_port):
    monkeypatch.setenv("IDENTITY_ENDPOINT", f"http://127.0.0.1:{free_port()}/msi/token")
    monkeypatch.setenv("IDENTITY_HEADER", "secret")
    credential = ManagedIdentityCredential(**TIME_LIMITS, **RETRIES)

    with credential, open_sink(service, credential) as sink, pytest.raises(SinkUnavailable):
        sink.write("Things_CL", [row("nobody")])
