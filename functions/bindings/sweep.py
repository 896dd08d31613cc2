"""`sweep`: every half minute, closes the windows of nodes that fell silent and marks them."""

from __future__ import annotations

import logging
import time

import azure.functions as func

from functions.bindings.services import services

blueprint = func.Blueprint()
log = logging.getLogger("sweep")


@blueprint.function_name("sweep")
@blueprint.timer_trigger(arg_name="timer", schedule="*/30 * * * * *", run_on_startup=False, use_monitor=True)
def sweep(timer: func.TimerRequest) -> None:
    """Marks silent nodes."""
    marked = services().sweep.run(int(time.time() * 1000))
    if marked:
        log.warning("nodes fell silent: %d, first %s", len(marked), "/".join(marked[0]))
