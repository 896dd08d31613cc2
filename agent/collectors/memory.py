"""Memory, swap, major faults, OOM kills: /proc/meminfo and /proc/vmstat."""

from __future__ import annotations

import os
from collections.abc import Iterator

from agent.collector import Host, Reading
from agent.host import procfs

_PAGE = os.sysconf("SC_PAGESIZE")
_COUNTERS = (
    ("swap.in", b"pswpin ", _PAGE),
    ("swap.out", b"pswpout ", _PAGE),
    ("faults.major", b"pgmajfault ", 1),
    ("oom", b"oom_kill ", 1),  # Linux 4.13 and later
)


class MemoryCollector:
    """Reads how memory and swap are used, and what the lack of it did.

    psutil would read meminfo twice, for memory and for swap, and has neither major faults nor OOM kills: two and a
    half times as long.
    """

    name = "memory"
    device_class = None

    def __init__(self, proc: str = "/proc") -> None:
        self._proc = proc

    def collect(self) -> Iterator[Reading]:
        """Yields memory (used + free + cached = total) and swap; utilisation of swap is 0 where there is none."""
        meminfo = procfs.read(f"{self._proc}/meminfo")
        total, free, available = (_bytes(meminfo, label) for label in (b"MemTotal:", b"MemFree:", b"MemAvailable:"))
        # As `free` and psutil do: what can be reclaimed of the kernel's own caches counts as cache.
        cached = sum(_bytes(meminfo, label) for label in (b"Buffers:", b"Cached:", b"SReclaimable:"))
        yield Reading("mem", 1 - available / max(1, total))
        yield Reading("mem.used", max(0, total - free - cached))
        yield Reading("mem.free", free)
        yield Reading("mem.cached", cached)
        yield Reading("mem.available", available)
        swap, unused = _bytes(meminfo, b"SwapTotal:"), _bytes(meminfo, b"SwapFree:")
        yield Reading("swap", 1 - unused / swap if swap else 0.0)
        vmstat = procfs.read(f"{self._proc}/vmstat")
        for key, label, unit in _COUNTERS:
            if (count := procfs.number(vmstat, label)) is not None:
                yield Reading(key, count * unit)


def make(host: Host) -> MemoryCollector:
    """Makes the collector of this node's memory."""
    return MemoryCollector(host.procfs)


def _bytes(meminfo: bytes, label: bytes) -> int:
    kibibytes = procfs.number(meminfo, label)
    if kibibytes is None:
        raise ValueError(f"meminfo must have a line {label.decode()} (Linux 3.14 and later), got {meminfo[:40]!r}")
    return kibibytes * 1024
