"""The fleet model within ingest and sweep: scores in rows, incidents in the node's state, nothing lost by failures."""

from functools import cache

import numpy as np
import orjson
import pytest

from functions.adapters.memory import MemoryDeadLetters, MemoryMaintenanceCalendar, MemoryRowSink, MemoryStateStore
from functions.core.fleet_model.training import fit, split
from functions.core.ingest import Ingest
from functions.core.ports import Event, Position
from functions.core.sweep import Sweep
from functions.core.watch import Watch
from telemetry.catalogue import NODE_METRICS
from telemetry.envelope import encode
from telemetry.errors import SinkUnavailable
from telemetry.tables import FEATURES, NODE_ANOMALIES_TABLE, NODE_METRICS_TABLE, SCORED
from tests.builders import envelope
from tests.fleet_rows import fleet_rows

POOL = ("aks-test", "user")
START = 29_832_480 + 8 * 1440
ROWS = fleet_rows(hours=2, step=1, start=START, pools=(POOL,))
USUAL = ROWS.features.reshape(-1, 8, len(FEATURES))[:, 2]
MEMORY, PROCESSES = FEATURES.index("MemoryUtilization"), FEATURES.index("Processes")


@cache
def trained():
    """Not made while tests are collected: training takes a second's imports."""
    return fit(split(fleet_rows(hours=7 * 24, pools=(POOL,))), "m")


class Chain:
    def __init__(self):
        self.store, self.sink, self.model = MemoryStateStore(), MemoryRowSink(), trained()
        self.seq = 0
        self.restart()

    def restart(self):
        """Another instance, which knows what is stored and nothing else."""
        self.ingest = Ingest(self.store, self.sink, MemoryDeadLetters(), Watch(), None, lambda: self.model)

    def event(self, minute, factor=1.0, pool="user"):
        self.seq += 1
        features = USUAL[minute].copy()
        features[PROCESSES] *= factor
        known = {NODE_METRICS[index].key: [features[place]] * 3 for place, index in enumerate(SCORED)}
        known = {key: values for key, values in known.items() if not np.isnan(values[0])}
        told = envelope(self.seq, start=(START + minute) * 60_000, metrics=known, resource={"pool": pool})
        return Event(encode(told), Position("hub", "0", self.seq, (START + minute) * 60_000 + 1000))

    def live(self, minutes, factor=1.0):
        for minute in minutes:
            self.ingest.run([self.event(minute, factor)])

    def rows(self, table):
        return [orjson.loads(row) for row in self.sink.tables[table]]

    def told(self):
        return [(row["Kind"], row["State"]) for row in self.rows(NODE_ANOMALIES_TABLE) if row["Kind"] == "outlier"]


def test_rows_carry_the_score_and_null_without_a_model():
    chain = Chain()
    chain.live(range(3))
    chain.live([3], factor=6.0)
    chain.live([4])
    chain.model = None
    chain.live([5, 6])

    scores = [row["FleetScore"] for row in chain.rows(NODE_METRICS_TABLE)]
    assert all(0 <= score < 0.999 for score in scores[:3])
    assert scores[3] >= 0.999
    assert scores[4:] == [None, None]


def test_pool_nobody_knows_has_null():
    chain = Chain()
    chain.ingest.run([chain.event(0, pool="other")])
    chain.ingest.run([chain.event(1, pool="other")])

    assert [row["FleetScore"] for row in chain.rows(NODE_METRICS_TABLE)] == [None]


def test_incident_goes_on_in_another_instance():
    chain = Chain()
    for minute in range(40):
        chain.restart()
        chain.live([minute], factor=6.0 if minute >= 5 else 1.0)

    assert chain.told() == [("outlier", "begin")]
    row = next(row for row in chain.rows(NODE_ANOMALIES_TABLE) if row["Kind"] == "outlier")
    assert row["Metric"] == "Processes"
    assert row["Explanation"].startswith("unlike its pool: Processes ")


def test_batch_that_failed_and_runs_again_counts_once():
    chain = Chain()
    chain.live(range(12), factor=6.0)
    before = chain.told()
    event = chain.event(12, 6.0)
    chain.sink.faults.fail("write")
    with pytest.raises(SinkUnavailable):
        chain.ingest.run([event])
    chain.ingest.run([event])
    chain.live(range(13, 20), factor=6.0)

    assert before in ([], [("outlier", "begin")])
    assert chain.told() == [("outlier", "begin")]


def test_node_that_falls_silent_ends_its_incident():
    chain = Chain()
    chain.live(range(20), factor=6.0)
    sweep = Sweep(chain.store, chain.sink, MemoryMaintenanceCalendar(), silent_after_ms=180_000)

    assert sweep.run((START + 60) * 60_000) == [("aks-test", "node-1")]

    assert chain.told() == [("outlier", "begin"), ("outlier", "end")]
    begun, ended = (row["IncidentId"] for row in chain.rows(NODE_ANOMALIES_TABLE) if row["Kind"] == "outlier")
    assert begun == ended
