"""Training and checking on a made-up workspace: promotes what is better, mends what drifts, falls back, and says so."""

import re
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import numpy as np
import orjson
import pytest

from functions.adapters.kql_files import kql
from functions.adapters.memory import MemoryBlobs, MemoryRowSink
from functions.core.fleet_model.history import COLUMNS, Rows
from functions.core.fleet_model.registry import POINTER, Registry
from functions.core.fleet_model.upkeep import AGAIN_AFTER_MS, MOST_ROWS, State, Upkeep
from telemetry.errors import HistoryUnavailable, SinkUnavailable, StoreUnavailable
from telemetry.tables import MODEL_HEALTH_TABLE, TABLES
from tests.fleet_rows import MEMORY, START, TEMPERATURE, fleet_rows

DAY = 1440
NODES = 8


def moment(minute):
    return datetime.fromtimestamp(60 * minute, UTC)


def joined(*parts):
    return Rows(
        np.concatenate([part.minutes for part in parts]),
        np.concatenate([part.nodes for part in parts]),
        np.concatenate([part.pools for part in parts]),
        parts[0].names,
        np.concatenate([part.features for part in parts]),
    )


class Workspace:
    """`functions.core.ports.History` over made-up rows; answers the three queries of the fleet model."""

    def __init__(self, rows, nodes=NODES, incidents=()):
        self.rows, self.nodes, self.incidents = rows, nodes, list(incidents)
        self.steps, self.asked, self.fails = [], [], False

    def query(self, text, since, until):
        if self.fails:
            raise HistoryUnavailable("told to fail")
        self.asked.append((since, until))
        if "let Step" in text:
            self.steps.append(int(re.search(r"let Step = (\d+)m;", text)[1]))
            at = self.rows.minutes * 60.0
            chosen = np.flatnonzero((at >= since.timestamp()) & (at <= until.timestamp()))
            rows = self.rows.where(chosen)
            return {
                "WindowStart": [moment(int(minute)) for minute in rows.minutes],
                "Cluster": [rows.names[pool][0] for pool in rows.pools],
                "Pool": [rows.names[pool][1] for pool in rows.pools],
                "Node": [f"n{node}" for node in rows.nodes],
                **{column: rows.features[:, place].tolist() for place, column in enumerate(COLUMNS)},
            }
        if "NodeAnomalies" in text:
            names = ("Cluster", "Node", "IncidentId", "Kind", "Since", "Told", "Ends")
            return {name: [incident[place] for incident in self.incidents] for place, name in enumerate(names)}
        return {"Nodes": [self.nodes]}


class App:
    """An upkeep with everything it talks to, at a moment of the workspace's time."""

    def __init__(self, rows, days=6, **workspace):
        self.history, self.blobs, self.sink = Workspace(rows, **workspace), MemoryBlobs(), MemoryRowSink()
        self.registry = Registry(self.blobs)
        self.upkeep = Upkeep(self.history, kql, self.registry, self.sink, days=days)

    def train(self, minute):
        return self.upkeep.train(minute * 60_000)

    def check(self, minute):
        self.sink.tables.clear()
        return self.upkeep.check(minute * 60_000)

    def health(self):
        """Rows of the last check by measure and feature."""
        rows = [orjson.loads(row) for row in self.sink.tables[MODEL_HEALTH_TABLE]]
        return {(row["Measure"], row["Feature"]): row for row in rows}


HEALTHY = fleet_rows(NODES, hours=10 * 24, step=30)
NOW = START + 6 * DAY


def grown_at(minute):
    """The healthy fleet whose memory, and then some, is used three times as much from a minute on."""
    features = HEALTHY.features.copy()
    features[HEALTHY.minutes >= minute] *= 3.0
    return Rows(HEALTHY.minutes, HEALTHY.nodes, HEALTHY.pools, HEALTHY.names, features)


def test_first_model_is_promoted_with_what_it_was_trained_on():
    app = App(HEALTHY)

    trained = app.train(NOW)

    assert trained.promoted, trained.outcome
    assert app.registry.pointer()[0].serves
    facts = app.registry.model(trained.model).facts
    assert facts["trained_ms"] == NOW * 60_000
    assert facts["nodes"] == NODES
    assert facts["window"] == ["2026-09-21T00:30:00.000Z", "2026-09-27T00:00:00.000Z"]
    assert 0.5 < facts["quality"]["found"] <= 1
    assert {"numpy", "python"} <= set(facts)
    assert "there was none before" in trained.outcome


