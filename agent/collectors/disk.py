"""I/O of whole disks: /proc/diskstats."""

from __future__ import annotations

from collections.abc import Iterator

from agent.collector import Host, Reading
from agent.host import procfs
from agent.selection import Selection
from telemetry.catalogue import DISK

DEFAULT_EXCLUDE = (
    r"^((z?ram|loop|fd|sr|dm-|md)\d+|(h|s|v|xv)d[a-z]+\d+|nvme\d+n\d+p\d+|mmcblk\d+(p|boot)\d+|nbd\d+(p\d+)?)$"
)
"""Partitions and devices on top of others would count the same I/O twice; the rest is no disk."""

_NAME = 2
_COLUMNS = (("reads", 3, 1), ("read", 5, 512), ("writes", 7, 1), ("write", 9, 512))
"""Metric, column, what one is worth: the kernel counts sectors of 512 bytes, whatever the disk's own are."""
_TIME_COLUMNS = (("read_time", 6), ("write_time", 10), ("busy", 12))
_FIELDS = 14
"""Linux 2.6.25 and later; newer ones have more at the end."""
_MILLISECONDS_WRAP_AT = 2**32 / 1000
"""Seconds: the kernel keeps times as 32-bit milliseconds, which a queue of ten requests fills in five days."""


class DiskCollector:
    """Reads what each disk has read and written, and for how long.

    psutil would read every partition's numbers before any is left out, in three times as long.
    """

    name = "disk"
    device_class = DISK

    def __init__(self, disks: Selection, proc: str = "/proc") -> None:
        self._disks = disks
        self._proc = proc

    def collect(self) -> Iterator[Reading]:
        """Yields the counters of every selected disk; nothing on a kernel without block devices."""
        try:
            content = procfs.read(f"{self._proc}/diskstats")
        except FileNotFoundError:
            return
        for line in content.decode(errors="replace").splitlines():
            fields = line.split()
            if len(fields) < _FIELDS:
                raise ValueError(f"a line of diskstats must have at least {_FIELDS} fields, got {line!r:.120}")
            disk = fields[_NAME]
            if not self._disks.takes(disk):
                continue
            for key, column, worth in _COLUMNS:
                yield Reading(key, int(fields[column]) * worth, disk)
            for key, column in _TIME_COLUMNS:
                yield Reading(key, int(fields[column]) / 1000, disk, _MILLISECONDS_WRAP_AT)


def make(host: Host) -> DiskCollector:
    """Makes the collector of this node's disks."""
    return DiskCollector(host.disks, host.procfs)
