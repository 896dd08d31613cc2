"""Nodes as people ask for them: pages of summaries, and one node's snapshot. Reads the entities of `table_state`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from azure.core.exceptions import AzureError, HttpResponseError
from azure.data.tables import TableClient

from functions.adapters import continuation as tokens
from functions.adapters.table_state import is_missing_entity, join_state
from telemetry.errors import StoreUnavailable

_PROPERTIES = ["Pool", "Status", "LastSeen", "AnomalyScore", "AnomalyMetric", "IncidentId", "Severity"]
_SUMMARY = ["PartitionKey", "RowKey", *_PROPERTIES]


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
    incident_id: str
    """Of the open incident; empty: none."""
    severity: str


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
        token = tokens.decode(continuation, "PartitionKey", "RowKey")
        query = " and ".join(f"{name} eq @{name}" for name in filters)
        try:
            pages = self._table.query_entities(
                query, parameters=filters, select=_SUMMARY, results_per_page=limit
            ).by_page(token)  # type: ignore[arg-type]
            found = list(next(iter(pages), ()))
        except AzureError as error:
            if continuation and isinstance(error, HttpResponseError) and error.status_code == 400:
                raise tokens.BadContinuation(continuation) from error
            raise StoreUnavailable(f"cannot list nodes: {error}") from error
        following = pages.continuation_token  # type: ignore[attr-defined]
        return [_summary(entity) for entity in found], tokens.encode(following)

    def state(self, cluster: str, node: str) -> tuple[bytes, str] | None:
        """The state's bytes of one node and their ETag; None for a node never heard of."""
        try:
            entity = self._table.get_entity(cluster, node)
        except AzureError as error:
            if is_missing_entity(error):
                return None
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
        entity.get("IncidentId", ""),
        entity.get("Severity", ""),
    )
