"""The files of the disk spool: names, atomic writes, integrity. For `agent.spool.disk_spool`."""

from __future__ import annotations

import os
import re
import stat
import zlib
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

_NAME = re.compile(r"(\d{12})-(\d{13})-(\d{1,9})-([0-9a-f]{8})\.envelope")
_HIGHEST_NUMBER = 10**11
"""No agent gets there in ten thousand years; a file that did was not named by one."""
MAX_SET_ASIDE = 16
ASIDE = "set-aside"
"""Directory below the spool's for files that are none of its own, or damaged; the newest `MAX_SET_ASIDE` are kept."""
_NOT_LOOKED_AT = (ASIDE, "lost+found")


class SpoolFile(NamedTuple):
    """What the name of a file says, so that a start reads no contents: order, age, size, checksum."""

    number: int
    appended_ms: int
    size: int
    checksum: int

    @property
    def name(self) -> str:
        """The file's name; names sort in the order of appending."""
        return f"{self.number:012d}-{self.appended_ms:013d}-{self.size}-{self.checksum:08x}.envelope"


class Found(NamedTuple):
    """What a start finds in the directory."""

    whole: list[SpoolFile]
    """Envelopes, in order."""
    damaged: list[str]
    """Names of envelopes that are shorter or longer than they were."""
    foreign: list[str]
    """Names of what a spool has not written."""


class SpoolFiles:
    """One file per envelope in one directory. Everything raises OSError when the disk does not do it."""

    def __init__(self, directory: Path, *, fsync: bool) -> None:
        self._directory = directory
        self._fsync = fsync
        self._temporary = f"{os.urandom(4).hex()}.tmp"  # of its own: two agents may share a directory for a while

    def scan(self) -> Found:
        """Makes the directory if need be, and looks at every entry without opening it or changing anything."""
        self._directory.mkdir(parents=True, exist_ok=True)
        found = Found([], [], [])
        with os.scandir(self._directory) as entries:
            for entry in entries:
                if entry.name in _NOT_LOOKED_AT:
                    continue
                try:
                    status = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue  # a second agent has just sent it
                file = _parsed(entry.name) if stat.S_ISREG(status.st_mode) else None
                if file is None:
                    found.foreign.append(entry.name)
                elif file.size != status.st_size:
                    found.damaged.append(entry.name)
                else:
                    found.whole.append(file)
        found.whole.sort()
        return found

    def write(self, number: int, appended_ms: int, body: bytes) -> SpoolFile:
        """Writes an envelope; after a crash it is there as a whole or not at all."""
        file = SpoolFile(number, appended_ms, len(body), zlib.crc32(body))
        try:
            self._write(file.name, body)
        except FileNotFoundError:  # the directory: it may have come back since the start
            self._directory.mkdir(parents=True, exist_ok=True)
            self._write(file.name, body)
        if self._fsync:
            self._sync_directory()
        return file

    def _write(self, name: str, body: bytes) -> None:
        # Not by pathlib and open(): before caches are warm they take three times as long.
        temporary = f"{self._directory}/{self._temporary}"
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
        try:
            try:
                rest = memoryview(body)
                while rest:
                    rest = rest[os.write(descriptor, rest) :]
                if self._fsync:
                    os.fsync(descriptor)
            finally:
                os.close(descriptor)
            os.rename(temporary, f"{self._directory}/{name}")  # noqa: PTH104
        except OSError:
            Path(temporary).unlink(missing_ok=True)
            raise

    def read(self, file: SpoolFile) -> bytes | None:
        """Reads an envelope; None when it is damaged. Raises FileNotFoundError when somebody has taken it away."""
        with (self._directory / file.name).open("rb") as stream:
            body = stream.read(file.size + 1)  # no more, whatever has been put in its place
        return body if len(body) == file.size and zlib.crc32(body) == file.checksum else None

    def remove(self, file: SpoolFile) -> None:
        """Removes an envelope; it may be gone already."""
        with suppress(FileNotFoundError):
            os.unlink(f"{self._directory}/{file.name}")  # noqa: PTH108

    def set_aside(self, name: str) -> None:
        """Moves a file out of the way for a person to look at; the oldest of too many are deleted.

        What a crash cut off in the middle of a write is deleted: nobody was told that it is safe.
        """
        source = self._directory / name
        if name.endswith(".tmp") and source.is_file():
            source.unlink(missing_ok=True)
            return
        aside = self._directory / ASIDE
        aside.mkdir(exist_ok=True)
        target = aside / name
        if os.path.lexists(target):
            target = aside / f"{name}.{os.urandom(4).hex()}"
        source.rename(target)
        kept = sorted((path for path in aside.iterdir() if path.is_file()), key=lambda path: path.stat().st_mtime_ns)
        for path in kept[:-MAX_SET_ASIDE]:
            path.unlink(missing_ok=True)

    def _sync_directory(self) -> None:
        descriptor = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _parsed(name: str) -> SpoolFile | None:
    """Reads a file's name; None when no spool has given it."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    number, appended_ms, size, checksum = match.groups()
    file = SpoolFile(int(number), int(appended_ms), int(size), int(checksum, 16))
    return file if file.name == name and file.number < _HIGHEST_NUMBER else None
