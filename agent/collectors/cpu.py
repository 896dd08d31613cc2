"""CPU time by mode, load, context switches, number of processes: /proc/stat, /proc/loadavg, links of /proc."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from agent.collector import Host, Reading
from agent.host import procfs


class _Times(NamedTuple):
    """Clock ticks by mode since boot, in the order of /proc/stat. Guest time is part of user and nice already."""

    user: int
    nice: int
    system: int
    idle: int
    iowait: int
    irq: int
    softirq: int
    steal: int


class CpuCollector:
    """Reads how busy the processors are, and with what.

    psutil would open /proc/stat once for times and once for counts, and has neither running nor blocked processes.
    """

    name = "cpu"
    device_class = None

    def __init__(self, proc: str = "/proc") -> None:
        self._proc = proc
        self._last: _Times | None = None
        self._directories: int | None = None

    def collect(self) -> Iterator[Reading]:
        """Yields shares of CPU time since the previous call (none at the first), loads, counts and counters."""
        stat = procfs.read(f"{self._proc}/stat")
        yield from self._shares(_times(stat))
        for key, label in (
            ("cpu.switches", b"ctxt "),
            ("procs.running", b"procs_running "),
            ("procs.blocked", b"procs_blocked "),
            ("procs.created", b"processes "),
        ):
            if (count := procfs.number(stat, label)) is not None:
                yield Reading(key, count)
        *loads, _rest = procfs.read(f"{self._proc}/loadavg").split(maxsplit=3)
        for key, load in zip(("load.1m", "load.5m", "load.15m"), loads, strict=True):
            yield Reading(key, float(load))
        yield Reading("procs", self._processes())

    def _shares(self, now: _Times) -> Iterator[Reading]:
        last, self._last = self._last, now
        if last is None:
            return
        # The kernel lets idle and iowait step back a little when a CPU goes offline: that is no negative time.
        spent = _Times(*(max(0, after - before) for before, after in zip(last, now, strict=True)))
        total = sum(spent)
        if total == 0:
            return
        yield Reading("cpu", 1 - (spent.idle + spent.iowait) / total)
        yield Reading("cpu.user", spent.user / total)
        yield Reading("cpu.system", spent.system / total)
        yield Reading("cpu.nice", spent.nice / total)
        yield Reading("cpu.iowait", spent.iowait / total)
        yield Reading("cpu.irq", (spent.irq + spent.softirq) / total)
        yield Reading("cpu.steal", spent.steal / total)

    def _processes(self) -> int:
        """Counts processes in 2 us: a directory has one link per subdirectory and two more.

        Listing /proc costs a thousand times more on a busy node. Other subdirectories of /proc are counted once;
        they change only when a kernel module adds one.
        """
        if self._directories is None:
            self._directories = sum(
                1
                for entry in Path(self._proc).iterdir()
                if not entry.name.isdigit() and not entry.is_symlink() and entry.is_dir()
            )
        # Not Path.stat: of a sample's first steps, before caches are warm, pathlib takes 100 us of them.
        return max(0, os.stat(self._proc).st_nlink - 2 - self._directories)  # noqa: PTH116


def make(host: Host) -> CpuCollector:
    """Makes the collector of this node's processors."""
    return CpuCollector(host.procfs)


def _times(stat: bytes) -> _Times:
    """Takes the totals of all CPUs from the first line; modes an old kernel does not know are 0."""
    line, end_of_line, _ = stat.partition(b"\n")
    fields = line.split()
    if len(fields) < 5 or fields[0] != b"cpu" or not end_of_line:
        raise ValueError(f"the first line of stat must be 'cpu' and at least 4 numbers, got {stat[:40]!r}")
    numbers = [int(field) for field in fields[1:9]]
    return _Times(*numbers, *[0] * (8 - len(numbers)))