def test_model_that_does_not_beat_the_one_that_serves_is_not_promoted():
    app = App(HEALTHY)
    first = app.train(NOW)

    again = app.train(NOW)

    assert not again.promoted
    assert app.registry.pointer()[0].model == first.model
    assert again.outcome.startswith("not promoted: finds ")
    assert app.registry.pointer()[0].outcome == again.outcome


def test_model_of_a_fleet_that_has_grown_replaces_the_one_before():
    app = App(grown_at(START + 3 * DAY))
    first = app.train(START + 3 * DAY)

    second = app.train(START + 9 * DAY)

    assert first.promoted and second.promoted
    assert second.running.alarm_rate > 0.1 > second.quality.alarm_rate


def test_history_is_asked_day_by_day_and_no_moment_twice():
    app = App(HEALTHY)
    app.train(NOW)

    days = sorted(asked for asked in app.history.asked if asked[1] - asked[0] < timedelta(days=1))

    assert len(days) == 6
    assert all(later[0] > earlier[1] for earlier, later in pairwise(days))


@pytest.mark.parametrize(
    ("nodes", "step"), [(8, 15), (70, 15), (200, 65), (500, 125), (5_000, 1925), (20_000, 7685), (10**6, 7685)]
)
def test_large_fleets_are_asked_for_fewer_windows_of_each_node(nodes, step):
    app = App(HEALTHY, days=14, nodes=nodes)
    app.train(NOW)

    assert set(app.history.steps) == {step}
    assert nodes * 14 * 1440 / step <= MOST_ROWS or step == 7685


def test_windows_of_incidents_teach_nothing():
    ill = HEALTHY.features.copy()
    ill[(HEALTHY.nodes == 3) & (HEALTHY.minutes < START + 3 * DAY), MEMORY] *= 2.5
    rows = Rows(HEALTHY.minutes, HEALTHY.nodes, HEALTHY.pools, HEALTHY.names, ill)
    incident = ("c", "n3", "i", "unusual", moment(START), moment(START + 3 * DAY), 1)

    with_it, without = App(rows, incidents=[incident]), App(rows)

    trained, bent = (app.registry.model(app.train(NOW).model) for app in (with_it, without))
    place = trained.features.index("MemoryUtilization")
    assert trained.scale[0, place] < 0.6 * bent.scale[0, place]


@pytest.mark.parametrize("rows", [HEALTHY.where(np.zeros(0, np.intp)), fleet_rows(1, hours=48), fleet_rows(8, hours=3)])
def test_too_little_history_is_said_and_nothing_is_promoted(rows):
    app = App(rows)

    trained = app.train(START + 2 * DAY)

    assert not trained.promoted
    assert trained.outcome.startswith("not trained: ")
    pointer = app.registry.pointer()[0]
    assert (pointer.model, pointer.outcome) == ("", trained.outcome)


def test_fleet_that_has_said_nothing_for_a_day_is_not_asked_for_more():
    app = App(HEALTHY, nodes=0)

    assert app.train(NOW).outcome.startswith("not trained: there are no rows of the last day")
    assert app.history.steps == []


def test_unreachable_history_is_raised_and_changes_nothing():
    app = App(HEALTHY)
    app.history.fails = True

    with pytest.raises(HistoryUnavailable):
        app.train(NOW)
    assert app.registry.pointer()[1] is None


@pytest.mark.parametrize("change", [{"Nodes": None}, {"WindowStart": None}, {COLUMNS[0]: None}, {COLUMNS[3]: ["x"]}])
def test_answer_of_another_form_is_raised_by_name(monkeypatch, change):
    app = App(HEALTHY)
    answer = app.history.query

    def changed(*asked):
        found = dict(answer(*asked))
        for name, value in change.items():
            if name in found and value is None:
                del found[name]
            elif name in found:
                found[name] = value * len(found[name])
        return found

    monkeypatch.setattr(app.history, "query", changed)
    with pytest.raises(HistoryUnavailable, match="Log Analytics gave"):
        app.train(NOW)


