"""The stand-in's HTTP surface where the clients do not go: refusals, limits, faults, status."""

import asyncio
import gzip
import io
import ssl
import time

import aiohttp
import orjson
import pytest
import pytest_asyncio
from log_analytics_process import RULE, STREAM, TOKEN, WORKSPACE, running_service

pytestmark = pytest.mark.asyncio(loop_scope="module")

AUTHORIZED = {"Authorization": f"Bearer {TOKEN}"}
GZIP = {"Content-Encoding": "gzip"}
QUERY = f"/v1/workspaces/{WORKSPACE}/query"
INGEST = f"/dataCollectionRules/{RULE}/streams/{STREAM}?api-version=2023-01-01"
MB = 1024 * 1024
EMPTY_GZIP = gzip.compress(b"[]", mtime=0)  # the time would be in the test's name
BOMB = gzip.compress(b" " * 200 * MB, mtime=0)


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    flags = ("--faults", "--query-seconds", "20")
    with running_service(tmp_path_factory.mktemp("service"), *flags) as service:
        yield service


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def session(service):
    context = ssl.create_default_context(cafile=str(service.certificates.ca))
    connector = aiohttp.TCPConnector(ssl=context)
    async with aiohttp.ClientSession(service.url, connector=connector) as session:
        yield session
    await asyncio.sleep(0.25)  # aiohttp's advice: TLS connections need a moment to close


@pytest_asyncio.fixture(loop_scope="module")
async def http(session):
    yield session
    async with session.post("/faults", json={}) as response:
        assert response.status == 200


async def call(http, method, path, headers=AUTHORIZED, **options):
    async with http.request(method, path, headers=headers, **options) as response:
        body = await response.read()
        return response.status, orjson.loads(body) if body else None, response.headers


async def count(http, node):
    _, answer, _ = await call(http, "POST", QUERY, json={"query": f'Things_CL | where Node == "{node}" | count'})
    return answer["tables"][0]["rows"][0][0]


@pytest.mark.parametrize("compress", [False, True])
async def test_plain_and_gzip_bodies_are_accepted(http, compress):
    body = orjson.dumps([{"Node": f"body-{compress}"}])
    headers = AUTHORIZED | (GZIP if compress else {})

    status, answer, _ = await call(http, "POST", INGEST, headers, data=gzip.compress(body) if compress else body)

    assert (status, answer) == (204, None)
    assert await count(http, f"body-{compress}") == 1


@pytest.mark.parametrize(
    ("path", "headers", "body", "status", "code"),
    [
        (INGEST, {}, b"[]", 401, "Unauthorized"),
        (INGEST, {"Authorization": "Bearer wrong"}, b"[]", 401, "Unauthorized"),
        (INGEST, {"Authorization": f"Basic {TOKEN}"}, b"[]", 401, "Unauthorized"),
        (INGEST.replace(RULE, "dcr-other"), AUTHORIZED, b"[]", 404, "NotFound"),
        (INGEST.replace(STREAM, "Custom-Other"), AUTHORIZED, b"[]", 400, "InvalidStream"),
        (INGEST.partition("?")[0], AUTHORIZED, b"[]", 400, "InvalidApiVersion"),
        (INGEST.replace("2023-01-01", "1999-01-01"), AUTHORIZED, b"[]", 400, "InvalidApiVersion"),
        (INGEST, AUTHORIZED, b"", 400, "InvalidPayload"),
        (INGEST, AUTHORIZED, b"[{", 400, "InvalidPayload"),
        (INGEST, AUTHORIZED, b'{"Node": "a"}', 400, "InvalidPayload"),
        (INGEST, AUTHORIZED, b"[1]", 400, "InvalidPayload"),
        (INGEST, AUTHORIZED, b'[{"Node": "\\ud800"}]', 400, "InvalidPayload"),
        (INGEST, AUTHORIZED, b'[{"Bag": ' + b"[" * 900 + b"]" * 900 + b"}]", 400, "InvalidPayload"),
        (INGEST, AUTHORIZED | GZIP, b"[]", 400, "InvalidPayload"),
        (INGEST, AUTHORIZED | GZIP, EMPTY_GZIP[:-3], 400, "InvalidPayload"),
        (INGEST, AUTHORIZED | GZIP, EMPTY_GZIP + b"more", 400, "InvalidPayload"),
        (INGEST, AUTHORIZED | {"Content-Encoding": "br"}, b"[]", 415, "UnsupportedMediaType"),
        (INGEST, AUTHORIZED, b" " * (MB + 64 * 1024 + 1), 413, "ContentLengthLimitExceeded"),
        (INGEST, AUTHORIZED | GZIP, BOMB, 413, "ContentLengthLimitExceeded"),
        ("/nowhere", AUTHORIZED, b"[]", 404, "PathNotFoundError"),
    ],
)
async def test_post_that_the_service_would_refuse_is_refused(http, path, headers, body, status, code):
    answered, answer, _ = await call(http, "POST", path, headers, data=io.BytesIO(body))

    assert (answered, answer["error"]["code"]) == (status, code)
    assert answer["error"]["message"]


async def test_body_without_length_is_cut_off_at_the_limit(http):
    async def endless():
        for _ in range(30):
            yield b" " * MB

    try:
        status, _, _ = await call(http, "POST", INGEST, data=endless())
    except aiohttp.ClientConnectionError:  # the service may close while we still write
        status = 413

    assert status == 413


