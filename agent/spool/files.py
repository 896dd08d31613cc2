"""The files of the disk spool: names, atomic writes, integrity. For `agent.spool.disk_spool`."""

from __future__ import annotations

import os
import re
import zlib
from pathlib import Path
from typing import NamedTuple

_NAME = re.compile(r"(\d{12})-(\d{13})-(\d{1,12})-([0-9a-f]{8})\.envelope")
ASIDE = "set-aside"
"""Directory below the spool's for files that are none of its own, or damaged."""
MAX_SET_ASIDE = 16
"""How many of them are kept to look at."""


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


class SpoolFiles:
    """One file per envelope in one directory. Everything raises OSError when the disk does not do it."""

    def __init__(self, directory: Path, *, fsync: bool) -> None:
        self._directory = directory
        self._fsync = fsync

    def scan(self) -> tuple[list[SpoolFile], int]:
        """Makes the directory if need be; gives its envelopes in order, and how many other files it set aside."""
        self._directory.mkdir(parents=True, exist_ok=True)
        found, foreign = [], 0
        for path in sorted(self._directory.iterdir()):
            match = _NAME.fullmatch(path.name)
            if match and path.is_file():
                number, appended_ms, size, checksum = match.groups()
                found.append(SpoolFile(int(number), int(appended_ms), int(size), int(checksum, 16)))
            elif path.name.endswith(".tmp") and path.is_file():
                path.unlink()  # a write that a crash cut off: nobody was told that it is safe
            elif path.name not in (ASIDE, "lost+found"):
                self.set_aside(path.name)
                foreign += 1
        return found, foreign

    def write(self, number: int, appended_ms: int, body: bytes) -> SpoolFile:
        """Writes an envelope; after a crash it is there as a whole or not at all."""
        file = SpoolFile(number, appended_ms, len(body), zlib.crc32(body))
        self._directory.mkdir(parents=True, exist_ok=True)  # it may have come back since the start
        temporary = self._directory / f"{number:012d}.tmp"
        try:
            with temporary.open("wb") as stream:
                stream.write(body)
                if self._fsync:
                    stream.flush()
                    os.fsync(stream.fileno())
            temporary.replace(self._directory / file.name)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
        if self._fsync:
            self._sync_directory()
        return file

    def read(self, file: SpoolFile) -> bytes | None:
        """Reads an envelope; None when it is damaged. Raises FileNotFoundError when somebody has taken it away."""
        body = (self._directory / file.name).read_bytes()
        return body if len(body) == file.size and zlib.crc32(body) == file.checksum else None

    def remove(self, file: SpoolFile) -> None:
        """Removes an envelope; it may be gone already."""
        (self._directory / file.name).unlink(missing_ok=True)

    def set_aside(self, name: str) -> None:
        """Moves a file out of the way for a person to look at; the oldest of too many are deleted."""
        aside = self._directory / ASIDE
        aside.mkdir(exist_ok=True)
        target = aside / name
        if target.is_dir():  # a directory cannot be replaced
            target = aside / f"{name}.{os.urandom(4).hex()}"
        (self._directory / name).replace(target)
        kept = sorted((path for path in aside.iterdir() if path.is_file()), key=lambda path: path.stat().st_mtime_ns)
        for path in kept[:-MAX_SET_ASIDE]:
            path.unlink(missing_ok=True)

    def _sync_directory(self) -> None:
        descriptor = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
