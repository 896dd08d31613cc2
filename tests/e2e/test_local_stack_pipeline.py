"""The whole chain on one machine: this machine's metrics arrive, and every program may die on the way."""

import re
import socket
import urllib.error
from datetime import UTC, datetime

import pytest

from local.supervisor.child import State

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

PROGRAMS = ("event-hubs", "azurite", "log-analytics", "functions", "agent")


def node_name():
    return re.sub(r"[^a-z0-9._-]", "-", socket.gethostname().lower())


def test_this_machines_metrics_are_served_over_http(look, eventually):
    eventually(lambda: [node for node in look.nodes() if node["node"] == node_name()], "this machine in the list")

    snapshot = look.get(f"/api/nodes/local/{node_name()}")

    assert snapshot["status"] == "live"
    age = datetime.now(UTC) - datetime.fromisoformat(snapshot["sampleTime"])
    assert age.total_seconds() < 60
    assert 0 < snapshot["metrics"]["system.memory.utilization"] <= 1


def test_a_wrong_key_is_refused(look):
    with pytest.raises(urllib.error.HTTPError) as refused:
        look.get("/api/nodes", key="no-key-of-this-stack")

    refused.value.close()
    assert refused.value.code == 401


def test_a_closed_window_is_found_by_kql(stack, look, eventually):
    start = stack.started.replace(second=0, microsecond=0).isoformat()
    query = f"NodeMetrics() | where WindowStart >= datetime({start}) | project Node, Revision, MemoryUtilizationAvg"

    rows = eventually(lambda: look.kql(query), "a closed window", 120)

    assert rows[0][0] == node_name()
    assert rows[0][1] >= 1
    assert 0 < rows[0][2] <= 1


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_killed_program_comes_back_where_it_was_and_data_flow_again(name, stack, look, eventually):
    process = stack.process(name)
    before, restarts = process.pid, process.restarts

    process.kill()
    killed = datetime.now(UTC)
    eventually(lambda: process.restarts > restarts and process.state is State.RUNNING, f"{name} running again")

    assert process.pid != before

    def fresh():
        (node,) = (node for node in look.nodes() if node["node"] == node_name())
        return datetime.fromisoformat(node["receivedTime"]) > killed

    eventually(fresh, f"envelopes received after {name} was killed", 90)
    runs = f"PipelineRuns_CL | where WindowStart > datetime({killed.isoformat()}) | project RunId"
    eventually(lambda: look.kql(runs), f"runs told of after {name} was killed", 90)


def test_no_envelope_was_lost_or_counted_twice(look, eventually):
    balanced = "PipelineHealth() | summarize Received = sum(Received), Unaccounted = sum(Unaccounted)"

    rows = eventually(lambda: look.kql(balanced), "the pipeline's books")

    assert rows[0][0] > 0
    assert rows[0][1] == 0


def test_with_restarting_off_a_killed_program_stays_down_until_it_is_started(stack, look, eventually):
    process = stack.process("functions")
    process.restart_when_dead = False
    try:
        process.kill()
        with pytest.raises(OSError, match="refused"):
            look.nodes()

        process.start()
    finally:
        process.restart_when_dead = True

    assert process.state is State.RUNNING
    eventually(look.nodes, "the snapshot after the start")
