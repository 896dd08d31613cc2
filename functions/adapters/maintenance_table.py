"""Planned maintenance in Table Storage: one entity per time, put there by whoever plans it.

PartitionKey is the cluster, RowKey any name. From and Until are date-times (or ISO 8601 texts with a time zone); Pool
or Node, where given, say which part of the cluster it is about. docs/incidents.md shows how to add one.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from azure.core.exceptions import AzureError, HttpResponseError
from azure.data.tables import TableClient

from functions.core.policy.maintenance import MaintenanceWindow
from telemetry.errors import StoreUnavailable

READ_EVERY_S = 60.0
KEPT_MS = 24 * 3_600_000
"""Times that are over are still known for so long: samples may come late."""


class TableMaintenanceCalendar:
    """`functions.core.ports.MaintenanceCalendar` on one table, read once a minute at most."""

    def __init__(self, table: TableClient, log: Callable[[str], None]) -> None:
        self._table, self._log = table, log
        self._lock = threading.Lock()
        self._read_at = float("-inf")
        self._windows: tuple[MaintenanceWindow, ...] = ()
        self._complained: set[tuple[str, str]] = set()

    def create_table(self) -> None:
        """Makes the table if it is not there. Raises StoreUnavailable."""
        try:
            self._table.create_table()
        except HttpResponseError as error:
            if error.status_code != 409:
                raise StoreUnavailable(f"cannot make the table of maintenance: {error.message}") from error
        except AzureError as error:
            raise StoreUnavailable(f"cannot make the table of maintenance: {error}") from error

    def windows(self) -> Sequence[MaintenanceWindow]:
        """The planned times, see `MaintenanceCalendar.windows`; what cannot be understood is logged and left out."""
        with self._lock:
            if time.monotonic() - self._read_at >= READ_EVERY_S:
                self._read_at = time.monotonic()  # a failure, too, is not repeated before a minute is over
                self._windows = self._read()
            return self._windows

    def _read(self) -> tuple[MaintenanceWindow, ...]:
        oldest = time.time() * 1000 - KEPT_MS
        found = []
        try:
            for entity in self._table.list_entities():
                try:
                    window = window_of(entity)
                except ValueError as error:
                    self._complain((str(entity["PartitionKey"]), str(entity["RowKey"])), error)
                else:
                    if window.until_ms >= oldest:
                        found.append(window)
        except AzureError as error:
            raise StoreUnavailable(f"cannot read the planned maintenance: {error}") from error
        return tuple(found)

    def _complain(self, key: tuple[str, str], error: ValueError) -> None:
        if key not in self._complained:
            self._complained.add(key)
            self._log(f"maintenance {'/'.join(key)} is left out: {error}")


def window_of(entity: Mapping[str, Any]) -> MaintenanceWindow:
    """The time of an entity. Raises ValueError that says what is wrong with it."""
    start, until = (_moment(entity, name) for name in ("From", "Until"))
    if until <= start:
        raise ValueError(f"Until must be later than From, got {entity['Until']} and {entity['From']}")
    for name in ("Pool", "Node"):
        if not isinstance(entity.get(name, ""), str):
            raise ValueError(f"{name} must be a text, got {entity[name]!r:.80}")
    return MaintenanceWindow(
        str(entity["PartitionKey"]), start, until, str(entity.get("Pool", "")), str(entity.get("Node", ""))
    )


def _moment(entity: Mapping[str, Any], name: str) -> int:
    value = entity.get(name)
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            value = datetime.fromisoformat(value)
    if not isinstance(value, datetime):
        raise ValueError(f"{name} must be a date-time like 2026-03-02T08:00:00Z, got {value!r:.80}")
    if value.tzinfo is None:
        raise ValueError(f"{name} must say its time zone, like 2026-03-02T08:00:00Z, got {value.isoformat()}")
    return round(value.astimezone(UTC).timestamp() * 1000)
