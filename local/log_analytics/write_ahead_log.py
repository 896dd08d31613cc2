"""Rows that were acknowledged and are not in DuckDB yet.

One line per accepted request, appended with one write to `<folder>/<generation>/<stream>.ndjson`. The page
cache is enough: what was written survives the death of the process, not of the machine. A generation is
closed, applied to DuckDB as a whole, and removed; the number of the last one applied is committed with
its rows, which is what makes a crash at any point neither lose nor repeat a line. Used by the store only.
"""

import os
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_SUFFIX = ".ndjson"


@dataclass(frozen=True)
class Generation:
    """A closed set of files: one per stream, every line complete."""

    number: int
    folder: Path
    size: int

    def files(self) -> Iterator[tuple[str, Path]]:
        """Yield stream name and file, in a stable order."""
        for path in sorted(self.folder.glob(f"*{_SUFFIX}")):
            yield path.name.removesuffix(_SUFFIX), path

    def remove(self) -> None:
        """Delete the files; safe to repeat."""
        shutil.rmtree(self.folder, ignore_errors=True)


class WriteAheadLog:
    """Appends lines durably against the death of this process; thread-safe."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._descriptors: dict[str, tuple[int, int]] = {}  # stream -> (descriptor, length)
        self._number = 0
        self._open_bytes = 0

    @property
    def open_bytes(self) -> int:
        """Bytes of the generation that is still being written."""
        return self._open_bytes

    def recover(self, applied: int) -> list[Generation]:
        """Return what an earlier process left behind and did not apply, oldest first.

        Generations up to `applied` are already in DuckDB and are removed; a line cut short by a crash was
        never acknowledged and is dropped. To be called once, before the first append.
        """
        found = sorted(int(path.name) for path in self._folder.iterdir() if path.name.isdigit())
        self._number = max([applied, *found])
        left = []
        for number in found:
            folder = self._path(number)
            if number <= applied:
                shutil.rmtree(folder)
                continue
            size = sum(_drop_torn_tail(path) for path in folder.glob(f"*{_SUFFIX}"))
            left.append(Generation(number, folder, size))
        return left

    def append(self, stream: str, line: bytes) -> None:
        """Write one line (without its newline); an OSError means that nothing of it stays."""
        record = line + b"\n"
        with self._lock:
            descriptor, length = self._descriptors.get(stream) or self._create(stream)
            try:
                written = os.write(descriptor, record)
                if written != len(record):
                    raise OSError(f"wrote {written} of {len(record)} bytes to the write-ahead log; disk full?")
            except OSError:
                os.ftruncate(descriptor, length)
                raise
            self._descriptors[stream] = (descriptor, length + len(record))
            self._open_bytes += len(record)

    def rotate(self) -> Generation | None:
        """Close the generation being written and return it; None when it is empty."""
        with self._lock:
            if not self._descriptors:
                return None
            for descriptor, _ in self._descriptors.values():
                os.close(descriptor)
            self._descriptors.clear()
            size, self._open_bytes = self._open_bytes, 0
            return Generation(self._number, self._path(self._number), size)

    def _create(self, stream: str) -> tuple[int, int]:
        if not self._descriptors:
            self._number += 1
            self._path(self._number).mkdir()
        path = self._path(self._number) / f"{stream}{_SUFFIX}"
        opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600), 0
        self._descriptors[stream] = opened
        return opened

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:012d}"


def _drop_torn_tail(path: Path) -> int:
    """Cut the file after its last newline, reading from the end only as far as needed; return its length."""
    block = 1 << 16
    with path.open("rb+") as file:
        end = file.seek(0, os.SEEK_END)
        while end:
            start = max(0, end - block)
            file.seek(start)
            newline = file.read(end - start).rfind(b"\n")
            if newline >= 0:
                end = start + newline + 1
                break
            end = start
        file.truncate(end)
    return end
