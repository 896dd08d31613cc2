"""What the core needs from the outside world, as protocols; adapters and fakes keep the same promises.

One conformance suite (tests/conformance) runs on each implementation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from functions.core.policy.maintenance import MaintenanceWindow
from telemetry.errors import EnvelopeRejected

NodeKey = tuple[str, str]
"""(cluster, node)."""


@dataclass(frozen=True, slots=True)
class Position:
    """Where an event lies in Event Hubs; names it for ever."""

    event_hub: str
    partition: str
    sequence: int
    enqueued_ms: int


@dataclass(frozen=True, slots=True)
class Event:
    """One received event: its bytes and where they came from."""

    raw: bytes
    position: Position


@dataclass(frozen=True, slots=True)
class StoredState:
    """The state of a node as the store has it; `version` guards the next commit (an ETag; None: not there yet)."""

    blob: bytes | None
    version: str | None


@dataclass(frozen=True, slots=True)
class StateUpdate:
    """A node's new state and the summary that lists show without opening it."""

    key: NodeKey
    blob: bytes
    expected_version: str | None
    summary: Mapping[str, str | int | float | bool]


class StateStore(Protocol):
    """Keeps one state per node, guarded by versions."""

    def load(self, keys: Sequence[NodeKey]) -> dict[NodeKey, StoredState]:
        """Returns the stored state of every key, with blob None for a node never seen. Raises StoreUnavailable."""

    def commit(self, updates: Sequence[StateUpdate]) -> dict[NodeKey, str]:
        """Stores the updates and returns their new versions.

        Raises StateConflict naming at least one key whose version is not the expected one; other updates of the
        call may or may not have been stored, so the caller reloads all of them. Raises StoreUnavailable otherwise.
        """


class VersionedBlobs(Protocol):
    """Keeps what detectors and models know, a few megabytes under a name, guarded by a version."""

    def load(self, name: str, *, unless: str | None = None) -> StoredState | None:
        """What is stored under the name, with blob None for nothing; None if it still has the version `unless`.

        Raises StoreUnavailable.
        """

    def save(self, name: str, blob: bytes, expected_version: str | None) -> str:
        """Replaces what is stored and returns its new version; None expects that there is nothing yet.

        Raises StateConflict if the version is not the expected one, StoreUnavailable otherwise.
        """


Columns = Mapping[str, Sequence[Any]]
"""A table by columns, all equally long."""


class History(Protocol):
    """Answers queries about rows that were stored."""

    def query(self, kql: str, since: datetime, until: datetime) -> Columns:
        """The answer to a KQL query over rows whose TimeGenerated is within [since, until].

        Whole or not at all: raises HistoryUnavailable for what is too large, takes too long, or cannot be asked.
        """


class MaintenanceCalendar(Protocol):
    """Knows when which nodes are in maintenance."""

    def windows(self) -> Sequence[MaintenanceWindow]:
        """Those that were not over a day ago, as they were known a minute ago at most. Raises StoreUnavailable."""


class RowSink(Protocol):
    """Appends rows to Log Analytics tables."""

    def write(self, table: str, rows: Sequence[bytes]) -> None:
        """Returns when every row (one JSON object each) is accepted. Raises SinkUnavailable if any may not be."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An event that can never be stored, whole, with the reason."""

    event: Event
    error: EnvelopeRejected


class DeadLetters(Protocol):
    """Keeps what was refused, for people to look at and to replay."""

    def put(self, letters: Iterable[DeadLetter]) -> None:
        """Returns when all are kept. Putting the same position again changes nothing. Raises SinkUnavailable."""
