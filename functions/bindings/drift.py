"""`drift`: hourly, checks whether the fleet model still fits; trains anew or falls back where it does not."""

from __future__ import annotations

import logging
import time

import azure.functions as func

from functions.bindings.services import services
from functions.core.fleet_model.upkeep import State

blueprint = func.Blueprint()
log = logging.getLogger("drift")


@blueprint.function_name("drift")
@blueprint.timer_trigger(arg_name="timer", schedule="0 20 * * * *", run_on_startup=False, use_monitor=True)
def drift(timer: func.TimerRequest) -> None:
    """Writes the model's health; raises TransientError where history, storage or Log Analytics cannot be reached."""
    upkeep = services().upkeep()
    try:
        checked = upkeep.check(int(time.time() * 1000))
    finally:
        for problem in upkeep.problems:
            log.error("fleet model: %s", problem)
    tell = log.info if checked.state is State.SERVING else log.warning
    tell("fleet model is %s; %s", checked.state, checked.detail or checked.drifted or "nothing has drifted")
