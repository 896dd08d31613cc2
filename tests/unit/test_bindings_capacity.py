"""GET /capacity without a host: what is refused and why, and what is answered from a known forecast."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import azure.functions as func
import numpy as np
import pytest

from functions.adapters.memory import MemoryBlobs
from functions.bindings import capacity, http
from functions.core.forecast.day_ahead import DAY, DayAhead
from functions.core.forecast.demand_memory import NewestForecasts, PoolForecast, PoolForecasts

KEY = "the-first-api-key"
AT = 1_780_000_200 // 3600 * 3600
BOTH = {"cluster": "aks", "pool": "user"}


def curve(value: float, peak: float, at: int) -> DayAhead:
    expected = np.full(DAY, value)
    expected[at] = peak
    return DayAhead(expected, expected - 0.5, expected + 0.5)


POOLS = {
    ("aks", "user"): PoolForecast(4, 86_400, {"Cpu": curve(2.0, 5.0, 100), "Memory": curve(1.0, 2.0, 3)}),
    ("aks", "young"): PoolForecast(2, 9 * 3600 + 600, {}),
}


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The endpoint's surroundings; `.blobs` is what it reads, `.now` the clock."""
    blobs = MemoryBlobs()
    shared = SimpleNamespace(
        settings=SimpleNamespace(api_keys=(KEY,)), blobs=blobs, forecasts=NewestForecasts(blobs, "f"), now=AT + 200.0
    )
    monkeypatch.setattr(http, "services", lambda: shared)
    monkeypatch.setattr(capacity, "services", lambda: shared)
    monkeypatch.setattr(capacity.time, "time", lambda: shared.now)
    blobs.save("f", PoolForecasts(AT, POOLS).encode(), None)
    return shared


def ask(params: dict[str, str], key: str = KEY) -> tuple[int, dict[str, Any]]:
    request = func.HttpRequest(
        "GET", "http://app/api/capacity", params=params, headers={"x-functions-key": key}, body=b""
    )
    response = capacity.capacity(request)
    expected = "application/json" if response.status_code == 200 else "application/problem+json"
    assert response.mimetype == expected
    return response.status_code, json.loads(response.get_body())


def test_nodes_needed_are_reckoned_from_the_upper_end_of_the_band_at_the_peak(app: Any) -> None:
    status, body = ask({**BOTH, "hours": "12", "target": "0.5"})

    assert status == 200
    assert body["nodes"] == {"current": 4, "needed": 11, "change": 7, "unbounded": 11}
    assert body["peak"] == {"time": "2026-05-29T04:20:00.000Z", "value": 5.0, "lower": 4.5, "upper": 5.5}
    assert (body["from"], body["until"]) == ("2026-05-28T20:00:00.000Z", "2026-05-29T08:00:00.000Z")
    assert body["forecastTime"] == "2026-05-28T20:00:00.000Z"


def test_a_peak_beyond_the_hours_asked_for_does_not_count(app: Any) -> None:
    _, body = ask({**BOTH, "hours": "8", "target": "0.5"})

    assert body["nodes"]["needed"] == 5


def test_the_hours_begin_now_and_not_when_the_forecast_was_made(app: Any) -> None:
    app.now = AT + 101 * 300 - (8 * 3600)  # the peak is the last but one step of eight hours

    status, body = ask({**BOTH, "hours": "8"})

    assert status == 200
    assert body["peak"]["upper"] == 5.5
    assert body["from"] == "2026-05-28T20:25:00.000Z"


def test_the_answer_ends_where_the_forecast_ends(app: Any) -> None:
    app.now = AT + 3600.0

    _, body = ask({**BOTH, "hours": "24"})

    assert body["until"] == "2026-05-29T20:00:00.000Z"


def test_min_and_max_bound_what_is_needed_and_not_what_is_told_beside_it(app: Any) -> None:
    _, most = ask({**BOTH, "hours": "24", "max": "3"})
    _, least = ask({**BOTH, "hours": "1", "min": "6"})

    assert most["nodes"] == {"current": 4, "needed": 3, "change": -1, "unbounded": 8}
    assert least["nodes"] == {"current": 4, "needed": 6, "change": 2, "unbounded": 4}


