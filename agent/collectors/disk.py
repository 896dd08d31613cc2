"""I/O of whole disks, by psutil: /proc/diskstats."""

from __future__ import annotations

from collections.abc import Iterator

import psutil

from agent.collector import Host, Reading
from agent.selection import Selection
from telemetry.catalogue import DISK

DEFAULT_EXCLUDE = (
    r"^((z?ram|loop|fd|sr|dm-|md)\d+|(h|s|v|xv)d[a-z]+\d+|nvme\d+n\d+p\d+|mmcblk\d+(p|boot)\d+|nbd\d+(p\d+)?)$"
)
"""Partitions and devices on top of others would count the same I/O twice; the rest is no disk."""

_MILLISECONDS_WRAP_AT = 2**32 / 1000
"""Seconds: the kernel keeps times as 32-bit milliseconds, which a queue of ten requests fills in five days."""


class DiskCollector:
    """Reads what each disk has read and written, and for how long."""

    name = "disk"
    device_class = DISK

    def __init__(self, disks: Selection) -> None:
        self._disks = disks

    def collect(self) -> Iterator[Reading]:
        """Yields the counters of every selected disk."""
        try:
            disks = psutil.disk_io_counters(perdisk=True, nowrap=False)
        except NotImplementedError:  # neither diskstats nor /sys/block
            return
        for disk, counters in disks.items():
            if not self._disks.takes(disk):
                continue
            yield Reading("read", counters.read_bytes, disk)
            yield Reading("write", counters.write_bytes, disk)
            yield Reading("reads", counters.read_count, disk)
            yield Reading("writes", counters.write_count, disk)
            for key, milliseconds in (
                ("read_time", counters.read_time),
                ("write_time", counters.write_time),
                ("busy", counters.busy_time),
            ):
                yield Reading(key, milliseconds / 1000, disk, _MILLISECONDS_WRAP_AT)


def make(host: Host) -> DiskCollector:
    """Makes the collector of this node's disks."""
    psutil.PROCFS_PATH = host.procfs  # one path for the whole process
    return DiskCollector(host.disks)
