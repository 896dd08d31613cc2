"""`train`: daily, learns what nodes of a pool are like, and promotes the model if it beats the one that serves."""

from __future__ import annotations

import logging
import time

import azure.functions as func

from functions.bindings.services import services

blueprint = func.Blueprint()
log = logging.getLogger("train")


@blueprint.function_name("train")
@blueprint.timer_trigger(arg_name="timer", schedule="0 40 2 * * *", run_on_startup=False, use_monitor=True)
def train(timer: func.TimerRequest) -> None:
    """Trains the fleet model; raises TransientError where history or storage cannot be reached."""
    upkeep = services().upkeep()
    try:
        trained = upkeep.train(int(time.time() * 1000))
    finally:
        for problem in upkeep.problems:
            log.error("fleet model: %s", problem)
    log.info("fleet model %s %s", trained.model, trained.outcome)
