"""What all HTTP functions share: the key check, problem documents, JSON answers, parameters.

Errors are problem documents (RFC 9457). The key in `x-functions-key` is checked here and not by the host, so that
a wrong key is answered like every other problem, in Azure and locally alike, and so that two keys from Key Vault
can be rotated (docs/adr/0004-http-keys.md).
"""

from __future__ import annotations

import hmac
import logging
from collections.abc import Callable
from functools import wraps
from typing import Any

import azure.functions as func
import orjson

from functions.bindings.services import services
from telemetry.errors import TransientError

log = logging.getLogger("http")
Handler = Callable[[func.HttpRequest], func.HttpResponse]


class Problem(Exception):
    """An error answer: status, what kind, and what to do about it."""

    def __init__(self, status: int, title: str, detail: str) -> None:
        super().__init__(detail)
        self.status, self.title, self.detail = status, title, detail


def answer(body: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> func.HttpResponse:
    """A JSON answer."""
    return func.HttpResponse(
        orjson.dumps(body), status_code=status, mimetype="application/json", headers=_headers(headers)
    )


def not_modified(headers: dict[str, str]) -> func.HttpResponse:
    """304 with the headers a 200 would have had."""
    return func.HttpResponse(status_code=304, headers=_headers(headers))


def is_unchanged(request: func.HttpRequest, etag: str) -> bool:
    """Whether If-None-Match names this ETag, by weak comparison as RFC 9110 wants (gateways that compress say W/)."""
    given = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
    return etag in given or given == ["*"]


def guarded(handler: Handler) -> Handler:
    """Checks the key, and turns everything a handler raises into a problem document."""
    return _answering(handler, check_key=True)


def public(handler: Handler) -> Handler:
    """Turns everything a handler raises into a problem document; needs no key."""
    return _answering(handler, check_key=False)


def integer(request: func.HttpRequest, name: str, default: int, low: int, high: int) -> int:
    """A whole-number query parameter within bounds; a Problem 400 otherwise."""
    text = request.params.get(name)
    if text is None:
        return default
    if not text.isascii() or not text.isdigit() or not low <= int(text[:9]) <= high or len(text) > 9:
        raise Problem(400, "Bad parameter", f"{name} must be a whole number from {low} to {high}, got {text[:40]!r}")
    return int(text)


def only(request: func.HttpRequest, *known: str) -> None:
    """Refuses query parameters that are not known (Problem 400): a misspelt filter must not list everything."""
    for name in request.params:
        if name not in (*known, "code"):
            raise Problem(400, "Bad parameter", f"{name[:40]!r} is unknown; known are {', '.join(known) or 'none'}")


def _answering(handler: Handler, *, check_key: bool) -> Handler:
    @wraps(handler)
    def run(req: func.HttpRequest) -> func.HttpResponse:
        try:
            if check_key:
                _check_key(req)
            return handler(req)
        except Problem as problem:
            return _problem(req, problem)
        except TransientError as error:
            log.warning("%s %s: %s", req.method, req.url, error)
            return _problem(req, Problem(503, "Try again", str(error)), {"Retry-After": "5"})
        except Exception:
            log.exception("%s %s failed", req.method, req.url)
            return _problem(req, Problem(500, "Internal error", "the request failed; the log says why"))

    return run


def _check_key(request: func.HttpRequest) -> None:
    text = request.headers.get("x-functions-key") or request.params.get("code") or ""
    given = text.encode(errors="backslashreplace")  # whatever bytes came, they are a wrong key and no failure of ours
    matches = [hmac.compare_digest(given, key.encode()) for key in services().settings.api_keys]
    if not any(matches):
        what = "is wrong" if given else "is missing"
        raise Problem(401, "Unauthorized", f"the key in the header x-functions-key {what}")


def _problem(request: func.HttpRequest, problem: Problem, headers: dict[str, str] | None = None) -> func.HttpResponse:
    body = {
        "type": "about:blank",
        "title": problem.title,
        "status": problem.status,
        "detail": problem.detail,
        "instance": request.url.split("?", 1)[0],
    }
    return func.HttpResponse(
        orjson.dumps(body),
        status_code=problem.status,
        mimetype="application/problem+json",
        headers=_headers(headers),
    )


def _headers(more: dict[str, str] | None) -> dict[str, str]:
    return {"Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff", **(more or {})}
