"""Pressure stall information: how long tasks waited for CPU, memory, I/O. /proc/pressure, Linux 4.20 and later."""

from __future__ import annotations

import errno
from collections.abc import Iterator

from agent.collector import Host, Reading
from agent.host import procfs

_KEYS = {
    "cpu": {b"some": "psi.cpu"},
    "memory": {b"some": "psi.mem", b"full": "psi.mem.full"},
    "io": {b"some": "psi.io", b"full": "psi.io.full"},
}
_ABSENT = frozenset({errno.ENOENT, errno.EOPNOTSUPP, errno.ENOSYS})
"""Not compiled in, or switched off at boot (psi=0)."""


class PressureCollector:
    """Reads for how long some or all tasks have been stalled, in seconds since boot.

    From `total=`, not `avg10=`: the averages are smoothed over the windows of somebody else's choice.
    """

    name = "pressure"
    device_class = None

    def __init__(self, proc: str = "/proc") -> None:
        self._proc = proc

    def collect(self) -> Iterator[Reading]:
        """Yields the counters of each resource; nothing on a kernel without pressure stall information."""
        for resource, keys in _KEYS.items():
            try:
                content = procfs.read(f"{self._proc}/pressure/{resource}")
            except OSError as error:
                if error.errno in _ABSENT:
                    continue
                raise
            for line in content.splitlines():
                scope, _, averages_and_total = line.partition(b" ")
                if key := keys.get(scope):
                    yield Reading(key, int(averages_and_total.rpartition(b"total=")[2]) / 1e6)


def make(host: Host) -> PressureCollector:
    """Makes the collector of this node's pressure stall information."""
    return PressureCollector(host.procfs)
