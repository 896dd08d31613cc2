"""Node states in Table Storage: one entity per node, guarded by its ETag.

PartitionKey is the cluster, RowKey the node. The state's bytes are cut into binary properties of 60 KiB, since a
property holds 64 KiB; the summary's properties stand beside them for lists and queries.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from azure.core import MatchConditions
from azure.core.exceptions import AzureError, HttpResponseError, ResourceNotFoundError
from azure.data.tables import EdmType, EntityProperty, TableClient, TableErrorCode, TableTransactionError

from functions.core.ports import NodeKey, StateUpdate, StoredState
from telemetry.errors import StateConflict, StoreUnavailable

CHUNK_BYTES = 60 * 1024
MAX_OPERATIONS = 100
"""Of one entity group transaction."""
MAX_TRANSACTION_BYTES = 3 * 1024 * 1024
"""The service takes 4 MiB of a transaction's JSON; binary grows by a third in it."""
POINT_READS = 16
"""More keys than this of one cluster are read with one range query instead."""
_CONFLICTS = frozenset({404, 409, 412})

Operation = tuple[str, dict[str, Any]] | tuple[str, dict[str, Any], dict[str, Any]]


class TableStateStore:
    """`functions.core.ports.StateStore` on one table."""

    def __init__(self, table: TableClient) -> None:
        self._table = table
        self._threads = ThreadPoolExecutor(8, thread_name_prefix="state")

    def create_table(self) -> None:
        """Makes the table if it is not there. Raises StoreUnavailable."""
        try:
            self._table.create_table()
        except HttpResponseError as error:
            if error.status_code != 409:
                raise StoreUnavailable(f"cannot make the table of node states: {error.message}") from error
        except AzureError as error:
            raise StoreUnavailable(f"cannot make the table of node states: {error}") from error

    def load(self, keys: Sequence[NodeKey]) -> dict[NodeKey, StoredState]:
        """Reads states: point reads for a few nodes of a cluster, one range query for many."""
        found = {key: StoredState(None, None) for key in keys}
        clusters: dict[str, list[str]] = {}
        for cluster, node in keys:
            clusters.setdefault(cluster, []).append(node)
        try:
            for cluster, nodes in clusters.items():
                entities = self._range(cluster, nodes) if len(nodes) > POINT_READS else self._points(cluster, nodes)
                for entity in entities:
                    key = (cluster, str(entity["RowKey"]))
                    if key in found:
                        found[key] = StoredState(join_state(entity), entity.metadata["etag"])
        except AzureError as error:
            raise StoreUnavailable(f"cannot load {len(keys)} node state(s): {error}") from error
        return found

    def commit(self, updates: Sequence[StateUpdate]) -> dict[NodeKey, str]:
        """Stores updates in entity group transactions: all or nothing per cluster and 100 nodes."""
        versions: dict[NodeKey, str] = {}
        for group in _transactions(updates):
            try:
                replies = self._table.submit_transaction([_operation(update) for update in group])
            except TableTransactionError as error:
                if _is_conflict(error):
                    raise StateConflict([group[min(error.index, len(group) - 1)].key]) from error
                raise StoreUnavailable(f"cannot commit {len(group)} node state(s): {error.message}") from error
            except HttpResponseError as error:
                if _is_conflict(error):
                    raise StateConflict([update.key for update in group]) from error
                raise StoreUnavailable(f"cannot commit {len(group)} node state(s): {error.message}") from error
            except AzureError as error:
                raise StoreUnavailable(f"cannot commit {len(group)} node state(s): {error}") from error
            for update, reply in zip(group, replies, strict=True):
                versions[update.key] = str(reply["etag"])
        return versions

    def find_silent(self, received_before_ms: int, limit: int) -> list[NodeKey]:
        """Nodes counted as live that Event Hubs has received nothing of since then; at most `limit`."""
        query = f"Status eq 'live' and LastSeen lt {int(received_before_ms)}L"
        try:
            pages = self._table.query_entities(query, select=["PartitionKey", "RowKey"], results_per_page=limit)
            return [(str(e["PartitionKey"]), str(e["RowKey"])) for _, e in zip(range(limit), pages, strict=False)]
        except AzureError as error:
            raise StoreUnavailable(f"cannot look for silent nodes: {error}") from error

    def _points(self, cluster: str, nodes: Sequence[str]) -> Iterator[Any]:
        def read(node: str) -> Any:
            try:
                return self._table.get_entity(cluster, node)
            except ResourceNotFoundError as error:
                if is_missing_entity(error):
                    return None
                raise

        return (entity for entity in self._threads.map(read, nodes) if entity is not None)

    def _range(self, cluster: str, nodes: Sequence[str]) -> Iterator[Any]:
        return iter(
            self._table.query_entities(
                "PartitionKey eq @cluster and RowKey ge @first and RowKey le @last",
                parameters={"cluster": cluster, "first": min(nodes), "last": max(nodes)},
            )
        )


def _transactions(updates: Sequence[StateUpdate]) -> Iterator[list[StateUpdate]]:
    clusters: dict[str, list[StateUpdate]] = {}
    for update in updates:
        clusters.setdefault(update.key[0], []).append(update)
    for group in clusters.values():
        chunk: list[StateUpdate] = []
        size = 0
        for update in group:
            bytes_of_update = len(update.blob) * 4 // 3 + 2048
            if chunk and (len(chunk) == MAX_OPERATIONS or size + bytes_of_update > MAX_TRANSACTION_BYTES):
                yield chunk
                chunk, size = [], 0
            chunk.append(update)
            size += bytes_of_update
        yield chunk


def _operation(update: StateUpdate) -> Operation:
    entity: dict[str, Any] = {"PartitionKey": update.key[0], "RowKey": update.key[1]}
    for name, value in update.summary.items():
        is_long = isinstance(value, int) and not isinstance(value, bool)
        entity[name] = EntityProperty(value, EdmType.INT64) if is_long else value
    for index, start in enumerate(range(0, len(update.blob), CHUNK_BYTES)):
        entity[f"State{index:02d}"] = update.blob[start : start + CHUNK_BYTES]
    if update.expected_version is None:
        return "create", entity
    return (
        "update",
        entity,
        {"mode": "replace", "etag": update.expected_version, "match_condition": MatchConditions.IfNotModified},
    )


def join_state(entity: Mapping[str, Any]) -> bytes:
    """The state's bytes of an entity."""
    return b"".join(entity[name] for name in sorted(entity) if name.startswith("State"))


def is_missing_entity(error: AzureError) -> bool:
    """Whether an error says that the entity is not there; a missing table is another matter, which also answers 404."""
    return isinstance(error, ResourceNotFoundError) and not _is_missing_table(error)


def _is_conflict(error: HttpResponseError) -> bool:
    return error.status_code in _CONFLICTS and not _is_missing_table(error)


def _is_missing_table(error: HttpResponseError) -> bool:
    return getattr(error, "error_code", None) == TableErrorCode.TABLE_NOT_FOUND
