"""What the node's own /proc said, 50 times a second, while a container read it: the truth to compare with."""

from __future__ import annotations

import contextlib
import os
import socket
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

EVERY = 0.02
READ_WITHIN = 0.25
"""A sample's values are read at its time or so much later: the machine may be busy."""
FILES = ("loadavg", "meminfo", "stat", "diskstats", "1/net/dev", "1/net/sockstat", "sys/fs/file-nr")
DISCARD = ("203.0.113.1", 9)
"""An address of nobody (TEST-NET-3): what is sent there leaves by the node's own interface."""


class Reading(NamedTuple):
    """What the files said, one after the other from `time` on, in seconds since 1970."""

    time: float
    files: dict[str, str]
    processes: int


def read_node() -> Reading:
    """What the node's /proc says now."""
    began = time.time()
    files = {name: Path("/proc", name).read_text() for name in FILES}
    return Reading(began, files, sum(path.name.isdigit() for path in Path("/proc").iterdir()))


class HostRecorder:
    """Records the node while its body runs, and keeps disk and network busy, so that their counters have to move."""

    def __init__(self) -> None:
        self._readings: list[Reading] = []
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=each) for each in (self._record, self._be_busy)]

    def __enter__(self) -> HostRecorder:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        time.sleep(2 * READ_WITHIN)
        self._ended.set()
        for thread in self._threads:
            thread.join(10)

    def range(self, read: Callable[[Reading], float], when: float) -> tuple[float, float]:
        """The smallest and largest value that could be read for a sample of that time."""
        values = [read(each) for each in self._between(when - READ_WITHIN, when + READ_WITHIN)]
        return min(values), max(values)

    def rates(self, read: Callable[[Reading], float], first: float, second: float) -> tuple[float, float]:
        """The smallest and largest rate per second that a counter could show between samples of two times."""
        earliest, latest = self._around(read, first), self._around(read, second)
        elapsed = second - first
        return (latest[0] - earliest[1]) / (elapsed + READ_WITHIN), (latest[1] - earliest[0]) / (elapsed - READ_WITHIN)

    def _around(self, read: Callable[[Reading], float], when: float) -> tuple[float, float]:
        """A counter's last value before a time, and its first after whatever belongs to it was read."""
        before = [each for each in self._readings if each.time <= when]
        after = [each for each in self._readings if each.time >= when + READ_WITHIN]
        assert before and after, "the recorder ran before and after"
        return read(before[-1]), read(after[0])

    def _between(self, earliest: float, latest: float) -> list[Reading]:
        found = [each for each in self._readings if earliest <= each.time <= latest]
        assert found, "the recorder ran then"
        return found

    def _record(self) -> None:
        while not self._ended.wait(EVERY):
            self._readings.append(read_node())

    def _be_busy(self) -> None:
        with tempfile.TemporaryFile() as file, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sending:
            while not self._ended.wait(EVERY):
                file.write(os.urandom(64 * 1024))
                os.fsync(file.fileno())
                with contextlib.suppress(OSError):  # a machine without a route
                    sending.sendto(b"x" * 1000, DISCARD)


def memory(name: str) -> Callable[[Reading], float]:
    """A line of meminfo, in bytes."""

    def read(reading: Reading) -> float:
        (line,) = [line for line in reading.files["meminfo"].splitlines() if line.startswith(f"{name}:")]
        return int(line.split()[1]) * 1024

    return read


def interface(name: str, column: int) -> Callable[[Reading], float]:
    """A counter of a network interface of the node."""

    def read(reading: Reading) -> float:
        rows = dict(line.split(":", 1) for line in reading.files["1/net/dev"].splitlines()[2:])
        return int({key.strip(): value for key, value in rows.items()}[name].split()[column])

    return read


def disk(name: str, column: int) -> Callable[[Reading], float]:
    """A counter of a disk, by its column in diskstats, the first being 0."""

    def read(reading: Reading) -> float:
        rows = [line.split() for line in reading.files["diskstats"].splitlines()]
        return next(int(row[column]) for row in rows if row[2] == name)

    return read


def line(file: str, beginning: str, column: int) -> Callable[[Reading], float]:
    """A number of the line of a file that begins so."""

    def read(reading: Reading) -> float:
        return float(next(row for row in reading.files[file].splitlines() if row.startswith(beginning)).split()[column])

    return read
