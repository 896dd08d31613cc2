"""Continuation tokens of lists: a page hands one out, the request for the next page brings it back.

To clients they are opaque: URL-safe base64 of a JSON object with the names the storage service uses. What comes back
may be anything, so a token is refused unless it has the form of one this list gave: the services would begin again at
the first page (Tables), fail with an internal error (Azurite) or be unable to sign the request. For adapters that
page through a storage service; bindings catch BadContinuation.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping

Token = Mapping[str, str | None]


class BadContinuation(ValueError):
    """A continuation token was not one that a page before had given."""

    def __init__(self, text: str) -> None:
        super().__init__(f"continuation {text[:40]!r} is not a token a page gave; take `next` of the page before")


def encode(token: Token | None) -> str | None:
    """The token of the next page as clients get it; None after the last page."""
    return base64.urlsafe_b64encode(json.dumps(token).encode()).decode() if token else None


def decode(text: str | None, first: str, *more: str) -> dict[str, str | None] | None:
    """The token a client brought, which has these names; None for the first page. Raises BadContinuation."""
    if text is None:
        return None
    try:
        token = json.loads(base64.b64decode(text.encode(), altchars=b"-_", validate=True))
    except (ValueError, RecursionError):
        raise BadContinuation(text) from None
    if not isinstance(token, dict) or token.keys() != {first, *more} or not token[first]:
        raise BadContinuation(text)
    if not all(value is None or (isinstance(value, str) and _is_printable(value)) for value in token.values()):
        raise BadContinuation(text)
    return token


def _is_printable(value: str) -> bool:
    return value.isascii() and value.isprintable()
