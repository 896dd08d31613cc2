"""The hourly forecast of pools: what it asks, tells and keeps, and what it does when things fail."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np
import orjson
import pytest

from functions.adapters.memory import MemoryBlobs, MemoryRowSink, Moment
from functions.core.forecast.day_ahead import DAY, HISTORY, STEP_S
from functions.core.forecast.demand import (
    ASKED_AGAIN,
    ASKED_AT_ONCE,
    FORECASTS_BLOB,
    GRACE_S,
    HISTORY_BLOB,
    DemandForecast,
)
from functions.core.forecast.demand_memory import (
    DemandHistory,
    NewestForecasts,
    PoolForecast,
    PoolForecasts,
    decode_forecasts,
    decode_history,
)
from functions.core.forecast.sealed import ForecastStateUnreadable
from functions.core.ports import Columns
from telemetry.errors import HistoryUnavailable, SinkUnavailable, StoreUnavailable
from telemetry.tables import NODE_FORECASTS_TABLE, TABLES

HOUR_MS = 3_600_000
AT = 1_780_000_200_000 // HOUR_MS * HOUR_MS
"""A full hour."""
UNTIL = AT // 1000 // STEP_S


class StoredDemand:
    """Answers like Log Analytics: a pool of four nodes whose demand has a daily course."""

    def __init__(self, *, known_from: int = 0, pools: tuple[str, ...] = ("user",)) -> None:
        self.known_from, self.known_until, self.pools = known_from, 10**9, pools
        self.asked: list[tuple[int, int]] = []
        self.level = 2.0

    def query(self, kql: str, since: datetime, until: datetime) -> Columns:
        assert kql == "pool_demand"
        first, before = (int(moment.timestamp()) // STEP_S for moment in (since, until))
        self.asked.append((first, before))
        steps = range(max(first, self.known_from), min(before, self.known_until))
        rows = [(pool, n) for n in steps for pool in self.pools]
        return {
            "Cluster": ["c"] * len(rows),
            "Pool": [pool for pool, _ in rows],
            "Start": [datetime.fromtimestamp(n * STEP_S, UTC) for _, n in rows],
            "Cpu": [self.level + np.sin(n * 2 * np.pi / DAY) for _, n in rows],
            "Memory": [1.5] * len(rows),
            "Nodes": [4] * len(rows),
        }


class Running:
    """A forecast with all that it needs in memory."""

    def __init__(self, history: StoredDemand) -> None:
        self.history, self.blobs, self.sink = history, MemoryBlobs(), MemoryRowSink()
        self.demand = DemandForecast(history, str, self.blobs, self.sink)

    def run(self, hours: float = 0.0) -> PoolForecasts | None:
        """Runs soon after a full hour."""
        return self.demand.run(AT + int(hours * HOUR_MS) + GRACE_S * 1000)

    @property
    def rows(self) -> list[dict[str, Any]]:
        return [orjson.loads(row) for row in self.sink.tables[NODE_FORECASTS_TABLE]]

    def damage(self, name: str, how: Callable[[bytes], bytes]) -> None:
        stored = self.blobs.load(name)
        assert stored is not None and stored.blob is not None
        self.blobs.save(name, how(stored.blob), stored.version)


def test_the_next_day_of_a_pool_is_forecast_with_its_course() -> None:
    running = Running(StoredDemand())

    made = running.run()

    assert made is not None
    pool = made.pools["c", "user"]
    assert (made.at_s, pool.nodes, pool.known_s) == (AT // 1000, 4, 86_400)
    came = 2.0 + np.sin((UNTIL + np.arange(DAY)) * 2 * np.pi / DAY)
    assert np.abs(pool.ahead["Cpu"].value - came).max() < 0.1
    assert np.abs(pool.ahead["Memory"].value - 1.5).max() < 0.01


def test_rows_hold_each_quarter_of_an_hour_of_each_measure() -> None:
    running = Running(StoredDemand(pools=("system", "user")))

    running.run()

    rows = running.rows
    assert len(rows) == 2 * 2 * 96
    assert {tuple(sorted(row)) for row in rows} == {tuple(sorted(c.name for c in TABLES[NODE_FORECASTS_TABLE]))}
    cpu = [row for row in rows if row["Metric"] == "CpuUtilization" and row["Pool"] == "user"]
    times = [datetime.fromisoformat(row["ForecastTime"]).timestamp() for row in cpu]
    assert times == [AT / 1000 + 900 * number for number in range(96)]
    assert all(row["Lower"] <= row["Value"] <= row["Upper"] for row in rows)
    assert {(row["Kind"], row["Node"], row["WindowStart"]) for row in rows} == {
        ("demand", "", datetime.fromtimestamp(AT / 1000, UTC).isoformat(timespec="milliseconds")[:-6] + "Z")
    }


def test_an_hour_is_forecast_once() -> None:
    running = Running(StoredDemand())
    running.run()
    before = len(running.history.asked), len(running.rows)

    assert running.run(0.25) is None
    assert running.run(0.9) is None

    assert (len(running.history.asked), len(running.rows)) == before


def test_what_is_known_is_not_asked_for_again_but_for_the_last_hour() -> None:
    running = Running(StoredDemand())
    running.run()
    running.history.asked.clear()

    running.run(1)

    assert running.history.asked == [(UNTIL - ASKED_AGAIN, UNTIL + 12)]


def test_a_first_run_asks_for_two_weeks_in_parts() -> None:
    running = Running(StoredDemand())

    running.run()

    asked = running.history.asked
    assert asked[0][0] == UNTIL - HISTORY
    assert asked[-1][1] == UNTIL
    assert all(before - first <= ASKED_AT_ONCE for first, before in asked)
    assert sum(before - first for first, before in asked) == HISTORY


def test_hours_that_were_missed_are_made_up_for() -> None:
    in_time, late = Running(StoredDemand()), Running(StoredDemand())
    in_time.run()
    late.run()

    for hour in range(1, 6):
        in_time.run(hour)
    late.run(5)

    assert late.rows[-192:] == in_time.rows[-192:]


def test_rows_that_come_late_within_an_hour_are_taken() -> None:
    running = Running(StoredDemand())
    running.history.known_until = UNTIL - 6
    running.run()
    running.history.known_until = 10**9

    made = running.run(1)

    assert made is not None
    assert made.pools["c", "user"].known_s == 86_400


def test_a_pool_that_is_too_young_is_known_and_has_no_forecast() -> None:
    running = Running(StoredDemand(known_from=UNTIL - DAY // 2 + 1))

    made = running.run()

    assert made is not None
    assert made.pools == {("c", "user"): PoolForecast(4, (DAY // 2 - 1) * STEP_S, {})}
    assert running.rows == []


def test_a_pool_that_is_gone_for_a_day_is_forgotten() -> None:
    running = Running(StoredDemand())
    running.run()
    running.history.known_until = UNTIL

    almost, after = running.run(23), running.run(25)

    assert almost is not None and after is not None
    assert almost.pools["c", "user"].nodes == 0
    assert after.pools == {}


def test_nothing_stored_is_a_forecast_of_no_pool() -> None:
    running = Running(StoredDemand(known_from=10**9))

    made = running.run()

    assert made is not None
    assert made.pools == {}
    assert decode_forecasts(made.encode()) == made


@pytest.mark.parametrize("odd", [None, float("nan"), 1e308, -1e308, float("inf")])
def test_values_that_are_none_do_no_harm(odd: float | None) -> None:
    class Odd(StoredDemand):
        def query(self, kql: str, since: datetime, until: datetime) -> Columns:
            found = dict(super().query(kql, since, until))
            found["Cpu"] = [odd if number % 7 == 0 else value for number, value in enumerate(found["Cpu"])]
            return found

    made = Running(Odd()).run()

    assert made is not None
    ahead = made.pools["c", "user"].ahead["Cpu"]
    assert np.isfinite(np.array(ahead)).all()
    assert np.abs(ahead.value).max() < 5


class TestFailures:
    """Whatever fails, the next run makes it good."""

    @pytest.mark.parametrize("moment", list(Moment))
    @pytest.mark.parametrize(("operation", "after"), [("write", 0), ("save", 0), ("save", 1)])
    def test_the_next_run_makes_the_same_rows(self, operation: str, after: int, moment: Moment) -> None:
        smooth, rough = Running(StoredDemand()), Running(StoredDemand())
        smooth.run()
        port = rough.sink if operation == "write" else rough.blobs
        port.faults.fail(operation, moment, after_calls=after)

        with pytest.raises((SinkUnavailable, StoreUnavailable)):
            rough.run()
        rough.run(0.25)

        assert set(rough.sink.tables[NODE_FORECASTS_TABLE]) == set(smooth.sink.tables[NODE_FORECASTS_TABLE])
        assert NewestForecasts(rough.blobs, FORECASTS_BLOB).read() is not None

    def test_an_answer_of_another_form_is_no_answer(self) -> None:
        running = Running(StoredDemand())
        running.history.query = lambda *_: {"Start": [1]}  # type: ignore[method-assign]

        with pytest.raises(HistoryUnavailable, match="another form"):
            running.run()

    @pytest.mark.parametrize("name", [HISTORY_BLOB, FORECASTS_BLOB])
    @pytest.mark.parametrize("how", [lambda b: b"", lambda b: b[:-3], lambda b: b"DMZ\x01" + b[4:], lambda b: b * 2])
    def test_damaged_states_are_made_anew_and_told(self, name: str, how: Callable[[bytes], bytes]) -> None:
        running = Running(StoredDemand())
        running.run()
        running.damage(name, how)

        made = running.run(1)

        assert made is not None
        assert made.pools["c", "user"].known_s == 86_400
        (problem,) = running.demand.problems
        assert "anew" in problem


class TestMemory:
    """Bytes."""

    def history(self) -> DemandHistory:
        found = DemandHistory(UNTIL)
        found.put(("c", "user"), UNTIL - 1, (2.5, 1.5, 4.0))
        found.put(("c", "system"), UNTIL - HISTORY, (0.5, np.nan, 1.0))
        return found

    def test_histories_come_back(self) -> None:
        found = decode_history(self.history().encode())

        assert found.until == UNTIL
        assert list(found.pools) == [("c", "user"), ("c", "system")]
        for key, values in self.history().pools.items():
            np.testing.assert_array_equal(found.pools[key], values)

    def test_what_moves_out_of_two_weeks_is_forgotten(self) -> None:
        history = self.history()
        history.move(UNTIL + 10)

        assert history.pools["c", "user"][0, -11] == 2.5
        assert np.isnan(history.pools["c", "system"]).all()
        history.move(UNTIL + HISTORY + 11)
        assert np.isnan(history.pools["c", "user"]).all()

    @pytest.mark.parametrize("outside", [UNTIL, UNTIL + 5, UNTIL - HISTORY - 1])
    def test_steps_outside_of_the_two_weeks_are_left_out(self, outside: int) -> None:
        history = DemandHistory(UNTIL)
        history.put(("c", "user"), outside, (1.0, 1.0, 1.0))

        assert history.pools == {}

    def test_any_truncation_is_noticed(self) -> None:
        for blob, decode in (
            (self.history().encode(), decode_history),
            (PoolForecasts(5, {}).encode(), decode_forecasts),
        ):
            for size in range(len(blob)):
                with pytest.raises(ForecastStateUnreadable):
                    decode(blob[:size])  # type: ignore[operator]

    def test_one_is_not_read_as_the_other(self) -> None:
        with pytest.raises(ForecastStateUnreadable, match="begins with"):
            decode_forecasts(self.history().encode())
