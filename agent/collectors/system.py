"""How long the node has been up: /proc/uptime."""

from __future__ import annotations

from collections.abc import Iterator

from agent.collector import Host, Reading
from agent.host import procfs


class SystemCollector:
    """Reads the time since boot."""

    name = "system"
    device_class = None

    def __init__(self, proc: str = "/proc") -> None:
        self._proc = proc

    def collect(self) -> Iterator[Reading]:
        """Yields the seconds since boot, those of sleep included."""
        uptime, _idle = procfs.read(f"{self._proc}/uptime").split()
        yield Reading("uptime", float(uptime))


def make(host: Host) -> SystemCollector:
    """Makes the collector of what concerns this node as a whole."""
    return SystemCollector(host.procfs)
