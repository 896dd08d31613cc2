"""Pods on their whole way: Summary, collector, envelope, window, wide row, PodMetrics() in KQL."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from agent.collectors.kubernetes import KubernetesCollector
from agent.envelopes import EnvelopeBuilder, Identity
from agent.manual_clock import ManualClock
from agent.sampler import Sampler
from functions.adapters.memory import MemoryDeadLetters, MemoryRowSink, MemoryStateStore
from functions.core.ingest import Ingest
from functions.core.watch import Watch
from local.kubelet.node import SimulatedNode
from local.log_analytics.columns import convert_rows
from local.log_analytics.kql_engine import KqlEngine, load_functions
from local.log_analytics.schema import load_rule, load_tables
from local.log_analytics.store import LogStore
from telemetry.envelope import encode
from telemetry.tables import NODE_METRICS_TABLE
from telemetry.validation import validate
from tests.builders import START, event
from tests.reckoning import rows_of

INFRA = Path(__file__).parents[2] / "infra"
PODS = 20


class SimulatedKubelet:
    def __init__(self, node, clock):
        self._node, self._clock = node, clock

    def summary(self):
        return self._node.summary(self._clock.epoch_ms() / 1000)


@pytest.fixture(scope="module")
def row():
    """The wide row of a whole minute of a node whose agent also collects its pods."""
    clock = ManualClock(epoch_ms=START)
    node = SimulatedNode(PODS, started=START / 1000 - 3600, crash_every=3600)
    collector = KubernetesCollector(SimulatedKubelet(node, clock), clock.monotonic)
    sampler = Sampler([collector], clock, 10.0)
    builder = EnvelopeBuilder(
        Identity("aks-test", "node-1", "0123456789ab"), dict, samples_per_envelope=3, publish_interval=30
    )
    sink, letters = MemoryRowSink(), MemoryDeadLetters()
    ingest = Ingest(MemoryStateStore(), sink, letters, Watch())
    for _ in range(12):
        for envelope in builder.add(sampler.sample()):
            raw = encode(envelope)
            validate(raw, envelope.time[-1])
            ingest.run([event(raw, enqueued_ms=envelope.time[-1])])
        clock.advance(10)

    assert not letters.letters
    (row,) = rows_of(sink, NODE_METRICS_TABLE)
    return row


def test_the_row_has_every_pod_with_every_number(row):
    pods = {pod["Device"]: pod for pod in row["Pods"]}

    assert len(pods) == PODS
    assert {frozenset(pod) for pod in pods.values()} == {
        frozenset({"Device", "Cpu", "Memory", "Receive", "Transmit", "Volume", "Storage", "Restarts"})
    }
    missing = [name for name, pod in pods.items() if pod["Receive"] is None]
    assert sorted(missing) == sorted(name for name in pods if name.startswith("kube-system/")), "the host's network"
    assert all(0.001 < pod["Cpu"] < 0.4 for pod in pods.values())
    assert all(pod["Memory"] > 10 * 2**20 for pod in pods.values())


def test_a_minutes_mean_of_the_rates_is_near_the_truth(row):
    """The kubelet's whole seconds and the first sample without a rate cost a few per cent, no more."""
    node = SimulatedNode(PODS, started=START / 1000 - 3600, crash_every=3600)

    def received(second):
        stats = node.summary(START / 1000 + second)["pods"]
        return {f"{pod['podRef']['namespace']}/{pod['podRef']['name']}": pod["network"]["rxBytes"] for pod in stats}

    before, after = received(0), received(50)

    for pod in row["Pods"]:
        if pod["Receive"] is not None:
            truth = (after[pod["Device"]] - before[pod["Device"]]) / 50
            assert pod["Receive"] == pytest.approx(truth, rel=0.02)


def test_kql_has_a_row_for_every_pod_and_minute(row, tmp_path):
    tables = load_tables(INFRA / "log_analytics/tables.json")
    rule = load_rule(INFRA / "log_analytics/dcr.json", tables)
    store = LogStore(tmp_path, tables, rule, threads=1)
    engine = KqlEngine(tables, load_functions(INFRA / "queries/functions"))
    now = datetime.fromtimestamp(START / 1000 + 120, UTC).replace(tzinfo=None)
    try:
        for stream in rule.streams.values():
            if stream.table == NODE_METRICS_TABLE:
                store.append(stream, convert_rows([row, row], stream.columns, now), now)
        store.apply_pending()
        statement = engine.translate("PodMetrics() | order by Namespace asc, Pod asc")
        with store.cursor() as cursor:
            cursor.execute(statement.sql, statement.bind(now) or None)
            names = [column[0] for column in cursor.description]
            found = [dict(zip(names, each, strict=True)) for each in cursor.fetchall()]
    finally:
        store.close()

    by_name = {f"{each['Namespace']}/{each['Pod']}": each for each in found}
    assert len(found) == len(by_name) == PODS
    for pod in row["Pods"]:
        each = by_name[pod["Device"]]
        assert (each["Cluster"], each["Node"]) == ("aks-test", "node-1")
        assert {key: each[key] for key in pod if key != "Device"} == {k: v for k, v in pod.items() if k != "Device"}
