"""Start, stop and sudden death of the stand-in."""

import asyncio
import json
import ssl
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
from log_analytics_process import TOKEN, WORKSPACE, running_service

AUTHORIZED = {"Authorization": f"Bearer {TOKEN}"}


@asynccontextmanager
async def session(service):
    context = ssl.create_default_context(cafile=str(service.certificates.ca))
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context), headers=AUTHORIZED) as http:
        yield http
    await asyncio.sleep(0.25)  # aiohttp's advice: TLS connections need a moment to close


async def nodes(service):
    async with session(service) as http:
        query = {"query": "Things_CL | summarize n = count() by Node"}
        async with http.post(f"{service.url}/v1/workspaces/{WORKSPACE}/query", json=query) as response:
            return dict((await response.json())["tables"][0]["rows"])


async def post(http, service, node):
    async with http.post(service.ingestion_url, json=[{"Node": node}]) as response:
        return response.status


async def test_every_acknowledged_row_survives_sigkill_exactly_once(tmp_path):
    acknowledged = []
    for life in range(3):
        with running_service(tmp_path) as service:
            async with session(service) as http:
                for number in range(100):
                    node = f"{life}-{number}"
                    assert await post(http, service, node) == 204
                    acknowledged.append(node)
                    if life == 1 and number == 50:
                        await nodes(service)  # part of this life is applied, part is not
            service.process.kill()
            service.process.wait()

    with running_service(tmp_path) as service:
        found = await nodes(service)

    assert found == dict.fromkeys(acknowledged, 1)


async def test_sigterm_applies_what_waits_and_ends_with_success(tmp_path):
    with running_service(tmp_path) as service:
        async with session(service) as http:
            assert await post(http, service, "last") == 204
        service.process.terminate()

        assert service.process.wait(30) == 0

    assert not list((tmp_path / "data" / "write-ahead-log").iterdir())


async def test_sigterm_does_not_wait_for_a_long_query(tmp_path):
    with running_service(tmp_path) as service:
        async with session(service) as http:
            url = f"{service.url}/v1/workspaces/{WORKSPACE}/query"
            query = (
                "range a from 1 to 1000000 step 1 | extend k = 1 "
                "| join kind=inner (range b from 1 to 1000000 step 1 | extend k = 1) on k | summarize sum(a * b % 7)"
            )
            asked = asyncio.create_task(http.post(url, json={"query": query}))
            done, _ = await asyncio.wait([asked], timeout=2)
            assert not done
            service.process.terminate()

            assert await asyncio.to_thread(service.process.wait, 20) == 0
            (answer,) = await asyncio.gather(asked, return_exceptions=True)
            if isinstance(answer, aiohttp.ClientResponse):  # it may still say 504
                answer.close()


async def test_requests_above_the_limit_of_the_rule_are_told_when_to_come_back(tmp_path):
    with running_service(tmp_path, "--requests-per-minute", "2") as service:
        async with session(service) as http:
            statuses = [await post(http, service, "a") for _ in range(2)]
            async with http.post(service.ingestion_url, json=[{"Node": "a"}]) as response:
                refused = response.status, int(response.headers["Retry-After"])
        found = await nodes(service)

    assert statuses == [204, 204]
    assert refused[0] == 429
    assert 1 <= refused[1] <= 60
    assert found == {"a": 2}


def test_start_with_a_wrong_schema_says_why_and_fails(tmp_path):
    (tmp_path / "tables.json").write_text('{"tables": {"T": {"Node": "string"}}}')
    paths = ["--data", "data", "--tables", "tables.json", "--dcr", "dcr.json", "--functions", "."]
    keys = ["--certificate", "c.pem", "--private-key", "k.pem"]

    finished = subprocess.run(
        [sys.executable, "-m", "local.log_analytics", *paths, *keys],
        cwd=tmp_path,
        env={"PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        timeout=60,
        check=False,
    )

    record = json.loads(finished.stderr.splitlines()[-1])
    assert finished.returncode == 1
    assert record["event"] == "cannot_start"
    assert "needs the column TimeGenerated" in record["error"]
