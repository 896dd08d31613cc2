"""Core's ports without Azure: they keep the contract exactly, in memory, and fail when they are told to.

For tests and benchmarks. The same conformance suite (tests/conformance) runs on these and on Azure's.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from enum import StrEnum
from itertools import count

from functions.core.policy.maintenance import MaintenanceWindow
from functions.core.ports import DeadLetter, NodeKey, Position, StateUpdate, StoredState
from telemetry.errors import SinkUnavailable, StateConflict, StoreUnavailable


class Moment(StrEnum):
    """How much of a failing call took effect before it failed."""

    BEFORE = "before"
    """Nothing."""
    HALFWAY = "halfway"
    """The first half of its items."""
    AFTER = "after"
    """Everything; only the answer was lost."""

    def share(self, items: int) -> int:
        """How many of the items took effect."""
        return {Moment.BEFORE: 0, Moment.HALFWAY: items // 2, Moment.AFTER: items}[self]


class Faults:
    """Which of the calls to come are to fail, per operation."""

    def __init__(self) -> None:
        self._planned: defaultdict[str, dict[int, Moment]] = defaultdict(dict)
        self._made: defaultdict[str, int] = defaultdict(int)

    def fail(self, operation: str, moment: Moment = Moment.BEFORE, *, after_calls: int = 0) -> None:
        """Plans for a call of the operation to fail: the next one, or the one after so many that succeed."""
        self._planned[operation][self._made[operation] + after_calls] = moment

    def clear(self) -> None:
        """No call fails any more."""
        self._planned.clear()

    def begin(self, operation: str) -> Moment | None:
        """Counts a call; how it is to fail, or None if it is to succeed."""
        number = self._made[operation]
        self._made[operation] += 1
        return self._planned[operation].pop(number, None)


class MemoryStateStore:
    """`functions.core.ports.StateStore` and `functions.core.sweep.SilentNodes`; operations "load" and "commit"."""

    def __init__(self) -> None:
        self.faults = Faults()
        self._states: dict[NodeKey, tuple[StateUpdate, str]] = {}
        self._versions = count(1)

    def load(self, keys: Sequence[NodeKey]) -> dict[NodeKey, StoredState]:
        """Returns the stored state of every key."""
        if self.faults.begin("load"):
            raise StoreUnavailable(f"told to fail loading {len(keys)} state(s)")
        return {key: self._state(key) for key in keys}

    def commit(self, updates: Sequence[StateUpdate]) -> dict[NodeKey, str]:
        """Stores updates one after the other up to the first conflict."""
        moment = self.faults.begin("commit")
        if moment:
            self._store(updates[: moment.share(len(updates))])
            raise StoreUnavailable(f"told to fail {moment} committing {len(updates)} state(s)")
        return self._store(updates)

    def find_silent(self, received_before_ms: int, limit: int) -> list[NodeKey]:
        """Live nodes whose last envelope was received before that; at most `limit`."""
        found = [
            key
            for key, (update, _) in sorted(self._states.items())
            if update.summary["Status"] == "live" and int(update.summary["LastSeen"]) < received_before_ms
        ]
        return found[:limit]

    @property
    def keys(self) -> list[NodeKey]:
        """Every node the store has."""
        return list(self._states)

    def _state(self, key: NodeKey) -> StoredState:
        update, version = self._states.get(key, (None, None))
        return StoredState(update.blob if update else None, version)

    def _store(self, updates: Sequence[StateUpdate]) -> dict[NodeKey, str]:
        versions: dict[NodeKey, str] = {}
        for update in updates:
            if self._state(update.key).version != update.expected_version:
                raise StateConflict([update.key])
            versions[update.key] = f'W/"{next(self._versions)}"'
            self._states[update.key] = (update, versions[update.key])
        return versions


class MemoryBlobs:
    """`functions.core.ports.VersionedBlobs`; operations "load" and "save"."""

    def __init__(self) -> None:
        self.faults = Faults()
        self._blobs: dict[str, StoredState] = {}
        self._versions = count(1)

    def load(self, name: str, *, unless: str | None = None) -> StoredState | None:
        """Returns what is stored under the name."""
        if self.faults.begin("load"):
            raise StoreUnavailable(f"told to fail loading {name}")
        found = self._blobs.get(name, StoredState(None, None))
        return None if unless is not None and found.version == unless else found

    def save(self, name: str, blob: bytes, expected_version: str | None) -> str:
        """Replaces what is stored under the name."""
        moment = self.faults.begin("save")
        if moment in (Moment.BEFORE, Moment.HALFWAY):
            raise StoreUnavailable(f"told to fail {moment} saving {name}")
        if self._blobs.get(name, StoredState(None, None)).version != expected_version:
            raise StateConflict([("memory", name)])
        version = f'W/"{next(self._versions)}"'
        self._blobs[name] = StoredState(blob, version)
        if moment:
            raise StoreUnavailable(f"told to fail {moment} saving {name}")
        return version


class MemoryMaintenanceCalendar:
    """`functions.core.ports.MaintenanceCalendar`; operation "windows"."""

    def __init__(self, *planned: MaintenanceWindow) -> None:
        self.faults = Faults()
        self.planned = list(planned)

    def windows(self) -> Sequence[MaintenanceWindow]:
        """Returns what was planned."""
        if self.faults.begin("windows"):
            raise StoreUnavailable("told to fail reading the planned maintenance")
        return tuple(self.planned)


class MemoryRowSink:
    """`functions.core.ports.RowSink`; operation "write". Like Log Analytics it keeps what comes twice, twice."""

    def __init__(self) -> None:
        self.faults = Faults()
        self.tables: defaultdict[str, list[bytes]] = defaultdict(list)

    def write(self, table: str, rows: Sequence[bytes]) -> None:
        """Accepts every row."""
        moment = self.faults.begin("write")
        self.tables[table] += rows[: moment.share(len(rows))] if moment else rows
        if moment:
            raise SinkUnavailable(f"told to fail {moment} accepting {len(rows)} row(s) of {table}")


class MemoryDeadLetters:
    """`functions.core.ports.DeadLetters`; operation "put"."""

    def __init__(self) -> None:
        self.faults = Faults()
        self.letters: dict[Position, DeadLetter] = {}

    def put(self, letters: Iterable[DeadLetter]) -> None:
        """Keeps every letter under its position."""
        wanted = list(letters)
        moment = self.faults.begin("put")
        for letter in wanted[: moment.share(len(wanted))] if moment else wanted:
            self.letters[letter.event.position] = letter
        if moment:
            raise SinkUnavailable(f"told to fail {moment} keeping {len(wanted)} dead letter(s)")
