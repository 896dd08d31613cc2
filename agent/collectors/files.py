"""Open files of the whole node: /proc/sys/fs/file-nr."""

from __future__ import annotations

from collections.abc import Iterator

from agent.collector import Host, Reading
from agent.host import procfs


class FilesCollector:
    """Reads how many files are open, and how much that is of what the kernel allows."""

    name = "files"
    device_class = None

    def __init__(self, proc: str = "/proc") -> None:
        self._proc = proc

    def collect(self) -> Iterator[Reading]:
        """Yields the count and its share of fs.file-max; where that is 2^63 - 1, which is no limit, the share is 0."""
        content = procfs.read(f"{self._proc}/sys/fs/file-nr")
        allocated, unused, limit = (int(field) for field in content.split())
        yield Reading("fds", allocated - unused)
        if limit > 0:
            yield Reading("fds.full", min(1.0, (allocated - unused) / limit))


def make(host: Host) -> FilesCollector:
    """Makes the collector of this node's open files."""
    return FilesCollector(host.procfs)