@pytest.mark.parametrize(
    ("path", "headers", "body", "status", "code"),
    [
        (QUERY, {}, {"query": "print 1"}, 401, "AuthenticationFailed"),
        (QUERY, {"Authorization": "Bearer wrong"}, {"query": "print 1"}, 403, "InvalidAuthenticationToken"),
        (QUERY.replace("1111", "9999"), AUTHORIZED, {"query": "print 1"}, 404, "PathNotFoundError"),
        (QUERY, AUTHORIZED, [], 400, "BadArgumentError"),
        (QUERY, AUTHORIZED, {}, 400, "BadArgumentError"),
        (QUERY, AUTHORIZED, {"query": 1}, 400, "BadArgumentError"),
        (QUERY, AUTHORIZED, {"query": "print 1", "timespan": "1h"}, 400, "BadArgumentError"),
        (QUERY, AUTHORIZED, {"query": "print 1", "timespan": 5}, 400, "BadArgumentError"),
        ("/v1/$batch", AUTHORIZED, {"requests": 1}, 400, "BadArgumentError"),
        ("/v1/$batch", AUTHORIZED, {"requests": [{}] * 101}, 400, "BadArgumentError"),
    ],
)
async def test_query_that_the_service_would_refuse_is_refused(http, path, headers, body, status, code):
    answered, answer, _ = await call(http, "POST", path, headers, json=body)

    assert (answered, answer["error"]["code"]) == (status, code)
    assert answer["error"]["message"]


async def test_query_body_that_is_not_json_is_refused(http):
    status, answer, _ = await call(http, "POST", QUERY, data=b"{")

    assert (status, answer["error"]["innererror"]["code"]) == (400, "BadArgumentError")


async def test_query_by_get(http):
    status, answer, _ = await call(http, "GET", QUERY, params={"query": "print a = 1", "timespan": "PT1H"})

    assert (status, answer["tables"][0]["rows"]) == (200, [[1]])


async def test_batch_entry_with_another_path_is_refused_alone(http):
    good = {"id": "1", "path": "/query", "workspace": WORKSPACE, "body": {"query": "print a = 1"}}

    _, answer, _ = await call(http, "POST", "/v1/$batch", json={"requests": [good, good | {"id": "2", "path": "/x"}]})

    assert [(entry["id"], entry["status"]) for entry in answer["responses"]] == [("1", 200), ("2", 404)]


LONG_QUERY = """
range a from 1 to 100000 step 1
| extend k = 1
| join kind=inner (range b from 1 to 100000 step 1 | extend k = 1) on k
| summarize sum(a * b % 7)
"""


async def test_query_over_its_time_is_stopped_while_ingestion_goes_on(http):
    started = time.monotonic()
    async with http.post(QUERY, headers=AUTHORIZED | {"Prefer": "wait=1"}, json={"query": LONG_QUERY}) as response:
        stopped = response.status, (await response.json())["error"]["code"]
    elapsed = time.monotonic() - started
    status, _, _ = await call(http, "POST", INGEST, data=b'[{"Node": "meanwhile"}]')

    assert stopped == (504, "GatewayTimeout")
    assert elapsed < 15
    assert status == 204


async def test_status_counts_rows_and_requests(http):
    _, before, _ = await call(http, "GET", "/status", headers={})
    await call(http, "POST", INGEST, data=b'[{"Node": "status"}, {"Node": "status"}]')
    assert await count(http, "status") == 2
    _, after, _ = await call(http, "GET", "/status", headers={})

    assert after["tables"]["Things_CL"] - before["tables"]["Things_CL"] >= 2
    assert after["pending_bytes"] == 0
    assert after["requests"]["ingestion"]["204"] - before["requests"]["ingestion"].get("204", 0) == 1


async def test_ordered_refusals_store_nothing_and_are_counted(http):
    order = {"status_codes": [429], "ratio": 1.0, "seed": 1}
    assert (await call(http, "POST", "/faults", headers={}, json=order))[0] == 200

    status, _, headers = await call(http, "POST", INGEST, data=b'[{"Node": "refused"}]')
    _, report, _ = await call(http, "GET", "/faults", headers={})

    assert (status, headers["Retry-After"]) == (429, "1")
    assert report["counts"] == {"429": 1}
    assert await count(http, "refused") == 0


async def test_answers_that_never_come_leave_rows_only_when_lost_on_the_way_back(http):
    order = {"timeout_ratio": 1.0, "timeout_seconds": 0, "seed": 3}
    await call(http, "POST", "/faults", headers={}, json=order)

    for _ in range(12):
        with pytest.raises(aiohttp.ClientConnectionError):
            await call(http, "POST", INGEST, data=b'[{"Node": "lost"}]')
    _, report, _ = await call(http, "GET", "/faults", headers={})

    counts = report["counts"]
    assert counts["timeout_before"] + counts["timeout_after"] == 12
    assert 0 < counts["timeout_after"] < 12
    assert await count(http, "lost") == counts["timeout_after"]


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"ratio": 7}'])
async def test_wrong_fault_order_is_refused_and_changes_nothing(http, body):
    status, answer, _ = await call(http, "POST", "/faults", headers={}, data=body)
    _, report, _ = await call(http, "GET", "/faults", headers={})

    assert (status, answer["error"]["code"]) == (400, "InvalidFaults")
    assert report["ratio"] == 0
