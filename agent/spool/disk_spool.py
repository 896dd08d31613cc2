"""The spool on disk: survives restarts, falls back to memory when the disk fails. For the service."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice

from agent.clock import Clock
from agent.spool.drops import Drops
from agent.spool.files import SpoolFile, SpoolFiles
from agent.spool.spool import DropReason, Spooled

log = logging.getLogger(__name__)

MAX_MEMORY_BYTES = 4 * 1024 * 1024
"""How much may wait in memory while the disk fails: half a day of the default intervals."""
GRACE = 60.0
"""So many seconds of this process what was left behind is not too old: the wall clock may be wrong at its start."""
MAX_FILES_AT_ONCE = 100
"""How many files an append writes or removes that the disk did not take earlier; the rest is for the next one."""


@dataclass(slots=True)
class _Entry:
    """One envelope: on disk (`file`), or in memory because the disk would not take it (`body`); the newest on both."""

    since: float
    """On the monotonic clock."""
    appended_ms: int
    """On the wall clock."""
    size: int
    file: SpoolFile | None = None
    body: bytes = b""
    left_behind: bool = False
    """Whether it is from an earlier process."""


class DiskSpool:
    """Keeps every envelope in a file of its own; an index in memory holds the order.

    What the disk does not take waits in memory and is written as soon as the disk takes it. A second agent on the
    same directory (an overlapping roll-out) does no harm: both may send the same envelopes, which receivers
    recognise as duplicates.

    Within a process envelopes age by the monotonic clock. How old those are that an earlier process has left behind
    only the wall clock knows: the lower of its word at the start and now counts, what it says to be from the future
    is of age 0 at the start, and before any is too old, this process has had a minute to send it.
    """

    @classmethod
    def open(cls, files: SpoolFiles, *, max_bytes: int, max_age: float, clock: Clock) -> DiskSpool:
        """Takes up the envelopes that earlier processes have left behind; they come first."""
        spool = cls(files, max_bytes, max_age, clock)
        spool._take_up()
        return spool

    def __init__(self, files: SpoolFiles, max_bytes: int, max_age: float, clock: Clock) -> None:
        self._files = files
        self._max_bytes = max_bytes
        self._max_age = max_age
        self._clock = clock
        self._entries: dict[int, _Entry] = {}
        self._bytes = 0
        self._in_memory: dict[int, _Entry] = {}
        """Those of `_entries` that the disk has not taken, in order."""
        self._memory_bytes = 0
        self._newest: _Entry | None = None
        """What was appended last. It is sent next, as a rule, and kept in memory so that it need not be read back."""
        self._unremoved: list[SpoolFile] = []
        """Files that are done with and that the disk did not remove."""
        self._disk_failing = False
        self._drops = Drops()
        self._next = 1
        self._opened = clock.monotonic()

    @property
    def drops(self) -> Mapping[DropReason, int]:
        """How many envelopes were forgotten or lost, by reason."""
        return self._drops.counts

    @property
    def dropped(self) -> int:
        """How many envelopes were forgotten or lost."""
        return sum(self._drops.counts.values())

    @property
    def waiting_bytes(self) -> int:
        """How many bytes the envelopes that wait have together; their files take whole blocks of the disk."""
        return self._bytes

    @property
    def disk_failing(self) -> bool:
        """Whether the disk has refused something that it has not done since."""
        return self._disk_failing

    def append(self, body: bytes) -> None:
        """Adds an envelope at the end; drops from the front what is then over the bounds."""
        number, entry = self._next, _Entry(self._clock.monotonic(), self._clock.epoch_ms(), len(body), body=body)
        self._next += 1
        if self._newest is not None and self._newest.file is not None:
            self._newest.body = b""
        self._newest = entry
        self._entries[number] = self._in_memory[number] = entry
        self._bytes += entry.size
        self._memory_bytes += entry.size
        self._settle_with_disk()
        self._drop_over_bounds()
        self._drops.appended()

    def oldest(self, max_count: int, max_bytes: int) -> list[Spooled]:
        """Gives the oldest envelopes in order, at most so many and so large together; one at least if there is any.

        Damaged files are set aside and counted as dropped on the way.
        """
        self._drop_over_bounds()
        taken: list[Spooled] = []
        while self._entries and not taken:  # again when all that were looked at turned out to be damaged
            size = 0
            for number, entry in list(islice(self._entries.items(), max_count)):
                if taken and size + entry.size > max_bytes:
                    break
                body = self._body(number, entry)
                if body is not None:
                    taken.append(Spooled(number, body))
                    size += entry.size
        return taken

    def oldest_age(self) -> float:
        """Gives the seconds for which the oldest envelope has waited; 0 when none waits."""
        entry = next(iter(self._entries.values()), None)
        return self._age(entry) if entry else 0.0

    def remove(self, numbers: Iterable[int]) -> None:
        """Removes envelopes that were acknowledged or can never be sent; numbers it does not have are ignored."""
        for number in numbers:
            self._forget(number)

    def __len__(self) -> int:
        """How many envelopes wait."""
        return len(self._entries)

    def _take_up(self) -> None:
        try:
            found = self._files.scan()
        except OSError as error:
            self._report_failure(error)
            return
        now_ms = self._clock.epoch_ms()
        for file in found.whole:
            # Not simply the file's number: two processes that shared the directory have used some of them twice.
            number = max(file.number, self._next)
            since = self._opened - max(0, now_ms - file.appended_ms) / 1000
            self._entries[number] = _Entry(since, file.appended_ms, file.size, file, left_behind=True)
            self._bytes += file.size
            self._next = number + 1
        for name in found.damaged:
            self._set_aside(name)
            self._drops.add(DropReason.DAMAGED, file=name, problem="it is shorter or longer than it was; see set-aside")
        for name in found.foreign:
            self._set_aside(name)
        if any(found):
            fields = {"envelopes": len(found.whole), "bytes": self._bytes, "foreign_files": len(found.foreign)}
            log.info("spool_taken_up", extra=fields)
        self._drop_over_bounds()

    def _body(self, number: int, entry: _Entry) -> bytes | None:
        """Reads an envelope; one that cannot be read is lost, and leaves the spool."""
        if entry.file is None or entry.body:
            return entry.body
        reason = DropReason.DAMAGED
        try:
            body = self._files.read(entry.file)
            if body is not None:
                return body
            problem = "its contents have changed; see set-aside"
            self._set_aside(entry.file.name)
        except FileNotFoundError:
            reason, problem = DropReason.MISSING, "its file is gone"
        except OSError as error:
            problem = str(error)
        file = entry.file.name
        self._leave(number)
        self._drops.add(reason, file=file, problem=problem)
        return None

    def _leave(self, number: int) -> _Entry | None:
        """Takes an envelope off the index; its file stays."""
        entry = self._entries.pop(number, None)
        if entry is not None:
            self._bytes -= entry.size
            if entry is self._newest:
                self._newest = None
            if self._in_memory.pop(number, None):
                self._memory_bytes -= entry.size
        return entry

    def _forget(self, number: int) -> None:
        """Takes an envelope off the index and removes its file."""
        entry = self._leave(number)
        if entry is None or entry.file is None:
            return
        try:
            self._files.remove(entry.file)
        except OSError as error:
            self._unremoved.append(entry.file)
            self._report_failure(error)

    def _drop_over_bounds(self) -> None:
        """Drops the oldest envelopes until the bounds hold."""
        while self._entries:
            number, entry = next(iter(self._entries.items()))
            if self._bytes > self._max_bytes:
                self._drop(number, DropReason.OVER_BYTES)
            elif self._too_old(entry):
                self._drop(number, DropReason.OVER_AGE)
            else:
                break
        while self._memory_bytes > MAX_MEMORY_BYTES:
            self._drop(next(iter(self._in_memory)), DropReason.MEMORY_FULL)

    def _too_old(self, entry: _Entry) -> bool:
        if entry.left_behind and self._clock.monotonic() - self._opened < GRACE:
            return False
        return self._age(entry) > self._max_age

    def _age(self, entry: _Entry) -> float:
        age = self._clock.monotonic() - entry.since
        if entry.left_behind:
            by_wall_clock = (self._clock.epoch_ms() - entry.appended_ms) / 1000
            if 0 <= by_wall_clock < age:
                return by_wall_clock
        return age

    def _drop(self, number: int, reason: DropReason) -> None:
        self._drops.add(reason, envelopes=len(self._entries), bytes=self._bytes)
        self._forget(number)

    def _settle_with_disk(self) -> None:
        """Writes what waits in memory, oldest first, and removes what should be gone, until the disk refuses."""
        try:
            for number, entry in list(islice(self._in_memory.items(), MAX_FILES_AT_ONCE)):
                entry.file = self._files.write(number, entry.appended_ms, entry.body)
                if entry is not self._newest:
                    entry.body = b""
                del self._in_memory[number]
                self._memory_bytes -= entry.size
            for file in self._unremoved[:MAX_FILES_AT_ONCE]:
                self._files.remove(file)
                self._unremoved.remove(file)
        except OSError as error:
            self._report_failure(error)
            return
        if self._disk_failing and not self._in_memory and not self._unremoved:
            self._disk_failing = False
            log.info("spool_disk_recovered")

    def _set_aside(self, name: str) -> None:
        try:
            self._files.set_aside(name)
        except OSError as error:
            self._report_failure(error)

    def _report_failure(self, error: OSError) -> None:
        if not self._disk_failing:
            consequence = "what it does not take waits in memory and does not survive a restart"
            log.error("spool_disk_fails", extra={"problem": str(error), "consequence": consequence})
        self._disk_failing = True
