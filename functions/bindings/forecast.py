"""`forecast`: every quarter of an hour, foresees what will be used up; hourly, what pools will need in the next day."""

from __future__ import annotations

import logging
import time

import azure.functions as func

from functions.bindings.services import Services, services

blueprint = func.Blueprint()
log = logging.getLogger("forecast")
TIME_S = 150.0
"""A run that has more to look at goes on in the next one; functionTimeout is twice as long, for the last query."""


@blueprint.function_name("forecast")
@blueprint.timer_trigger(arg_name="timer", schedule="0 5-59/15 * * * *", run_on_startup=False, use_monitor=True)
def forecast(timer: func.TimerRequest) -> None:
    """Forecasts; what was missed is made up for. Neither half waits for the other where it fails."""
    shared, now = services(), time.time()
    try:
        _demand(shared, now)
    finally:
        _exhaustion(shared, now)


def _demand(shared: Services, now: float) -> None:
    try:
        made = shared.demand.run(int(now * 1000))
    finally:
        _tell(shared.demand.problems)
    if made is not None:
        log.info("next 24 h forecast of %d pool(s)", len(made.pools))


def _exhaustion(shared: Services, now: float) -> None:
    try:
        report = shared.exhaustion.run(int(now * 1000), lambda: time.time() - now < TIME_S)
    finally:
        _tell(shared.exhaustion.problems)
    log.info(
        "%d point(s) of %d series looked at, %d will be used up, %d alarm(s) open",
        report.points, report.series, report.foreseen, report.alarms,
    )  # fmt: skip


def _tell(problems: list[str]) -> None:
    for problem in problems:
        log.error("forecast: %s", problem)
    problems.clear()