def test_check_of_a_fleet_that_stays_as_it_was_is_calm():
    app = App(HEALTHY)
    trained = app.train(NOW)

    checked = app.check(NOW + 2 * DAY)

    assert (checked.state, checked.drifted) == (State.SERVING, "")
    rows = app.health()
    assert {row["ModelId"] for row in rows.values()} == {trained.model}
    assert rows["model", ""]["Status"] == "ok"
    assert {row["Status"] for row in rows.values()} <= {"ok", "warning"}
    assert rows["age_days", ""]["Value"] == pytest.approx(2.0)
    assert rows["alarm_share", ""]["Value"] < rows["alarm_share", ""]["Limit"]
    assert len([measure for measure, _ in rows if measure == "input_psi"]) == 51


def test_rows_of_health_have_the_columns_of_their_table():
    app = App(HEALTHY)
    app.train(NOW)
    app.check(NOW + DAY)

    for row in app.health().values():
        assert list(row) == [column.name for column in TABLES[MODEL_HEALTH_TABLE]]


def test_fleet_that_has_changed_is_found_and_a_model_of_it_trained_and_promoted():
    app = App(grown_at(NOW))
    first = app.train(NOW)

    checked = app.check(NOW + DAY)

    assert checked.state is State.SERVING
    assert "alarm_share" in checked.drifted
    assert checked.detail.startswith("promoted: ")
    assert app.registry.pointer()[0].model != first.model
    rows = app.health()
    assert (rows["model", ""]["Status"], rows["model", ""]["State"]) == ("drifted", "serving")
    assert rows["drifted_features", ""]["Status"] == "drifted"
    assert rows["input_psi", "MemoryUtilization"]["Value"] > 0.25


