"""`dead_letters` and `dead_letter`: what was refused, why, and its raw bytes."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote, urlencode

import azure.functions as func

from functions.adapters.continuation import BadContinuation
from functions.bindings.http import Problem, answer, guarded, integer, only
from functions.bindings.services import services
from functions.core.rows import timestamp

blueprint = func.Blueprint()
_NAME = re.compile(r"[0-9]{13}/[A-Za-z0-9]([A-Za-z0-9._-]{0,254}[A-Za-z0-9])?/[0-9]{1,4}/[0-9]{1,19}")
"""As functions.core.rows.blob_name makes them, with the names an event hub may have."""


@blueprint.function_name("dead_letters")
@blueprint.route(route="dead-letters", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
@guarded
def dead_letters(req: func.HttpRequest) -> func.HttpResponse:
    """GET /dead-letters?limit=&continuation= : one page, newest first."""
    only(req, "limit", "continuation")
    limit = integer(req, "limit", 100, 1, 1000)
    try:
        found, following = services().dead_letters.page(limit=limit, continuation=req.params.get("continuation"))
    except BadContinuation as error:
        raise Problem(400, "Bad parameter", str(error)) from None
    body: dict[str, Any] = {
        "deadLetters": [
            {
                "reason": letter.reason,
                "detail": letter.detail,
                "sizeBytes": letter.size,
                "enqueuedTime": timestamp(letter.enqueued_ms),
                "eventHub": letter.event_hub,
                "partitionId": letter.partition,
                "sequenceNumber": letter.sequence,
                "raw": f"/api/dead-letters/{quote(letter.name)}",
            }
            for letter in found
        ],
        "next": f"/api/dead-letters?{urlencode({'limit': limit, 'continuation': following})}" if following else None,
    }
    return answer(body)


@blueprint.function_name("dead_letter")
@blueprint.route(route="dead-letters/{*name}", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
@guarded
def dead_letter(req: func.HttpRequest) -> func.HttpResponse:
    """GET /dead-letters/{name} : the raw bytes of one, exactly as they were received."""
    name = req.route_params["name"]
    if not _NAME.fullmatch(name):
        raise Problem(400, "Bad name", f"{name[:80]!r} is no dead letter's name; take `raw` from /api/dead-letters")
    raw = services().dead_letters.raw(name)
    if raw is None:
        raise Problem(404, "Unknown dead letter", f"there is no dead letter {name}")
    return func.HttpResponse(
        raw,
        mimetype="application/octet-stream",
        headers={"Content-Disposition": "attachment", "X-Content-Type-Options": "nosniff"},
    )
