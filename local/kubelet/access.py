"""Who may ask, as the kubelet's webhooks would find out: TokenReview, then SubjectAccessReview. For the service."""

from __future__ import annotations

import json
import secrets
from pathlib import Path

STATS = "nodes/stats"
"""What RBAC calls the right to GET /stats/*."""


class Denied(Exception):
    """A status and the text a kubelet sends with it."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Access:
    """Checks tokens against a file, `{"TOKEN": ["nodes/stats"]}`, which is read again at every request.

    A token that is taken out of the file has expired; one without the right is somebody else's.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    @classmethod
    def make(cls, path: Path, token_file: Path) -> Access:
        """Makes the file with one new token, unless it exists, and writes the token as pods get it."""
        if not path.exists():
            token = secrets.token_urlsafe(32)
            path.write_text(json.dumps({token: [STATS]}))
            token_file.write_text(token)
        return cls(path)

    def check(self, authorization: str) -> None:
        """Raises Denied unless the header's token may read statistics."""
        scheme, _, token = authorization.partition(" ")
        rights = json.loads(self._path.read_text()).get(token)
        if scheme != "Bearer" or rights is None:
            raise Denied(401, "Unauthorized")
        if STATS not in rights:
            raise Denied(
                403,
                "Forbidden (user=system:serviceaccount:default:agent, verb=get, resource=nodes, subresource=stats)",
            )
