"""Simulated fleets: what is planned, what sources decide, and that they are fed strictly in order."""

import math

import numpy as np
import pytest

from bench.eval import fleet
from bench.eval.crew import Crew
from bench.eval.fleet import decide, fleet_result, fleet_tasks
from bench.eval.fleet_score import MOVED, Told, recall
from bench.eval.incidents import Incident
from bench.eval.minute_features import START_MS, Minutes
from bench.eval.progress import Progress
from bench.eval.schedule import DAY, FAULT_KINDS, SPREAD, WITHOUT_METRICS, labels, plan
from bench.eval.silence_and_clocks import SILENT_AFTER_MS, Heard, hear
from bench.eval.sources import OUTLIERS, SOURCES
from local.fleet.faults import FAULTS
from telemetry.tables import FEATURES


def test_a_plan_has_every_kind_of_fault_on_half_of_the_nodes_and_leaves_the_others_healthy():
    found = labels(plan(40, 14, 3).faults, 14, are_faults=True)

    first = [label for label in found if not label.again]
    assert sorted(label.kind for label in first) == sorted(FAULT_KINDS * 2)
    assert len(first) == len({label.node for label in found}) == 20


def test_faults_of_hours_come_back_on_every_second_node_well_apart():
    found = labels(plan(40, 14, 3).faults, 14, are_faults=True)

    again = [label for label in found if label.again]
    assert sorted(label.kind for label in again) == sorted(set(FAULT_KINDS) - {"disk_filling_slowly"})
    for seed in range(20):
        found = labels(plan(40, 14, seed).faults, 14, are_faults=True)
        for label in (one for one in found if one.again):
            (before,) = [one for one in found if one.node == label.node and not one.again]
            assert before.kind == label.kind
            assert label.start - before.end >= 6 * 3600


@pytest.mark.parametrize(("nodes", "days"), [(40, 5), (200, 14), (20, 3)])
def test_faults_lie_in_the_second_half_and_are_near_the_defaults(nodes, days):
    for seed in range(5):
        for fault in plan(nodes, days, seed).faults:
            if fault.is_fault:
                kind = FAULTS[fault.name]
                assert fault.after >= days * DAY / 2
                assert fault.after + fault.duration <= days * DAY
                assert 1 / SPREAD <= abs(fault.magnitude) / kind.default_magnitude <= SPREAD
                assert kind.magnitude_range[0] <= fault.magnitude <= kind.magnitude_range[1]


