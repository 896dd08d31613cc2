"""What the conformance suites of core's ports run on; add an implementation by adding its factory here.

A factory is a pytest fixture's worth of context: it yields the port and the way to look behind it.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import orjson

from functions.adapters.memory import (
    MemoryBlobs,
    MemoryDeadLetters,
    MemoryMaintenanceCalendar,
    MemoryRowSink,
    MemoryStateStore,
)
from functions.core.policy.maintenance import MaintenanceWindow
from functions.core.ports import DeadLetters, MaintenanceCalendar, Position, RowSink, VersionedBlobs
from functions.core.sweep import SilentNodes


@dataclass(frozen=True)
class SinkUnderTest:
    """A sink, and what its readers see."""

    sink: RowSink
    rows: Callable[[str], list[dict[str, Any]]]
    """Table -> its rows; waits until everything accepted is visible."""


@dataclass(frozen=True)
class LettersUnderTest:
    """A place of dead letters, and what its readers see."""

    letters: DeadLetters
    kept: Callable[[], Mapping[Position, tuple[bytes, str, str]]]
    """Position -> bytes, reason, detail."""


@dataclass(frozen=True)
class CalendarUnderTest:
    """A calendar, and the way maintenance gets into it."""

    calendar: MaintenanceCalendar
    plan: Callable[[MaintenanceWindow], None]


@contextmanager
def memory_blobs() -> Iterator[VersionedBlobs]:
    yield MemoryBlobs()


@contextmanager
def memory_calendar() -> Iterator[CalendarUnderTest]:
    calendar = MemoryMaintenanceCalendar()
    yield CalendarUnderTest(calendar, calendar.planned.append)


@contextmanager
def memory_state_store() -> Iterator[SilentNodes]:
    yield MemoryStateStore()


@contextmanager
def memory_row_sink() -> Iterator[SinkUnderTest]:
    sink = MemoryRowSink()
    yield SinkUnderTest(sink, lambda table: [orjson.loads(row) for row in sink.tables[table]])


@contextmanager
def memory_dead_letters() -> Iterator[LettersUnderTest]:
    letters = MemoryDeadLetters()
    yield LettersUnderTest(
        letters,
        lambda: {
            position: (letter.event.raw, letter.error.reason.value, letter.error.detail)
            for position, letter in letters.letters.items()
        },
    )


STATE_STORES = {"memory": memory_state_store}
ROW_SINKS = {"memory": memory_row_sink}
DEAD_LETTERS = {"memory": memory_dead_letters}
VERSIONED_BLOBS = {"memory": memory_blobs}
CALENDARS = {"memory": memory_calendar}
