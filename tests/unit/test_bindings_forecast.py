"""The timer of forecasts without a host: both halves run, whatever the other does, and what was overcome is logged."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from functions.bindings import forecast
from functions.core.forecast.exhaustion_watch import Report
from telemetry.errors import HistoryUnavailable, TransientError


class Half:
    """A forecast that does as it is told."""

    def __init__(self, result: Any) -> None:
        self.result, self.problems, self.runs = result, ["something was made anew"], 0

    def run(self, now_ms: int, has_time: Any = None) -> Any:
        self.runs += 1
        if has_time is not None:
            assert has_time()
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


@pytest.fixture
def halves(monkeypatch: pytest.MonkeyPatch) -> Any:
    shared = SimpleNamespace(demand=Half(None), exhaustion=Half(Report(1, 2, 0, 0)))
    monkeypatch.setattr(forecast, "services", lambda: shared)
    return shared


def run() -> None:
    forecast.forecast.build().get_user_function()(SimpleNamespace(past_due=False))  # type: ignore[attr-defined]


def test_both_halves_run_and_what_they_overcame_is_logged_once(halves: Any, caplog: pytest.LogCaptureFixture) -> None:
    run()

    assert (halves.demand.runs, halves.exhaustion.runs) == (1, 1)
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == [
        "forecast: something was made anew",
        "forecast: something was made anew",
    ]
    assert halves.demand.problems == halves.exhaustion.problems == []


@pytest.mark.parametrize("failing", ["demand", "exhaustion"])
def test_a_half_that_fails_fails_the_run_after_the_other(halves: Any, failing: str) -> None:
    getattr(halves, failing).result = HistoryUnavailable("Log Analytics did not answer")

    with pytest.raises(TransientError, match="did not answer"):
        run()

    assert (halves.demand.runs, halves.exhaustion.runs) == (1, 1)
    assert halves.demand.problems == halves.exhaustion.problems == []


def test_it_runs_every_quarter_of_an_hour_and_never_at_every_start() -> None:
    trigger = forecast.forecast.build().get_trigger()  # type: ignore[attr-defined]

    assert trigger.get_dict_repr()["schedule"] == "0 5-59/15 * * * *"
    assert trigger.get_dict_repr()["runOnStartup"] is False
