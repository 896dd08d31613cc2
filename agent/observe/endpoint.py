"""Which path is answered by what. For the server and the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from http import HTTPStatus

from agent.observe.exposition import negotiate
from agent.observe.health import Health
from agent.observe.messages import Request, Response
from agent.observe.metrics import Metrics

METHODS = ("GET", "HEAD")


class Endpoint:
    """Answers /metrics, /healthz and /readyz."""

    def __init__(self, metrics: Metrics, health: Health) -> None:
        self._metrics = metrics
        self._answers: dict[str, Callable[[Request], Response]] = {
            "/metrics": self._scraped,
            "/healthz": lambda _: _judged(health.why_not_alive()),
            "/readyz": lambda _: _judged(health.why_not_ready()),
        }

    def __call__(self, request: Request) -> Response:
        """Gives the answer; a sentence where there is none."""
        answer = self._answers.get(request.path)
        if answer is None:
            return Response.text(HTTPStatus.NOT_FOUND, f"Here are only {', '.join(self._answers)}.")
        if request.method not in METHODS:
            allowed = {"Allow": ", ".join(METHODS)}
            return Response.text(HTTPStatus.METHOD_NOT_ALLOWED, "This can only be read: GET or HEAD.", allowed)
        return answer(request)

    def _scraped(self, request: Request) -> Response:
        format_ = negotiate(request.headers.get("accept"))
        return Response(HTTPStatus.OK, format_.value, self._metrics.document(format_), {"Vary": "Accept"})


def _judged(reasons: list[str]) -> Response:
    status = HTTPStatus.SERVICE_UNAVAILABLE if reasons else HTTPStatus.OK
    body = {"status": "fail", "reasons": reasons} if reasons else {"status": "pass"}
    return Response(status, "application/json", json.dumps(body, ensure_ascii=False).encode() + b"\n")