def test_drifted_model_that_cannot_be_replaced_is_suspended_and_comes_back_with_the_next_one():
    app = App(grown_at(NOW))
    app.train(NOW)
    whole = app.history.rows
    app.history.rows = whole.where(whole.minutes >= NOW + DAY - 240)  # nothing else is left of history

    checked = app.check(NOW + DAY)

    assert checked.state is State.SUSPENDED
    assert checked.detail.startswith("the streaming detectors decide alone: ")
    assert not app.registry.pointer()[0].serves
    assert {row["State"] for row in app.health().values()} == {"suspended"}

    app.history.rows = whole
    later = app.check(NOW + DAY + AGAIN_AFTER_MS // 60_000)
    assert later.state is State.SERVING
    assert app.registry.pointer()[0].serves


def test_training_because_of_drift_is_not_tried_again_at_once():
    app = App(grown_at(NOW))
    app.train(NOW)
    app.history.rows = app.history.rows.where(app.history.rows.minutes >= NOW + DAY - 240)
    app.check(NOW + DAY)
    attempted = app.registry.pointer()[0].attempted_ms

    checked = app.check(NOW + DAY + 60)

    assert checked.state is State.SUSPENDED
    assert checked.detail.startswith("trained 60 min ago: not trained")
    assert app.registry.pointer()[0].attempted_ms == attempted


def test_training_in_a_future_that_a_wrong_clock_told_of_is_not_waited_for():
    app = App(grown_at(NOW))
    first = app.train(NOW)
    app.registry.replace(attempted_ms=(NOW + 3 * DAY) * 60_000)

    app.check(NOW + DAY)

    assert app.registry.pointer()[0].model != first.model


def test_suspended_model_need_not_be_beaten():
    app = App(HEALTHY)
    app.train(NOW)
    assert not app.train(NOW).promoted
    app.registry.replace(suspended="too old")

    assert app.upkeep.train(NOW * 60_000 + 1000).promoted


def test_old_model_is_replaced_or_suspended():
    app = App(HEALTHY)
    app.train(NOW)
    app.history.rows = HEALTHY.where(np.zeros(0, np.intp))

    checked = app.check(NOW + 31 * DAY)

    assert checked.state is State.SUSPENDED
    assert checked.drifted.startswith("age_days is 31")


def test_clock_that_went_back_makes_no_model_old_and_no_training_wait():
    app = App(HEALTHY)
    app.train(NOW)

    checked = app.check(NOW - 2 * DAY)

    assert app.health()["age_days", ""]["Value"] == 0
    assert checked.state is State.SERVING


def test_without_a_model_the_check_trains_one():
    app = App(HEALTHY)

    checked = app.check(NOW)

    assert checked.state is State.SERVING
    assert app.registry.pointer()[0].serves


def test_without_a_model_and_history_it_is_absent_and_says_why():
    app = App(HEALTHY.where(np.zeros(0, np.intp)))

    checked = app.check(NOW)

    assert checked.state is State.ABSENT
    (row,) = app.health().values()
    assert (row["State"], row["Status"], row["ModelId"]) == ("absent", "warning", "")
    assert row["Detail"].startswith("not trained: there are no rows")


@pytest.mark.parametrize("damage", ["model", "pointer"])
def test_damaged_blob_is_told_and_a_new_model_takes_its_place(damage):
    app = App(HEALTHY)
    first = app.train(NOW - DAY)
    name = POINTER if damage == "pointer" else f"models/{first.model}"
    app.blobs.save(name, b"damaged", app.blobs.load(name).version)

    checked = app.check(NOW)

    assert checked.state is State.SERVING
    assert len(app.upkeep.problems) >= 1
    assert app.registry.model(app.registry.pointer()[0].model)


def test_feature_that_is_gone_is_a_drift_of_that_feature():
    rows = Rows(HEALTHY.minutes, HEALTHY.nodes, HEALTHY.pools, HEALTHY.names, HEALTHY.features.copy())
    rows.features[HEALTHY.minutes >= NOW, MEMORY] = np.nan
    app = App(rows)
    app.train(NOW)

    app.check(NOW + DAY)

    row = app.health()["missing_share", "MemoryUtilization"]
    assert (row["Value"], row["Status"]) == (1.0, "drifted")
    assert app.health()["input_psi", "MemoryUtilization"]["Value"] is None


def test_feature_that_comes_new_does_not_disturb():
    rows = Rows(HEALTHY.minutes, HEALTHY.nodes, HEALTHY.pools, HEALTHY.names, HEALTHY.features.copy())
    rows.features[HEALTHY.minutes >= NOW, TEMPERATURE] = 55.0
    app = App(rows)
    app.train(NOW)

    assert app.check(NOW + DAY).state is State.SERVING


def test_day_without_rows_says_nothing_of_inputs():
    app = App(HEALTHY)
    app.train(NOW)
    app.history.rows, app.history.nodes = HEALTHY.where(np.zeros(0, np.intp)), 0

    checked = app.check(NOW + DAY)

    assert (checked.state, checked.drifted) == (State.SERVING, "")
    assert {measure for measure, _ in app.health()} == {
        "model", "age_days", "outliers_per_node_week", "detected_per_node_week",
    }  # fmt: skip
    assert app.health()["outliers_per_node_week", ""]["Value"] is None


def test_incidents_are_counted_by_kind_and_many_of_them_are_a_drift():
    at = moment(NOW + DAY - 60)
    many = [("c", f"n{number}", f"i{number}", "outlier", at, at, 1) for number in range(6)]
    app = App(HEALTHY, incidents=[*many, ("c", "n1", "u", "unusual", at, at, 0)])
    app.train(NOW)

    checked = app.check(NOW + DAY)

    assert app.health()["outliers_per_node_week", ""]["Value"] == pytest.approx(6 * 7 / NODES)
    assert app.health()["detected_per_node_week", ""]["Value"] == pytest.approx(7 / NODES, rel=1e-4)
    assert "outliers_per_node_week" in checked.drifted


@pytest.mark.parametrize(("part", "error"), [("sink", SinkUnavailable), ("blobs", StoreUnavailable)])
def test_outage_is_raised_and_the_next_check_is_as_if_nothing_had_been(part, error):
    app = App(HEALTHY)
    app.train(NOW)
    getattr(app, part).faults.fail("write" if part == "sink" else "load")

    with pytest.raises(error):
        app.check(NOW + DAY)
    assert app.check(NOW + DAY).state is State.SERVING
