"""Nodes as people ask for them: pages of summaries, and one node's snapshot. Reads the entities of `table_state`."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import Any

from azure.core.exceptions import AzureError, ResourceNotFoundError
from azure.data.tables import TableClient

from functions.adapters.table_state import join_state
from telemetry.errors import StoreUnavailable

_SUMMARY = ["PartitionKey", "RowKey", "Pool", "Status", "LastSeen", "AnomalyScore", "AnomalyMetric"]


class BadContinuation(ValueError):
    """A continuation token was not one that a page before had given."""


@dataclass(frozen=True, slots=True)
class Summary:
    """One line of a list of nodes."""

    cluster: str
    node: str
    pool: str
    status: str
    last_seen_ms: int
    anomaly_score: float
    anomaly_metric: str


class NodeDirectory:
    """Reads the table of node states for the HTTP endpoint. Everything raises StoreUnavailable."""

    def __init__(self, table: TableClient) -> None:
        self._table = table

    def page(
        self, *, limit: int, continuation: str | None, filters: dict[str, str]
    ) -> tuple[list[Summary], str | None]:
        """At most `limit` nodes and the token of the next page; `filters` maps a property to its wanted value.

        Raises BadContinuation for a token that no page gave.
        """
        token = _decode(continuation)
        query = " and ".join(f"{name} eq @{name}" for name in filters)
        try:
            pages = self._table.query_entities(
                query, parameters=filters, select=_SUMMARY, results_per_page=limit
            ).by_page(token)  # type: ignore[arg-type]
            found = list(next(iter(pages), ()))
        except AzureError as error:
            raise StoreUnavailable(f"cannot list nodes: {error}") from error
        following = pages.continuation_token  # type: ignore[attr-defined]
        return [_summary(entity) for entity in found], _encode(following)

    def state(self, cluster: str, node: str) -> tuple[bytes, str] | None:
        """The state's bytes of one node and their ETag; None for a node never heard of."""
        try:
            entity = self._table.get_entity(cluster, node)
        except ResourceNotFoundError:
            return None
        except AzureError as error:
            raise StoreUnavailable(f"cannot read {cluster}/{node}: {error}") from error
        return join_state(entity), str(entity.metadata["etag"])


def _summary(entity: Any) -> Summary:
    seen = entity.get("LastSeen", 0)
    return Summary(
        entity["PartitionKey"],
        entity["RowKey"],
        entity.get("Pool", ""),
        entity.get("Status", ""),
        int(getattr(seen, "value", seen)),
        float(entity.get("AnomalyScore", 0.0)),
        entity.get("AnomalyMetric", ""),
    )


def _encode(token: dict[str, str | None] | None) -> str | None:
    return base64.urlsafe_b64encode(json.dumps(token).encode()).decode() if token else None


def _decode(text: str | None) -> dict[str, str | None] | None:
    if not text:
        return None
    try:
        token = json.loads(base64.b64decode(text.encode(), altchars=b"-_", validate=True))
    except (ValueError, binascii.Error):
        token = None
    if not isinstance(token, dict) or not all(isinstance(value, str | None) for value in token.values()):
        raise BadContinuation(f"continuation {text[:40]!r} is not a token a page gave")
    return token
