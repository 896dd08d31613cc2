"""`health`: whether this app can do its work; for load balancers and people, without a key."""

from __future__ import annotations

import logging

import azure.functions as func

from functions.bindings.http import answer, public
from functions.bindings.services import services
from telemetry.errors import SettingsError, TransientError

blueprint = func.Blueprint()
log = logging.getLogger("health")


@blueprint.function_name("health")
@blueprint.route(route="health", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
@public
def health(req: func.HttpRequest) -> func.HttpResponse:
    """GET /health : 200 when states and dead letters can be reached, 503 otherwise; the log says why.

    `checks` ends with the one that failed; `start` is what the first call of all makes: settings, table, container.
    `fleetModel` says whether windows are compared with their pools: serving, suspended, absent, unreadable, unknown.
    """
    checks: dict[str, str] = {}
    check = "start"
    try:
        shared = services()
        checks[check] = "pass"
        check = "stateStorage"
        shared.directory.page(limit=1, continuation=None, filters={})
        checks[check] = "pass"
        check = "deadLetters"
        shared.dead_letters.page(limit=1, continuation=None)
        checks[check] = "pass"
    except (SettingsError, TransientError) as error:
        log.warning("health check %s fails: %s", check, error)
        checks[check] = "fail"  # anybody may ask: the reason, with its host names, is for the log
        return answer({"status": "fail", "checks": checks}, status=503)
    return answer({"status": "pass", "checks": checks, "fleetModel": shared.fleet_model.state})
