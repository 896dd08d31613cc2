"""The run that foresees exhaustion: what it asks, tells and remembers, and what it does when things fail."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from itertools import pairwise
from typing import Any

import orjson
import pytest

from functions.adapters.memory import MemoryBlobs, MemoryMaintenanceCalendar, MemoryRowSink, Moment
from functions.core.forecast.exhaustion_memory import (
    REMEMBERED,
    Alarm,
    ExhaustionMemory,
    Series,
    decode_exhaustion,
)
from functions.core.forecast.exhaustion_rows import Foresight, sentence
from functions.core.forecast.exhaustion_watch import (
    ASKED_AT_ONCE,
    BLOB,
    FILESYSTEM_LEVELS,
    GRACE_S,
    NODE_LEVELS,
    OPEN_ALARMS,
    SILENT_POINTS,
    WAITS_FOR,
    ExhaustionWatch,
)
from functions.core.forecast.level_history import BIN_S
from functions.core.forecast.sealed import ForecastStateUnreadable
from functions.core.policy.maintenance import MaintenanceWindow
from functions.core.policy.rules import Severity
from functions.core.ports import Columns
from telemetry.errors import HistoryUnavailable, SinkUnavailable, StateConflict, StoreUnavailable
from telemetry.tables import NODE_ANOMALIES_TABLE, NODE_FORECASTS_TABLE, TABLES

FIRST = 1_970_000
"""Number of the first point; a multiple of four is a full hour."""
DAY = 96
Level = Callable[[int], float | None]


class StoredLevels:
    """Answers like Log Analytics with what the levels are at the points asked for."""

    def __init__(self, *, root: Level | None = None, memory: Level = lambda _: 0.4, node: str = "n1") -> None:
        self.root, self.memory, self.node = root, memory, node
        self.asked: list[tuple[str, int, int]] = []
        self.fails = False
        self.most = 10**9
        """Points that an answer may have."""
        self.until = 10**9
        self.open: list[dict[str, Any]] = []
        """Alarms that were told and not ended."""

    def query(self, kql: str, since: datetime, until: datetime) -> Columns:
        first, before = (int(moment.timestamp()) // BIN_S for moment in (since, until))
        self.asked.append((kql, first, before - 1))
        if self.fails or before - first > self.most:
            raise HistoryUnavailable("told to fail")
        if kql == OPEN_ALARMS:
            names = ("Cluster", "Node", "Metric", "Device", "IncidentId", "Pool", "Since", "Severity", "Suppressed")
            return {name: [row[name] for row in self.open] for name in names}
        numbers = [n for n in range(first, min(before, self.until)) if n >= FIRST]
        if kql == FILESYSTEM_LEVELS:
            rows = [(n, self.root(n)) for n in numbers] if self.root else []
            rows = [(n, level) for n, level in rows if level is not None]
            return self._columns(rows, "Space", "Inodes", Device="/")
        return self._columns([(n, self.memory(n)) for n in numbers if self.memory(n) is not None], "Memory", "Files")

    def _columns(self, rows: list[tuple[int, Any]], first: str, second: str, **more: str) -> Columns:
        count = len(rows)
        return {
            "Cluster": ["c"] * count,
            "Node": [self.node] * count,
            "Pool": ["user"] * count,
            "Start": [datetime.fromtimestamp(n * BIN_S, UTC) for n, _ in rows],
            f"{first}Low": [level for _, level in rows],
            f"{first}High": [level for _, level in rows],
            f"{second}Low": [None] * count,
            f"{second}High": [None] * count,
            **{name: [value] * count for name, value in more.items()},
        }


def leak(begin: int, hours: float, base: float = 0.4) -> Level:
    """A level that grows from `begin` on and is at its limit so many hours later."""
    return lambda n: base if n < begin else min(base + (1 - base) * (n - begin) / (hours * 4), 1.0)


class Watched:
    """A watch with all that it needs in memory."""

    def __init__(self, history: StoredLevels, *windows: MaintenanceWindow) -> None:
        self.history, self.blobs, self.sink = history, MemoryBlobs(), MemoryRowSink()
        self.calendar = MemoryMaintenanceCalendar(*windows)
        self.watch = ExhaustionWatch(history, str, self.blobs, self.sink, self.calendar)

    def run(self, point: int, has_time: Callable[[], bool] = lambda: True) -> Any:
        """Runs soon after the end of a point."""
        return self.watch.run((point + 1) * BIN_S * 1000 + GRACE_S * 1000, has_time)

    def rows(self, table: str) -> list[dict[str, Any]]:
        return [orjson.loads(row) for row in self.sink.tables[table]]

    @property
    def anomalies(self) -> list[dict[str, Any]]:
        return self.rows(NODE_ANOMALIES_TABLE)

    @property
    def forecasts(self) -> list[dict[str, Any]]:
        return self.rows(NODE_FORECASTS_TABLE)

    def remembered(self) -> ExhaustionMemory:
        stored = self.blobs.load(BLOB)
        assert stored is not None and stored.blob is not None
        return decode_exhaustion(stored.blob)


LEAK = leak(FIRST + 3 * DAY, 20)


@cache
def learnt() -> bytes:
    """What two days without a leak have taught."""
    watched = Watched(StoredLevels(root=LEAK))
    watched.run(FIRST + 2 * DAY)
    assert not watched.anomalies
    stored = watched.blobs.load(BLOB)
    assert stored is not None and stored.blob is not None
    return stored.blob


def watched_leak(*windows: MaintenanceWindow, root: Level = LEAK) -> Watched:
    """Of a filesystem that leaks from the end of its third day on; two days were learnt from."""
    found = Watched(StoredLevels(root=root), *windows)
    found.blobs.save(BLOB, learnt(), None)
    return found


def test_a_leak_is_told_of_once_and_ends_when_it_was_cleaned_up() -> None:
    cleaned = FIRST + 3 * DAY + 60
    watched = watched_leak(root=lambda n: LEAK(n) if n < cleaned else 0.4)

    watched.run(cleaned + 40)

    told = watched.anomalies
    assert [row["State"] for row in told] == ["begin", "end"]
    assert {(row["Kind"], row["Node"], row["Metric"], row["Pool"]) for row in told} == {
        ("exhaustion", "n1", "FilesystemUtilization", "user")
    }
    assert told[0]["IncidentId"] == told[1]["IncidentId"]
    assert told[0]["Severity"] == "Warning"
    assert told[0]["Explanation"].startswith("filesystem / will be full in about ")
    assert told[1]["Explanation"] == "filesystem / is not expected to be full any more: 40 % now"
    (metric,) = told[0]["Metrics"]
    assert metric["Device"] == "/"
    assert metric["Limit"] == 1.0


def test_the_forecasts_say_when_and_come_nearer_the_truth() -> None:
    watched = watched_leak()
    full_s = (FIRST + 3 * DAY + 80) * BIN_S

    watched.run(FIRST + 3 * DAY + 70)

    rows = watched.forecasts
    assert len(rows) > 40
    assert {(row["Kind"], row["Device"], row["Limit"]) for row in rows} == {("exhaustion", "/", 1.0)}
    assert {row["IncidentId"] for row in rows} == {watched.anomalies[0]["IncidentId"]}
    last = rows[-1]
    when = datetime.fromisoformat(last["ForecastTime"]).timestamp()
    assert when == pytest.approx(full_s, abs=3600)
    made = datetime.fromisoformat(last["WindowStart"]).timestamp()
    assert last["SecondsLeft"] == pytest.approx(when - made, abs=1)
    assert 0.8 <= last["Confidence"] <= 1.0
    assert last["Value"] == pytest.approx(0.4 + 0.6 * 70 / 80, abs=0.01)


def test_rows_have_the_columns_of_their_tables() -> None:
    watched = watched_leak()

    watched.run(FIRST + 3 * DAY + 70)

    for table in (NODE_ANOMALIES_TABLE, NODE_FORECASTS_TABLE):
        assert {tuple(sorted(row)) for row in watched.rows(table)} == {tuple(sorted(c.name for c in TABLES[table]))}


def test_an_alarm_becomes_an_error_when_less_than_four_hours_are_left() -> None:
    watched = watched_leak()

    watched.run(FIRST + 3 * DAY + 79)

    assert [(row["State"], row["Severity"]) for row in watched.anomalies] == [("begin", "Warning"), ("update", "Error")]
    assert watched.anomalies[1]["Metrics"][0]["SecondsLeft"] <= 4 * 3600


def test_the_explanation_says_what_when_how_sure_and_what_it_rests_on() -> None:
    watched = watched_leak()

    watched.run(FIRST + 3 * DAY + 79)

    begin, update = watched.anomalies
    assert begin["Explanation"] == (
        "filesystem / will be full in about 14 h (confidence 0.9): 60.2 % now, was 40 % 7.2 h ago"
    )
    assert update["Explanation"].startswith("filesystem / will be full in about 4 h (confidence 0.99): 87")
    assert datetime.fromisoformat(begin["Since"]).timestamp() == pytest.approx((FIRST + 3 * DAY) * BIN_S, abs=3600)


@pytest.mark.parametrize(
    ("metric", "device", "told"),
    [
        ("FilesystemInodes", "/data", "the table of inodes of /data will be full in about 30 min (confidence 0.87): "),
        ("MemoryUtilization", "", "memory will be used up in about 30 min (confidence 0.87): "),
        (
            "FileDescriptorUtilization",
            "",
            "the limit of open files will be reached in about 30 min (confidence 0.87): ",
        ),
    ],
)
def test_each_resource_has_words_of_its_own(metric: str, device: str, told: str) -> None:
    found = sentence(Series("c", "n", metric, device), Foresight(1800.0, 0.871, 0.9, 0.5, 7200.0))

    assert found == told + "90 % now, was 50 % 2 h ago"


def test_what_is_used_up_is_told_to_be_when_it_ends() -> None:
    watched = watched_leak()

    watched.run(FIRST + 5 * DAY)

    assert watched.anomalies[-1]["State"] == "end"
    assert watched.anomalies[-1]["Explanation"] == "filesystem / is full: 100 %"


def test_an_alarm_in_maintenance_is_suppressed_until_it_outlasts_it() -> None:
    until_ms = (FIRST + 3 * DAY + 60) * BIN_S * 1000
    watched = watched_leak(MaintenanceWindow("c", 0, until_ms, node="n1"))

    watched.run(FIRST + 3 * DAY + 62)

    assert [(row["State"], row["Suppressed"]) for row in watched.anomalies] == [("begin", True), ("update", False)]


def test_a_run_after_an_outage_makes_the_rows_that_would_have_been_made_in_time() -> None:
    in_time, late = watched_leak(), watched_leak()

    for point in range(FIRST + 2 * DAY + 1, FIRST + 3 * DAY + 50):
        in_time.run(point)
    late.run(FIRST + 3 * DAY + 49)

    assert late.sink.tables == in_time.sink.tables
    assert len(in_time.forecasts) > 20


def test_nothing_is_looked_at_twice_nor_before_it_is_over() -> None:
    watched = Watched(StoredLevels())
    watched.run(FIRST + DAY)
    watched.history.asked.clear()

    watched.run(FIRST + DAY)
    watched.watch.run((FIRST + DAY + 2) * BIN_S * 1000 + GRACE_S * 1000 - 1)
    assert watched.history.asked == []
    watched.run(FIRST + DAY + 2)

    assert watched.history.asked == [
        (NODE_LEVELS, FIRST + DAY + 1, FIRST + DAY + 2),
        (FILESYSTEM_LEVELS, FIRST + DAY + 1, FIRST + DAY + 2),
    ]


def test_a_first_run_learns_a_week_in_order_and_tells_nothing_of_it() -> None:
    watched = Watched(StoredLevels(root=lambda n: LEAK(n) if n < FIRST + 3 * DAY + 60 else 0.4))

    watched.run(FIRST + 7 * DAY)

    asked = [(first, last) for kql, first, last in watched.history.asked if kql == NODE_LEVELS]
    assert asked[0][0] == FIRST + 7 * DAY - REMEMBERED + 1
    assert asked[-1][1] == FIRST + 7 * DAY
    assert all(before[1] + 1 == after[0] for before, after in pairwise(asked))
    assert max(last - first for first, last in asked) < ASKED_AT_ONCE
    assert not watched.anomalies
    assert not watched.forecasts


def test_a_leak_that_is_there_when_watching_begins_is_told_of_at_once() -> None:
    watched = Watched(StoredLevels(root=LEAK))

    report = watched.run(FIRST + 3 * DAY + 60)

    assert [row["State"] for row in watched.anomalies] == ["begin"]
    assert len(watched.forecasts) == 1
    assert (report.foreseen, report.alarms, report.series) == (1, 1, 2)


def test_a_run_without_time_goes_on_in_the_next() -> None:
    watched = Watched(StoredLevels())

    first = watched.run(FIRST + 7 * DAY, lambda: False)
    second = watched.run(FIRST + 7 * DAY, lambda: False)

    assert (first.points, second.points) == (ASKED_AT_ONCE, ASKED_AT_ONCE)
    assert watched.remembered().newest == FIRST + 2 * ASKED_AT_ONCE


def test_rows_that_come_hours_late_are_still_looked_at() -> None:
    watched = watched_leak()
    watched.history.until = FIRST + 3 * DAY + 20
    watched.run(FIRST + 3 * DAY + 60)
    assert watched.remembered().newest == FIRST + 3 * DAY + 19

    watched.history.until = 10**9
    watched.run(FIRST + 3 * DAY + 60)

    assert [row["State"] for row in watched.anomalies] == ["begin"]
    assert watched.remembered().newest == FIRST + 3 * DAY + 60


def test_a_day_without_rows_is_not_waited_for() -> None:
    watched = Watched(StoredLevels())
    watched.run(FIRST + DAY)
    watched.history.until = FIRST

    watched.run(FIRST + 4 * DAY)

    assert watched.remembered().newest == FIRST + 4 * DAY - WAITS_FOR


def test_an_alarm_of_a_node_that_is_gone_ends() -> None:
    last = FIRST + 3 * DAY + 50
    watched = watched_leak(root=lambda n: LEAK(n) if n <= last else None)

    watched.run(last + SILENT_POINTS - 1)
    assert [row["State"] for row in watched.anomalies] == ["begin"]
    watched.run(last + SILENT_POINTS)

    assert [row["State"] for row in watched.anomalies] == ["begin", "end"]
    assert watched.anomalies[-1]["Explanation"] == "nothing was told of filesystem / for hours"


def test_silence_ends_an_alarm_at_the_same_point_however_late_the_run() -> None:
    last = FIRST + 3 * DAY + 50
    quiet = range(last + 1, last + SILENT_POINTS + 6)
    in_time, late = (watched_leak(root=lambda n: None if n in quiet else LEAK(n)) for _ in range(2))

    for point in range(FIRST + 2 * DAY + 1, last + SILENT_POINTS + 10):
        in_time.run(point)
    late.run(last + SILENT_POINTS + 9)

    assert late.anomalies == in_time.anomalies
    assert [row["State"] for row in late.anomalies][:2] == ["begin", "end"]


def test_rows_of_another_time_are_left_out() -> None:
    class Odd(StoredLevels):
        def _columns(self, rows: list[tuple[int, Any]], first: str, second: str, **more: str) -> Columns:
            return super()._columns([(FIRST - 5000, 0.99), *rows, (FIRST + 9 * DAY, 0.99)], first, second, **more)

    watched = Watched(Odd(root=lambda _: 0.4))

    watched.run(FIRST + DAY)

    assert watched.remembered().newest == FIRST + DAY
    assert watched.anomalies == []


def test_series_not_heard_of_for_a_week_are_forgotten() -> None:
    watched = Watched(StoredLevels(root=lambda n: 0.5 if n < FIRST + 10 else None))
    watched.run(FIRST + DAY)
    assert len(watched.remembered().series) == 2

    watched.run(FIRST + 7 * DAY + 20)

    assert [series.metric for series in watched.remembered().series] == ["MemoryUtilization"]


def test_points_that_are_missing_or_strange_disturb_nothing() -> None:
    odd = {3: float("nan"), 5: float("inf"), 7: -1e308, 9: 1e308, 11: None}
    watched = Watched(StoredLevels(root=lambda n: odd.get((n - FIRST) % 50, 0.5)))

    watched.run(FIRST + 2 * DAY)
    watched.run(FIRST + 3 * DAY)

    assert not watched.anomalies


class TestFailures:
    """Whatever fails, the next run makes it good."""

    @pytest.mark.parametrize("moment", list(Moment))
    @pytest.mark.parametrize(("port", "operation"), [("sink", "write"), ("blobs", "save")])
    def test_the_next_run_makes_the_same_rows(self, port: str, operation: str, moment: Moment) -> None:
        smooth, rough = watched_leak(), watched_leak()
        smooth.run(FIRST + 3 * DAY + 40)
        getattr(rough, port).faults.fail(operation, moment, after_calls=3 if operation == "save" else 0)

        with pytest.raises((SinkUnavailable, StoreUnavailable)):
            rough.run(FIRST + 3 * DAY + 40)
        rough.run(FIRST + 3 * DAY + 40)

        for table in (NODE_FORECASTS_TABLE, NODE_ANOMALIES_TABLE):
            assert set(rough.sink.tables[table]) == set(smooth.sink.tables[table])

    def test_a_query_that_fails_fails_the_run_and_nothing_is_skipped(self) -> None:
        watched = watched_leak()
        watched.history.fails = True
        with pytest.raises(HistoryUnavailable):
            watched.run(FIRST + 3 * DAY + 60)
        watched.history.fails = False

        watched.run(FIRST + 3 * DAY + 60)

        assert [row["State"] for row in watched.anomalies] == ["begin"]

    def test_an_answer_that_would_be_too_large_is_asked_for_in_parts(self) -> None:
        whole, parts = watched_leak(), watched_leak()
        parts.history.most = 5

        whole.run(FIRST + 3 * DAY + 40)
        parts.run(FIRST + 3 * DAY + 40)

        assert parts.sink.tables == whole.sink.tables
        assert parts.remembered().newest == FIRST + 3 * DAY + 40

    def test_without_time_it_is_not_asked_for_again(self) -> None:
        watched = watched_leak()
        watched.history.fails = True

        with pytest.raises(HistoryUnavailable):
            watched.run(FIRST + 3 * DAY, lambda: False)

        assert len(watched.history.asked) == 1

    def test_an_answer_of_another_form_is_no_answer(self) -> None:
        watched = Watched(StoredLevels())
        watched.history.query = lambda *_: {"Start": [1], "Cluster": ["c"]}  # type: ignore[method-assign]

        with pytest.raises(HistoryUnavailable, match="another form"):
            watched.run(FIRST + DAY)

    def test_a_calendar_that_does_not_answer_fails_the_run(self) -> None:
        watched = watched_leak()
        watched.calendar.faults.fail("windows")

        with pytest.raises(StoreUnavailable):
            watched.run(FIRST + 3 * DAY)

    def test_whoever_comes_second_does_not_overwrite_the_first(self) -> None:
        watched = watched_leak()
        stored = watched.blobs.load(BLOB)
        assert stored is not None
        watched.blobs.save(BLOB, stored.blob or b"", stored.version)
        watched.blobs.load = lambda *_, **__: stored  # type: ignore[method-assign]

        with pytest.raises(StateConflict):
            watched.run(FIRST + 3 * DAY)

    @pytest.mark.parametrize(
        "damage", [lambda b: b"", lambda b: b[:-7], lambda b: b"DMX\x02" + b[4:], lambda b: b"x" * 99]
    )
    def test_a_damaged_state_begins_anew_and_is_told(self, damage: Callable[[bytes], bytes]) -> None:
        watched = watched_leak()
        stored = watched.blobs.load(BLOB)
        assert stored is not None and stored.blob is not None
        watched.blobs.save(BLOB, damage(stored.blob), stored.version)

        watched.run(FIRST + 3 * DAY + 60)

        (problem,) = watched.watch.problems
        assert problem.startswith("levels begin anew: ")
        assert [row["State"] for row in watched.anomalies] == ["begin"]


class TestLostState:
    """Alarms that were open when what was remembered was lost are taken over."""

    ALARM: dict[str, Any] = {  # noqa: RUF012
        "Cluster": "c",
        "Node": "n1",
        "Metric": "FilesystemUtilization",
        "Device": "/",
        "IncidentId": "told-before",
        "Pool": "user",
        "Since": datetime.fromtimestamp(FIRST * BIN_S, UTC),
        "Severity": "Warning",
        "Suppressed": False,
    }

    def watched(self, root: Level, **changes: Any) -> Watched:
        found = Watched(StoredLevels(root=root))
        found.history.open = [self.ALARM | changes]
        return found

    def test_one_that_goes_on_keeps_its_name_and_is_not_begun_again(self) -> None:
        watched = self.watched(LEAK)

        watched.run(FIRST + 3 * DAY + 60)
        watched.run(FIRST + 3 * DAY + 70)

        assert [(row["State"], row["IncidentId"]) for row in watched.anomalies] == [("update", "told-before")]
        assert {row["IncidentId"] for row in watched.forecasts} == {"told-before"}

    def test_one_that_is_over_is_ended(self) -> None:
        watched = self.watched(lambda _: 0.4)

        watched.run(FIRST + 3 * DAY)

        (end,) = watched.anomalies
        assert (end["State"], end["IncidentId"], end["Pool"]) == ("end", "told-before", "user")
        assert end["Explanation"] == "filesystem / is not expected to be full any more: 40 % now"

    def test_one_of_a_node_that_is_gone_is_ended_after_hours(self) -> None:
        watched = self.watched(lambda _: 0.4, Node="gone")

        watched.run(FIRST + 3 * DAY)
        assert watched.anomalies == []
        watched.run(FIRST + 3 * DAY + SILENT_POINTS)

        (end,) = watched.anomalies
        assert (end["State"], end["Node"]) == ("end", "gone")
        assert end["Explanation"] == "nothing was told of filesystem / for hours"
        watched.run(FIRST + 4 * DAY)
        assert len(watched.anomalies) == 1

    def test_one_of_a_resource_that_is_not_watched_is_left_alone(self) -> None:
        watched = self.watched(lambda _: 0.4, Metric="Fuel")

        watched.run(FIRST + 4 * DAY)

        assert watched.anomalies == []

    @pytest.mark.parametrize("changes", [{"Since": "yesterday"}, {"Severity": "Terrible"}, {"Severity": None}])
    def test_an_answer_of_another_form_is_no_answer(self, changes: dict[str, Any]) -> None:
        with pytest.raises(HistoryUnavailable, match="open alarms in another form"):
            self.watched(lambda _: 0.4, **changes).run(FIRST + 3 * DAY)


class TestMemory:
    """Bytes."""

    SERIES = Series("c", "n", "FilesystemUtilization", "/")

    def memory(self) -> ExhaustionMemory:
        found = ExhaustionMemory(70, 60)
        found.admit({self.SERIES: "user", Series("c", "m", "MemoryUtilization", ""): ""})
        found.alarms[self.SERIES] = Alarm("0123", "user", 5, Severity.ERROR, True)
        return found

    def test_everything_comes_back(self) -> None:
        found = decode_exhaustion(self.memory().encode())

        assert (found.newest, found.tells_from, found.pools) == (70, 60, ["user", ""])
        assert found.series == self.memory().series
        assert found.alarms == self.memory().alarms
        assert found.places == {series: place for place, series in enumerate(found.series)}
        assert found.states.tobytes() == self.memory().states.tobytes()

    def test_any_flipped_byte_is_noticed(self) -> None:
        blob = self.memory().encode()
        read_back = decode_exhaustion(blob).encode()

        for place in range(len(blob)):
            broken = bytearray(blob)
            broken[place] ^= 0x55
            try:
                found = decode_exhaustion(bytes(broken))
            except ForecastStateUnreadable:
                continue
            assert found.encode() == read_back  # gzip's header has bytes that mean nothing

    def test_any_truncation_is_noticed(self) -> None:
        blob = self.memory().encode()

        for size in range(len(blob)):
            with pytest.raises(ForecastStateUnreadable):
                decode_exhaustion(blob[:size])

    def test_a_resource_of_another_version_is_left_behind(self) -> None:
        memory = self.memory()
        memory.admit({Series("c", "n", "Fuel", ""): "user"})
        memory.alarms[Series("c", "n", "Fuel", "")] = Alarm("45", "user", 5, Severity.WARNING, False)

        found = decode_exhaustion(memory.encode())

        assert found.series == self.memory().series
        assert list(found.alarms) == [self.SERIES]
