"""`openapi`: the description of the HTTP interface (OpenAPI 3.1), as written in openapi.json beside this file."""

from __future__ import annotations

from pathlib import Path

import azure.functions as func

from functions.bindings.http import public

blueprint = func.Blueprint()


@blueprint.function_name("openapi")
@blueprint.route(route="openapi.json", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
@public
def openapi(req: func.HttpRequest) -> func.HttpResponse:
    """GET /openapi.json."""
    text = Path(__file__).with_name("openapi.json").read_bytes()
    return func.HttpResponse(text, mimetype="application/json")
