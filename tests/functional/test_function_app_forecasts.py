"""Forecasts on the real chain: rows in Log Analytics, the timer, what it tells in KQL, and the capacity endpoint."""

import math
import time
from datetime import UTC, datetime, timedelta

import orjson
import pytest
import requests
from azure.monitor.ingestion import LogsIngestionClient
from azure.storage.blob import ContainerClient
from function_app_stack import RULE_ID, running_stack
from functions_host_process import MASTER_KEY
from log_analytics_process import StaticToken

from functions.adapters.log_analytics import LogAnalyticsSink
from functions.bindings.services import FORECAST_STATES_CONTAINER
from functions.core.forecast.day_ahead import STEP_S
from functions.core.forecast.exhaustion_watch import BLOB as EXHAUSTION_BLOB
from tests.eventually import eventually

HOURS = 47
"""What Log Analytics takes as it is: older rows would be of now."""
NODES = ("leaking", "healthy")


def rows(now: datetime) -> list[bytes]:
    """A row every five minutes of two nodes; on one, /var leaks for ten hours and will be full in five."""
    found = []
    steps = HOURS * 3600 // STEP_S
    for number in range(steps):
        at = now - timedelta(seconds=STEP_S * (steps - number))
        left_h = (steps - number) * STEP_S / 3600
        for node in NODES:
            filled = max(0.0, 0.04 * (10 - left_h)) if node == "leaking" else 0.0
            used = 0.4 + filled + 0.001 * (number % 3)
            row = {
                "TimeGenerated": at.isoformat(),
                "WindowStart": at.isoformat(),
                "Cluster": "aks-forecast",
                "Node": node,
                "Pool": "user",
                "Revision": 6,
                "CpuUtilizationAvg": 0.5 + 0.3 * math.sin(2 * math.pi * at.timestamp() / 86_400),
                "MemoryUtilizationAvg": 0.4,
                "FileDescriptorUtilizationAvg": 0.01,
                "Filesystems": [
                    {"Device": "/", "Utilization": 0.3, "Inodes": 0.1},
                    {"Device": "/var", "Utilization": used, "Inodes": 0.1},
                ],
            }
            found.append(orjson.dumps(row))
    return found


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    with running_stack(tmp_path_factory.mktemp("forecasts")) as stack:
        yield stack


def run_timer(stack):
    answer = requests.post(
        f"{stack.url}/admin/functions/forecast", json={"input": ""}, headers={"x-functions-key": MASTER_KEY}, timeout=10
    )
    assert answer.status_code == 202, answer.text


def capacity(stack, **params):
    return stack.get("/api/capacity", params=params)


def test_a_leak_is_foreseen_and_told_and_the_pools_capacity_is_answered(stack):
    asked = {"cluster": "aks-forecast", "pool": "user"}
    assert capacity(stack, **asked).status_code == 503
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    bundle = str(stack.log_analytics.certificates.bundle)
    with LogsIngestionClient(stack.log_analytics.url, StaticToken(), connection_verify=bundle) as client:
        sink = LogAnalyticsSink(client, RULE_ID)
        sink.write("NodeMetrics_CL", rows(now))

    run_timer(stack)
    eventually(lambda: stack.query("Incidents() | where Kind == 'exhaustion'"), "an incident")

    (incident,) = stack.query("Incidents() | where Kind == 'exhaustion'")
    assert (incident["Node"], incident["Pool"], incident["Metric"]) == ("leaking", "user", "FilesystemUtilization")
    assert incident["IsOver"] is False
    assert incident["Suppressed"] is False
    assert incident["Explanation"].startswith("filesystem /var will be full in about ")
    (foreseen,) = stack.query("Exhaustion()")
    assert (foreseen["Node"], foreseen["Device"]) == ("leaking", "/var")
    assert 3 < foreseen["HoursLeft"] < 7
    assert foreseen["IncidentId"] == incident["IncidentId"]
    demand = stack.query(
        "NodeForecasts() | where Kind == 'demand' and Metric == 'CpuUtilization' | order by ForecastTime asc"
    )
    assert len(demand) == 96
    assert all(row["Lower"] <= row["Value"] <= row["Upper"] for row in demand)

    answer = capacity(stack, **asked, hours=12, target=0.5)

    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["nodes"]["current"] == 2
    assert 0.4 <= body["peak"]["value"] <= body["peak"]["upper"] < 4.0
    assert body["nodes"]["needed"] == math.ceil(body["peak"]["upper"] / 0.5)
    assert capacity(stack, **asked, hours=25).status_code == 400
    assert capacity(stack, cluster="aks-forecast", pool="none").status_code == 404
    assert stack.get("/api/capacity", params=asked, key="wrong").status_code == 401


def test_a_second_run_in_another_host_tells_nothing_twice(stack):
    forecasts = "{} | where Cluster == 'aks-forecast' | count"
    told = "NodeAnomalies_CL | where Cluster == 'aks-forecast' and State == 'begin' | count"
    assert stack.query(told)[0]["Count"] == 1
    stack.host.kill()
    stack.start_host()

    run_timer(stack)

    deadline = time.monotonic() + 2
    while time.monotonic() < deadline:
        stored, distinct = (
            stack.query(forecasts.format(of))[0]["Count"] for of in ("NodeForecasts_CL", "NodeForecasts()")
        )
        assert stored == distinct > 96
        assert stack.query(told)[0]["Count"] == 1
        time.sleep(0.2)
    assert capacity(stack, cluster="aks-forecast", pool="user").status_code == 200


def test_alarms_outlive_what_was_remembered_of_them(stack):
    (before,) = stack.query("Incidents() | where Kind == 'exhaustion'")
    states = ContainerClient.from_connection_string(stack.azurite.connection_string, FORECAST_STATES_CONTAINER)
    with states:
        states.delete_blob(EXHAUSTION_BLOB)

        run_timer(stack)

        eventually(lambda: states.get_blob_client(EXHAUSTION_BLOB).exists(), "a new state")
    (after,) = stack.query("Incidents() | where Kind == 'exhaustion'")
    assert (after["IncidentId"], after["Told"], after["IsOver"]) == (before["IncidentId"], before["Told"], False)
