"""`capacity`: how many nodes a pool needs in the next hours at a target utilization; the input of proactive scaling."""

from __future__ import annotations

import re
import time
from typing import Any, NamedTuple

import azure.functions as func

from functions.bindings.http import Problem, answer, guarded, integer, only
from functions.bindings.nodes import MAX_POOL
from functions.bindings.services import services
from functions.core.forecast.capacity import MOST_HOURS, nodes_needed
from functions.core.forecast.day_ahead import DAY, STEP_S
from functions.core.forecast.demand_memory import PoolForecast, PoolForecasts
from functions.core.rows import timestamp
from telemetry.rules import NAME_PATTERN

blueprint = func.Blueprint()
MOST_NODES = 1000
"""Of a node pool of AKS."""
DEFAULT_HOURS, DEFAULT_TARGET = 6, 0.7
LEAST_TARGET = 0.01
STALE_S = 3 * 3600
"""A forecast is made every hour; with an older one than this there is no answer."""
_SHARE = re.compile(r"[01](\.[0-9]{0,6})?|\.[0-9]{1,6}", re.ASCII)


class Question(NamedTuple):
    """What is asked for, checked."""

    cluster: str
    pool: str
    hours: int
    target: float
    least: int
    most: int


@blueprint.function_name("capacity")
@blueprint.route(route="capacity", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
@guarded
def capacity(req: func.HttpRequest) -> func.HttpResponse:
    """GET /capacity?cluster=&pool=&hours=&target=&min=&max= : nodes needed, with the forecast it rests on."""
    question, now = _question(req), time.time()
    forecasts = services().forecasts.read()
    if forecasts is None:
        raise Problem(503, "No forecast yet", "the function forecast makes the first one within a quarter of an hour")
    pool = _pool(forecasts, question, now)
    return answer(_body(question, forecasts.at_s, pool, max(int(now - forecasts.at_s), 0) // STEP_S))


def _question(request: func.HttpRequest) -> Question:
    only(request, "cluster", "pool", "hours", "target", "min", "max")
    cluster, pool = _required(request, "cluster"), _required(request, "pool")
    if not re.fullmatch(NAME_PATTERN, cluster):
        raise Problem(400, "Bad parameter", f"cluster must match {NAME_PATTERN}, got {cluster[:40]!r}")
    if not pool.isprintable() or len(pool) > MAX_POOL:
        raise Problem(400, "Bad parameter", f"pool must be at most {MAX_POOL} printable characters, got {pool[:40]!r}")
    hours = integer(request, "hours", DEFAULT_HOURS, 1, MOST_HOURS)
    least, most = integer(request, "min", 1, 0, MOST_NODES), integer(request, "max", MOST_NODES, 0, MOST_NODES)
    if least > most:
        raise Problem(400, "Bad parameter", f"min must be at most max, got {least} and {most}")
    return Question(cluster, pool, hours, _target(request), least, most)


def _required(request: func.HttpRequest, name: str) -> str:
    text: str = request.params.get(name, "")
    if not text:
        raise Problem(400, "Missing parameter", f"{name} must be given: /api/capacity?cluster=CLUSTER&pool=POOL")
    return text


def _target(request: func.HttpRequest) -> float:
    text = request.params.get("target")
    if text is None:
        return DEFAULT_TARGET
    if not _SHARE.fullmatch(text) or not LEAST_TARGET <= float(text) <= 1.0:
        detail = f"target must be a share from {LEAST_TARGET} to 1, like 0.7, got {text[:40]!r}"
        raise Problem(400, "Bad parameter", detail)
    return float(text)


def _pool(forecasts: PoolForecasts, question: Question, now: float) -> PoolForecast:
    age_s = now - forecasts.at_s
    if age_s > STALE_S:
        began = timestamp(forecasts.at_s * 1000)
        detail = f"the newest one begins at {began}; the log of the function forecast says why there is none since"
        raise Problem(503, "Forecast out of date", detail)
    found = forecasts.pools.get((question.cluster, question.pool))
    if found is None:
        detail = (
            f"no node of pool {question.pool} of cluster {question.cluster} reported in the day before the forecast"
        )
        raise Problem(404, "Unknown pool", detail)
    if "Cpu" not in found.ahead:
        detail = f"{found.known_s / 3600:.1f} h of the last 24 h of pool {question.pool} are known, and 12 h are needed"
        raise Problem(409, "Not enough history", detail)
    return found


def _body(question: Question, at_s: int, pool: PoolForecast, now: int) -> dict[str, Any]:
    """The answer; `now` is the step of the forecast that it begins with."""
    ahead, last = pool.ahead["Cpu"], min(now + question.hours * 3600 // STEP_S, DAY)
    found = nodes_needed(
        ahead.upper[now:last],
        target=question.target,
        hours=question.hours,
        current=pool.nodes,
        least=question.least,
        most=question.most,
    )
    peak = now + found.peak_after_s // STEP_S - 1

    def moment(step: int) -> str:
        return timestamp((at_s + step * STEP_S) * 1000)

    return {
        "cluster": question.cluster,
        "pool": question.pool,
        "target": question.target,
        "from": moment(now),
        "until": moment(last),
        "forecastTime": moment(0),
        "nodes": {
            "current": pool.nodes,
            "needed": found.needed,
            "change": found.change,
            "unbounded": found.unbounded,
        },
        "peak": {
            "time": moment(peak),
            **{name: round(float(curve[peak]), 3) for name, curve in ahead._asdict().items()},
        },
    }