@pytest.mark.parametrize("target", ["0.7", ".7", "0.700000", "0.01", "1", "1.", "1.0"])
def test_shares_are_taken(app: Any, target: str) -> None:
    status, body = ask({**BOTH, "target": target})

    assert status == 200
    assert body["target"] == float(target)


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({}, "cluster must be given"),
        ({"cluster": "aks"}, "pool must be given"),
        ({"pool": "user"}, "cluster must be given"),
        ({"cluster": "", "pool": "user"}, "cluster must be given"),
        ({"cluster": "aks", "pool": ""}, "pool must be given"),
        ({"cluster": "a/b", "pool": "user"}, "cluster must match"),
        ({"cluster": "a" * 200, "pool": "user"}, "cluster must match"),
        ({"cluster": "aks", "pool": "u" * 129}, "at most 128 printable"),
        ({"cluster": "aks", "pool": "a\nb"}, "at most 128 printable"),
        ({**BOTH, "hour": "6"}, "'hour' is unknown; known are cluster, pool, hours, target, min, max"),
        *(({**BOTH, "hours": bad}, "hours must be a whole number from 1 to 24") for bad in ("0", "25", "6.0", "")),
        *(({**BOTH, "min": bad}, "min must be a whole number from 0 to 1000") for bad in ("-1", "1001", "1e2", "")),
        *(({**BOTH, "max": bad}, "max must be a whole number from 0 to 1000") for bad in ("-1", "1001", "nan", " 5")),
        ({**BOTH, "min": "5", "max": "4"}, "min must be at most max, got 5 and 4"),
        ({**BOTH, "max": "0"}, "min must be at most max, got 1 and 0"),
        *(
            ({**BOTH, "target": bad}, "target must be a share from 0.01 to 1, like 0.7")
            for bad in ("", "0", "0.009", "1.01", "2", "-0.5", "+0.5", "0,7", "70%", "7e-1", "nan", "inf", "0.1234567",
                        "\u0660.\u0667", ".", " 0.7", "0.7 ", "0x1", "1" * 5000)
        ),
    ],
)  # fmt: skip
def test_bad_question_is_a_problem_400_that_says_what_would_be_right(
    app: Any, params: dict[str, str], told: str
) -> None:
    status, body = ask(params)

    assert status == body["status"] == 400
    assert told in body["detail"]
    assert len(body["detail"]) < 200


def test_wrong_key_is_refused_whatever_is_asked(app: Any) -> None:
    assert ask(BOTH, key="another-key-of-16")[0] == 401


@pytest.mark.parametrize("params", [{"cluster": "aks", "pool": "none"}, {"cluster": "other", "pool": "user"}])
def test_unknown_pool_is_404(app: Any, params: dict[str, str]) -> None:
    status, body = ask(params)

    assert status == 404
    assert f"pool {params['pool']} of cluster {params['cluster']}" in body["detail"]


def test_pool_that_is_too_young_is_told_how_much_more_is_needed(app: Any) -> None:
    status, body = ask({"cluster": "aks", "pool": "young"})

    assert status == 409
    assert body["detail"] == "9.2 h of the last 24 h of pool young are known, and 12 h are needed"


def test_before_the_first_forecast_and_after_the_last_the_answer_is_503(app: Any) -> None:
    app.now = AT + capacity.STALE_S + 1
    status, stale = ask(BOTH)
    assert (status, stale["title"]) == (503, "Forecast out of date")
    assert "2026-05-28T20:00:00" in stale["detail"]

    app.forecasts = NewestForecasts(MemoryBlobs(), "f")
    status, none = ask(BOTH)
    assert (status, none["title"]) == (503, "No forecast yet")


def test_damaged_forecast_counts_as_none(app: Any) -> None:
    blobs = MemoryBlobs()
    blobs.save("f", PoolForecasts(AT, POOLS).encode()[:-9], None)
    app.forecasts = NewestForecasts(blobs, "f")

    assert ask(BOTH)[0] == 503


def test_storage_that_does_not_answer_is_503(app: Any) -> None:
    app.blobs.faults.fail("load")

    assert ask(BOTH)[0] == 503
    assert ask(BOTH)[0] == 200


def test_a_newer_forecast_is_answered_with_at_once(app: Any) -> None:
    assert ask(BOTH)[1]["nodes"]["current"] == 4
    version = app.blobs.load("f").version
    newer = PoolForecasts(AT, {("aks", "user"): POOLS["aks", "user"]._replace(nodes=9)})

    app.blobs.save("f", newer.encode(), version)

    assert ask(BOTH)[1]["nodes"]["current"] == 9
