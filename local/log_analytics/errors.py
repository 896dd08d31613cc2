"""What the stand-in answers when it refuses, in the JSON shapes of the two services.

ServiceError            status, code, message, headers: everything an answer needs
├── IngestionError      Logs Ingestion API: {"error": {"code", "message"}}
└── QueryError          query API: adds correlationId and, for a bad query, innererror
"""

import uuid
from collections.abc import Mapping


class ServiceError(Exception):
    """A refusal with the HTTP status, the service's error code and a message for a person."""

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = dict(headers or {})

    def body(self) -> dict[str, object]:
        """Return the JSON document of the answer."""
        return {"error": {"code": self.code, "message": self.message}}


class IngestionError(ServiceError):
    """A refusal of the Logs Ingestion API."""


class QueryError(ServiceError):
    """A refusal of the query API; `inner` is (code, message) of what was wrong with the query."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        inner: tuple[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(status, code, message, headers)
        self.inner = inner

    def body(self) -> dict[str, object]:
        """Return the JSON document of the answer, with a fresh correlation id."""
        error: dict[str, object] = {
            "message": self.message,
            "code": self.code,
            "correlationId": str(uuid.uuid4()),
        }
        if self.inner:
            error["innererror"] = {"code": self.inner[0], "message": self.inner[1]}
        return {"error": error}


def bad_query(kind: str, message: str) -> QueryError:
    """Build the 400 of a query that cannot run; `kind` is SyntaxError, SemanticError or BadArgumentError."""
    return QueryError(400, "BadArgumentError", "The request had some invalid properties", inner=(kind, message))