def test_backups_come_every_night_and_deployment_waves_on_working_days_on_every_node():
    events = labels(plan(40, 14, 1).faults, 14, are_faults=False)

    backups = [label for label in events if label.kind == "nightly_backup"]
    waves = [label for label in events if label.kind == "deployment_wave"]
    assert len(backups) == 14 * 40
    assert {label.start // DAY for label in waves} == {0, 2, 4, 8, 10}
    assert {label.node for label in waves} == set(range(40))


def test_a_seed_makes_one_plan_and_another_seed_another():
    assert plan(40, 5, 1) == plan(40, 5, 1)
    assert plan(40, 5, 1).faults != plan(40, 5, 2).faults


class Recorder:
    """A source that notes what it is fed and tells of what it is told to."""

    def __init__(self, nodes):
        self.nodes = nodes
        self.fed = []
        made.append(self)

    def feed(self, minute, nodes, features):
        self.fed.append((minute, nodes.tolist(), features.copy()))
        if len(self.fed) == 10:
            yield Incident(1, minute, "made up", "CpuUtilization")


made = []


def nobody(done, of):
    """Is told how much is done, and does not care."""


def evaluate(planned, sources):
    with Crew(1, Progress(every_seconds=1e9)) as crew:
        return fleet_result(planned, crew.results(crew.start("fleet", fleet_tasks(planned, sources))))


@pytest.fixture
def recorder(monkeypatch):
    made.clear()
    monkeypatch.setattr(fleet, "SOURCES", {**SOURCES, "recorder": Recorder})


def test_sources_are_fed_minute_by_minute_with_the_nodes_that_have_windows(recorder):
    planned = plan(6, 0.02, 1)._replace(faults=())

    told = decide(planned, (2, 5), ["recorder"], nobody)["recorder"]

    fed = made[0].fed
    assert [minute for minute, _, _ in fed] == [START_MS // 60_000 + minute for minute in range(planned.minutes)]
    assert all(nodes == [0, 1] for _, nodes, _ in fed)
    assert fed[0][2].shape == (2, len(FEATURES))
    assert [(one.node, one.at, one.metric) for one in told] == [(5, 600.0, "CpuUtilization")]


def test_a_node_that_is_gone_has_no_windows(recorder):
    gone = FAULTS["node_gone"]((5,), 300.0, 600.0, 1.0)

    decide(plan(6, 0.02, 1)._replace(faults=(gone,)), (2, 5), ["recorder"], nobody)

    alone = [minute for minute, (_, nodes, _) in enumerate(made[0].fed) if nodes == [0]]
    assert len(alone) in (9, 10)
    assert min(alone) in (5, 6)


@pytest.mark.parametrize(
    "name", [name for name in SOURCES if name != OUTLIERS]
)  # that one needs a week: test_eval_unlike.py
def test_sources_tell_of_a_jump_on_its_node_and_keep_quiet_about_the_others(name):
    random = np.random.default_rng(1)
    source = SOURCES[name](range(3))
    cpu = FEATURES.index("CpuUtilization")
    told = []

    for minute in range(700):
        features = random.normal(0.3, 0.003, (3, len(FEATURES))).clip(0.291, 0.309)
        if minute >= 600:
            features[1, cpu] = 0.95
        told += [one for one in source.feed(minute, np.arange(3), features) if one.minute >= 600]

    assert (told[0].node, told[0].metric) == (1, "CpuUtilization")
    assert told[0].minute <= 604
    assert all(one.node == 1 for one in told)


@pytest.mark.parametrize("name", SOURCES)
def test_a_sources_nodes_may_be_missing_and_keep_their_own_past(name):
    random = np.random.default_rng(1)
    source = SOURCES[name](range(2))

    for minute in range(400):
        levels = np.array([10.0, 1000.0])
        features = levels[:, None] + random.uniform(-0.5, 0.5, (2, len(FEATURES)))
        present = np.arange(2) if minute % 2 else np.array([1])
        told = list(source.feed(minute, present, features[present]))

    assert told == []


def test_a_node_that_is_gone_is_told_to_be_silent_by_the_core_itself_and_no_other_is():
    gone = FAULTS["node_gone"]((2,), 0.0, 600.0, 1.0)
    planned = plan(6, 1, 1)._replace(faults=(gone,))

    heard = hear(planned, nobody)

    (label,) = heard.faults
    assert [(one.node, one.kind) for one in heard.told] == [(2, "silent")]
    # its last envelope may be 30 s old when it goes, and sweep looks every 30 s
    assert SILENT_AFTER_MS / 1000 - 30 < heard.told[0].at - label.start <= SILENT_AFTER_MS / 1000 + 30


def test_an_evaluation_counts_every_fault_once():
    faults = tuple(FAULTS[name]((node,), 12_000.0, 600.0, 0.9) for node, name in enumerate(("io_stall", "node_gone")))

    found = evaluate(plan(6, 0.2, 1)._replace(faults=faults), ["product"])

    assert [one.label.kind for one in found.by_source["product"].faults] == ["io_stall"]
    assert [one.label.kind for one in found.whole_nodes.faults] == ["node_gone"]
    assert found.recall("product") == 1.0
    assert found.outcome_of("node_gone", "product").found == 1
    assert found.outcome_of("io_stall", "product").found == 1


def test_the_product_tells_of_incidents_and_of_what_it_foresees_and_each_false_alarm_of_either_counts(monkeypatch):
    class Forecaster:
        def __init__(self, nodes):
            self.nodes = nodes

        def feed(self, minute, levels):
            yield Incident(0, minute, "exhaustion", "MemoryUtilization")

    monkeypatch.setattr(fleet, "Foreseeing", Forecaster)
    faults = (FAULTS["io_stall"]((0,), 12_000.0, 600.0, 0.9),)

    found = evaluate(plan(6, 0.2, 1)._replace(faults=faults), ["product", "incidents"])

    assert found.by_source["incidents"].false_alarms == []
    foreseen = found.by_source["product"].false_alarms
    assert [(one.told.kind, one.told.metric) for one in foreseen] == [
        ("exhaustion", "MemoryUtilization")
    ] * fleet.GROUPS
    assert found.recall("product") == found.recall("incidents") == 1.0


class Perfect:
    """Knows the plan: tells of each fault when it begins."""

    def __init__(self, nodes):
        self.begins = {
            (place, math.ceil(label.start / 60)): label.kind
            for label in labels(WRONG.faults, WRONG.days, are_faults=True)
            for place, node in enumerate(nodes)
            if node == label.node
        }

    def feed(self, minute, nodes, features):
        for place in nodes.tolist():
            if (kind := self.begins.get((place, minute - START_MS // 60_000))) is not None:
                yield Incident(place, minute, kind, min(MOVED[kind], default=""))


class Silent:
    """Never tells of anything."""

    def __init__(self, nodes):
        pass

    def feed(self, minute, nodes, features):
        return iter(())


class Always:
    """Tells of every node in every minute."""

    def __init__(self, nodes):
        pass

    def feed(self, minute, nodes, features):
        return (Incident(place, minute, "always", "CpuUtilization") for place in nodes.tolist())


class Unlooked:
    """Windows that nobody looks at, made in no time."""

    def __init__(self, fleet, seed, nodes, faults):
        self.shape = (len(nodes), len(FEATURES))

    def chunks(self, minutes):
        yield Minutes(0, np.zeros((minutes, *self.shape)), np.zeros((0, *self.shape)))


def all_heard(planned, tell):
    """Silence and clocks as somebody perfect would tell of them."""
    faults = [one for one in labels(planned.faults, planned.days, are_faults=True) if one.kind in WITHOUT_METRICS]
    told = [Told(one.node, one.start + 60.0, one.kind, "") for one in faults]
    return Heard(faults, told, 0, planned.days * DAY)


WRONG = plan(40, 2, 5)


def test_an_oracle_finds_all_silence_nothing_and_who_always_alarms_is_mostly_wrong(monkeypatch):
    deciders = {"perfect": Perfect, "silent": Silent, "always": Always}
    monkeypatch.setattr(fleet, "SOURCES", {**SOURCES, **deciders})
    monkeypatch.setattr(fleet, "SimulatedNodes", Unlooked)
    monkeypatch.setattr(fleet, "hear", all_heard)

    found = evaluate(WRONG, list(deciders))

    perfect, silent, always = (found.by_source[name] for name in deciders)
    assert recall(perfect.first) == recall(perfect.again) == 1.0
    assert perfect.false_alarms == []
    assert all(one.named and one.delay <= 120 for one in perfect.faults)
    assert found.recall("perfect") == 1.0
    assert recall(silent.first) == recall(silent.again) == 0.0
    assert silent.false_alarms == []
    assert found.recall("silent") == pytest.approx(0.2)
    assert recall(always.first) == 1.0
    assert always.false_alarms_per_node_week > 10_000
    assert always.recall_by_chance > 0.99
