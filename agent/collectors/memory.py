"""Memory and swap, by psutil: /proc/meminfo and /proc/vmstat."""

from __future__ import annotations

from collections.abc import Iterator

import psutil

from agent.collector import Host, Reading


class MemoryCollector:
    """Reads how memory and swap are used. psutil reads below psutil.PROCFS_PATH."""

    name = "memory"
    device_class = None

    def collect(self) -> Iterator[Reading]:
        """Yields memory (used + free + cached = total) and swap; utilisation of swap is 0 where there is none."""
        memory = psutil.virtual_memory()
        cached = memory.cached + memory.buffers
        yield Reading("mem", 1 - memory.available / memory.total)
        # psutil's own `used` is total - available, which overlaps with cached.
        yield Reading("mem.used", max(0, memory.total - memory.free - cached))
        yield Reading("mem.free", memory.free)
        yield Reading("mem.cached", cached)
        yield Reading("mem.available", memory.available)
        swap = psutil.swap_memory()
        yield Reading("swap", swap.used / swap.total if swap.total else 0.0)
        yield Reading("swap.in", swap.sin)
        yield Reading("swap.out", swap.sout)


def make(_: Host) -> MemoryCollector:
    """Makes the collector of this node's memory."""
    return MemoryCollector()
