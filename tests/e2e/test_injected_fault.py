"""A fault of a simulated node is an incident in KQL and in the snapshot, without waiting for detectors to learn."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

ROOT = Path(__file__).parents[2]
CLUSTER = "faulty"
SINCE = ["--since", "4h", "--minutes", "241", "--nodes", "2"]
FAULT = "noisy_neighbour:node=1,after=230m,duration=30m"
"""Begins ten minutes ago and still goes on."""


@pytest.fixture(scope="module")
def fleet(stack):
    """Two nodes whose last four hours are told at once, and that go on in real time; one of them has a fault."""
    command = [sys.executable, "-m", "local.fleet", "--cluster", CLUSTER, *SINCE, "--fault", FAULT]
    environment = {**os.environ, **stack.env_for_clients()}
    running = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL)
    yield running
    running.terminate()
    running.wait(30)


def test_an_injected_fault_is_an_incident_in_kql_and_in_the_snapshot(fleet, look, eventually):
    mine = f"| where Cluster == '{CLUSTER}' and tostring(Metrics) has 'CpuSteal'"
    begun = f"NodeAnomalies() {mine} and State == 'begin' | project Node, IncidentId, Explanation"
    ((node, identity, explanation),) = eventually(lambda: look.kql(begun), "the incident", 40)

    ((incident_node, is_over, severity),) = look.kql(
        f"Incidents() | where IncidentId == '{identity}' | project Node, IsOver, Severity"
    )
    snapshot = look.get(f"/api/nodes/{CLUSTER}/{node}")
    (listed,) = (one for one in look.nodes() if (one["cluster"], one["node"]) == (CLUSTER, node))
    assert "CpuSteal " in explanation
    assert (incident_node, is_over) == (node, False)
    assert (snapshot["incident"]["id"], snapshot["incident"]["severity"]) == (identity, severity)
    assert "CpuSteal" in {found["metric"] for found in snapshot["incident"]["metrics"]}
    assert listed["incident"] == {"id": identity, "severity": severity}
