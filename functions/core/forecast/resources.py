"""What of a node can run out: where its levels stand in the answers of functions/queries, when it is used up, its name.

Pure; for `exhaustion_watch.py`.
"""

from __future__ import annotations

from typing import NamedTuple


class Resource(NamedTuple):
    """One kind of level: a share in use, 0 to 1."""

    metric: str
    """Column of NodeMetrics_CL without its statistic."""
    limit: float
    """Share at which it is used up."""
    low: str
    """Column of the query's answer with the lowest level of 15 minutes,"""
    high: str
    """and with the highest."""
    name: str
    """For people; {device} is the mount point."""
    used_up: str
    """What becomes of it."""

    def of(self, device: str) -> str:
        """What people call it."""
        return self.name.format(device=device)


OF_NODES = (
    Resource("MemoryUtilization", 0.95, "MemoryLow", "MemoryHigh", "memory", "used up"),
    Resource("FileDescriptorUtilization", 1.0, "FilesLow", "FilesHigh", "the limit of open files", "reached"),
)
"""The kernel begins to kill for want of memory before all of it is used."""
OF_FILESYSTEMS = (
    Resource("FilesystemUtilization", 1.0, "SpaceLow", "SpaceHigh", "filesystem {device}", "full"),
    Resource("FilesystemInodes", 1.0, "InodesLow", "InodesHigh", "the table of inodes of {device}", "full"),
)
RESOURCES = {resource.metric: resource for resource in (*OF_NODES, *OF_FILESYSTEMS)}
