"""The spool on disk: survives restarts, falls back to memory when the disk fails. For the service."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice

from agent.spool.files import SpoolFile, SpoolFiles
from agent.spool.spool import Spooled

log = logging.getLogger(__name__)

MAX_MEMORY_BYTES = 4 * 1024 * 1024
"""How much may wait in memory while the disk fails: a day of the default intervals."""


@dataclass(slots=True)
class _Entry:
    """One envelope: on disk (`file`), or in memory because the disk would not take it (`body`)."""

    appended_ms: int
    size: int
    file: SpoolFile | None = None
    body: bytes | None = None


class DiskSpool:
    """Keeps every envelope in a file of its own; an index in memory holds the order.

    A second agent on the same directory (an overlapping roll-out) does no harm: both may send the same envelopes,
    which receivers recognise as duplicates.
    """

    @classmethod
    def open(cls, files: SpoolFiles, *, max_bytes: int, max_age: float, epoch_ms: Callable[[], int]) -> DiskSpool:
        """Takes up the envelopes that earlier processes have left behind; they come first."""
        spool = cls(files, max_bytes, max_age, epoch_ms)
        spool._take_up()
        return spool

    def __init__(self, files: SpoolFiles, max_bytes: int, max_age: float, epoch_ms: Callable[[], int]) -> None:
        self._files = files
        self._max_bytes = max_bytes
        self._max_age_ms = max_age * 1000
        self._epoch_ms = epoch_ms
        self._entries: dict[int, _Entry] = {}
        self._bytes = 0
        self._memory_bytes = 0
        self._disk_fails = False
        self._episode: int | None = None
        self._dropped_at_append = 0
        self.dropped = 0
        self._next = 1

    def append(self, body: bytes) -> None:
        """Adds an envelope at the end; drops from the front what is then over the bounds."""
        now, number = self._epoch_ms(), self._next
        self._next += 1
        try:
            entry = _Entry(now, len(body), file=self._files.write(number, now, body))
        except OSError as error:
            self._report_disk(error)
            entry = _Entry(now, len(body), body=body)
            self._memory_bytes += entry.size
        else:
            self._report_disk(None)
        self._entries[number] = entry
        self._bytes += entry.size
        self._drop_over_bounds(now)
        if self._dropped_at_append == self.dropped:
            self._end_episode()
        self._dropped_at_append = self.dropped

    def oldest(self, max_count: int, max_bytes: int) -> list[Spooled]:
        """Gives the oldest envelopes in order, at most so many and so large together; one at least if there is any.

        Damaged files are set aside and counted as dropped on the way.
        """
        self._drop_over_bounds(self._epoch_ms())
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

    def remove(self, numbers: Iterable[int]) -> None:
        """Removes envelopes that were acknowledged or can never be sent; numbers it does not have are ignored."""
        for number in numbers:
            self._forget(number)

    def __len__(self) -> int:
        """How many envelopes wait."""
        return len(self._entries)

    def _take_up(self) -> None:
        try:
            found, foreign = self._files.scan()
        except OSError as error:
            self._report_disk(error)
            return
        for file in found:
            self._entries[file.number] = _Entry(file.appended_ms, file.size, file=file)
            self._bytes += file.size
            self._next = file.number + 1
        if found or foreign:
            log.info("spool_taken_up", extra={"envelopes": len(found), "bytes": self._bytes, "set_aside": foreign})
        self._drop_over_bounds(self._epoch_ms())

    def _body(self, number: int, entry: _Entry) -> bytes | None:
        """Reads an envelope; one that cannot be read is lost, and leaves the spool."""
        if entry.file is None:
            return entry.body
        try:
            body = self._files.read(entry.file)
            if body is not None:
                return body
            self._files.set_aside(entry.file.name)
            problem = "it is damaged; see the spool's directory set-aside"
        except FileNotFoundError:
            # Somebody else has sent or deleted it: nothing to be set aside.
            problem = "its file is gone"
        except OSError as error:
            problem = str(error)
        self._forget(number, keep_file=True)
        self.dropped += 1
        log.warning("spool_envelope_lost", extra={"file": entry.file.name, "problem": problem})
        return None

    def _forget(self, number: int, *, keep_file: bool = False) -> None:
        entry = self._entries.pop(number, None)
        if entry is None:
            return
        self._bytes -= entry.size
        if entry.file is None:
            self._memory_bytes -= entry.size
        elif not keep_file:
            try:
                self._files.remove(entry.file)
            except OSError as error:  # sent again after the next start, as a duplicate
                self._report_disk(error)

    def _drop_over_bounds(self, now_ms: int) -> None:
        """Drops the oldest envelopes until the bounds hold; logs the first of an episode that lasts several appends."""
        dropped = 0
        while self._entries:
            number, entry = next(iter(self._entries.items()))
            too_old = now_ms - entry.appended_ms > self._max_age_ms
            if self._bytes <= self._max_bytes and not too_old:
                break
            self._forget(number)
            dropped += 1
        while self._memory_bytes > MAX_MEMORY_BYTES:
            self._forget(next(number for number, entry in self._entries.items() if entry.file is None))
            dropped += 1
        self.dropped += dropped
        if dropped and self._episode is None:
            self._episode = 0
            log.warning("spool_drops_oldest", extra={"envelopes": len(self._entries), "bytes": self._bytes})
        if self._episode is not None:
            self._episode += dropped

    def _end_episode(self) -> None:
        if self._episode is not None:
            log.info("spool_drops_no_more", extra={"dropped": self._episode})
            self._episode = None

    def _report_disk(self, error: OSError | None) -> None:
        if error is not None and not self._disk_fails:
            log.error(
                "spool_disk_fails",
                extra={"problem": str(error), "consequence": "envelopes wait in memory and do not survive a restart"},
            )
        elif error is None and self._disk_fails:
            log.info("spool_disk_recovered")
        self._disk_fails = error is not None
