"""Train, score, drift, fall back: the fleet model on the whole chain, over rows as ingest stores them.

One story, each test a chapter of it: the next begins where the one before has ended.
"""

import time

import numpy as np
import orjson
import pytest
import requests
from azure.monitor.ingestion import LogsIngestionClient
from azure.storage.blob import ContainerClient
from function_app_stack import RULE_ID, running_stack
from functions_host_process import MASTER_KEY
from log_analytics_process import StaticToken

from functions.adapters.log_analytics import LogAnalyticsSink
from functions.bindings.services import FLEET_MODELS_CONTAINER
from functions.core.fleet_model.encoding import decode_model
from functions.core.fleet_model.history import COLUMNS
from functions.core.fleet_model.registry import POINTER
from functions.core.rows import timestamp
from telemetry.catalogue import NODE_METRICS
from telemetry.tables import FEATURES, NODE_METRICS_TABLE, SCORED
from tests.builders import envelope
from tests.eventually import eventually
from tests.fleet_rows import fleet_rows

STEP, HOURS, NODES = 15, 45, 8
NOW = int(time.time() // 60)
FIRST = (NOW - HOURS * 60) // STEP * STEP + 7
"""Of the windows that are asked for: seven minutes past every quarter of an hour."""
ROWS = fleet_rows(NODES, hours=HOURS - 1, step=STEP, start=FIRST)


class Models:
    """What is in the container of models."""

    def __init__(self, container):
        self._container = container

    def pointer(self):
        if not self._container.get_blob_client(POINTER).exists():
            return {"model": "", "outcome": "", "suspended": ""}
        return orjson.loads(self._container.download_blob(POINTER).readall())

    def change(self, **values):
        self._container.upload_blob(POINTER, orjson.dumps(self.pointer() | values), overwrite=True)

    def load(self, identity):
        return decode_model(self._container.download_blob(f"models/{identity}").readall())


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    """Begins when the timer of `drift` does not run before the end: at 20 past it checks and learns by itself."""
    until_timer = (20 * 60 - time.time()) % 3600
    if until_timer < 75:
        time.sleep(until_timer + 2)
    with running_stack(tmp_path_factory.mktemp("stack")) as stack:
        yield stack


@pytest.fixture(scope="module")
def models(stack):
    with ContainerClient.from_connection_string(stack.azurite.connection_string, FLEET_MODELS_CONTAINER) as container:
        yield Models(container)


def store(stack, rows, revision, factor=1.0):
    """Writes rows of NodeMetrics_CL; those of a higher revision replace others."""
    lines = [
        orjson.dumps(
            {
                "TimeGenerated": timestamp(int(minute) * 60_000),
                "WindowStart": timestamp(int(minute) * 60_000),
                "Cluster": "aks-test",
                "Node": f"n{node}",
                "Pool": "user",
                "Revision": revision,
                **dict(zip(COLUMNS, (factor * features).tolist(), strict=True)),
            }
        )
        for minute, node, features in zip(rows.minutes, rows.nodes, rows.features, strict=True)
    ]
    bundle = str(stack.log_analytics.certificates.bundle)
    with LogsIngestionClient(stack.log_analytics.url, StaticToken(), connection_verify=bundle) as client:
        LogAnalyticsSink(client, RULE_ID).write(NODE_METRICS_TABLE, lines)


def run(stack, name):
    response = requests.post(
        f"{stack.url}/admin/functions/{name}", json={"input": ""}, headers={"x-functions-key": MASTER_KEY}, timeout=10
    )
    assert response.status_code == 202, response.text


def restart(stack):
    """A new instance of the function app."""
    stack.host.kill()
    stack.start_host()


def check(stack, checks):
    """Runs `drift` and gives the rows of its check, which is the newest of so many."""
    run(stack, "drift")

    def found():
        rows = stack.query("ModelHealth() | where Measure == 'model' | order by TimeGenerated asc")
        return rows if len(rows) >= checks else None

    *_, newest = eventually(found, f"check number {checks}")
    at = timestamp(round(newest["WindowStart"].timestamp() * 1000))
    rows = stack.query(f"ModelHealth() | where WindowStart == datetime({at})")
    return {(row["Measure"], row["Feature"]): row for row in rows}


def told(seq, minute, features):
    """An envelope of three samples of node n1 with these features."""
    values = {NODE_METRICS[index].key: [features[place]] * 3 for place, index in enumerate(SCORED)}
    known = {key: column for key, column in values.items() if not np.isnan(column[0])}
    return envelope(seq, node="n1", start=minute * 60_000, metrics=known, resource={"pool": "user"})


def scores(stack, node="n1"):
    rows = stack.query(
        f"NodeMetrics() | where Node == '{node}' and isnotnull(AnomalyScore) | order by WindowStart asc"
        " | project WindowStart, FleetScore"
    )
    return [row["FleetScore"] for row in rows]


def test_training_over_stored_rows_promotes_a_model(stack, models):
    store(stack, ROWS, revision=6)

    run(stack, "train")

    pointer = eventually(lambda: models.pointer()["model"] and models.pointer(), "a promoted model")
    model = models.load(pointer["model"])
    assert pointer["outcome"].startswith("promoted: finds ")
    assert model.pools == (("aks-test", "user"),)
    assert set(model.features) == set(FEATURES) - {"Temperature"}
    assert model.facts["nodes"] == NODES
    assert sum(model.facts["rows"]) == len(ROWS)


def test_a_new_instance_scores_windows_with_it(stack):
    restart(stack)
    eventually(lambda: stack.get("/api/health").json().get("fleetModel") == "serving", "a model that serves")
    usual = np.median(ROWS.features[np.abs(ROWS.minutes - NOW + 1440) <= 30], axis=0)  # of all nodes: one may be odd
    odd = usual.copy()
    odd[FEATURES.index("MemoryUtilization")] = 0.99
    odd[FEATURES.index("Processes")] *= 5

    stack.publish(*(told(seq, NOW - 8 + seq, odd if seq == 3 else usual) for seq in range(1, 6)))

    found = eventually(lambda: len(scores(stack)) == 4 and scores(stack), "four windows with scores")
    assert found[2] >= 0.999
    assert all(0 <= score < 0.999 for place, score in enumerate(found) if place != 2)


def test_check_of_a_fleet_that_stays_as_it_was_is_calm(stack, models):
    rows = check(stack, 1)

    assert (rows["model", ""]["State"], rows["model", ""]["Status"]) == ("serving", "ok")
    assert {row["ModelId"] for row in rows.values()} == {models.pointer()["model"]}
    assert len([measure for measure, _ in rows if measure == "input_psi"]) == len(FEATURES) - 1


def test_fleet_that_has_changed_is_found_and_learnt_anew(stack, models):
    before = models.pointer()["model"]
    models.change(attempted_ms=0)
    store(stack, ROWS.where(ROWS.minutes >= NOW - 20 * 60), revision=7, factor=3.0)

    rows = check(stack, 2)

    assert (rows["model", ""]["Status"], rows["model", ""]["State"]) == ("drifted", "serving")
    assert rows["model", ""]["Detail"].startswith("promoted: ")
    assert rows["drifted_features", ""]["Status"] == "drifted"
    assert rows["input_psi", "MemoryUtilization"]["Value"] > 0.25
    assert models.pointer()["model"] != before


def test_model_that_drifts_again_at_once_is_suspended_and_the_app_says_so(stack, models):
    store(stack, ROWS.where(ROWS.minutes >= NOW - 20 * 60), revision=8, factor=40.0)

    rows = check(stack, 3)

    assert (rows["model", ""]["Status"], rows["model", ""]["State"]) == ("drifted", "suspended")
    assert rows["model", ""]["Detail"].startswith("the streaming detectors decide alone: ")
    assert models.pointer()["suspended"]
    before = len(scores(stack))
    restart(stack)
    eventually(lambda: stack.get("/api/health").json().get("fleetModel") == "suspended", "a suspended model")
    stack.publish(told(9, NOW, ROWS.features[-NODES + 1]), told(10, NOW + 1, ROWS.features[-NODES + 1]))
    found = eventually(lambda: len(scores(stack)) > before and scores(stack), "another window")
    assert found[-1] is None


def test_next_promotion_ends_the_suspension(stack, models):
    run(stack, "train")

    pointer = eventually(lambda: not models.pointer()["suspended"] and models.pointer(), "another promotion")
    assert pointer["model"] == models.load(pointer["model"]).id
