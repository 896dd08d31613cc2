"""Fullness of file systems on real disks: statvfs of each, within a time limit."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from functools import partial

from agent.collector import Host, Reading
from agent.host.mounts import MountTable
from agent.time_limits import TimeLimitedRuns
from telemetry.catalogue import FILESYSTEM

DEFAULT_MOUNT_EXCLUDE = (
    r"^/(dev|proc|sys|run/credentials|run/k3s/containerd|run/containerd|var/lib/docker|var/lib/containerd|"
    r"var/lib/containers/storage|var/lib/kubelet/(pods|plugins))/|^/etc/(hosts|hostname|resolv\.conf)$"
)
"""Containers' and pods' mounts come and go by the hundred; their volumes are the kubelet's to report."""
DEFAULT_TYPE_EXCLUDE = r"^(squashfs|iso9660|udf|erofs|cramfs|romfs|fuseblk)$"
"""Read-only images are always full."""

log = logging.getLogger(__name__)


class FilesystemCollector:
    """Reads how full each file system is. One that hangs is left out, and named in the log, until it answers again."""

    name = "filesystem"
    device_class = FILESYSTEM

    def __init__(
        self,
        table: MountTable,
        time_limit: float,
    ) -> None:
        self._table = table
        self._runs: TimeLimitedRuns[os.statvfs_result] = TimeLimitedRuns(time_limit, "statvfs")
        self._hanging: set[str] = set()

    def collect(self) -> Iterator[Reading]:
        """Yields bytes and inodes of every file system; nothing for one that was unmounted meanwhile."""
        outcomes = self._runs.run({path: partial(os.statvfs, path) for path in self._table.mountpoints()})
        self._report({path for path, outcome in outcomes.items() if outcome.overdue})
        for path, outcome in outcomes.items():
            if outcome.value is not None:
                yield from _readings(path, outcome.value)

    def _report(self, hanging: set[str]) -> None:
        for path in sorted(hanging - self._hanging):
            log.warning("filesystem_hangs", extra={"mountpoint": path})
        for path in sorted(self._hanging - hanging):
            log.info("filesystem_answers_again", extra={"mountpoint": path})
        self._hanging = hanging


def make(host: Host) -> FilesystemCollector:
    """Makes the collector of this node's file systems."""
    return FilesystemCollector(MountTable(host.procfs, host.mounts, host.fs_types), host.time_limit)


def _readings(path: str, usage: os.statvfs_result) -> Iterator[Reading]:
    used = usage.f_blocks - usage.f_bfree
    if usage.f_blocks == 0:  # a pseudo file system
        return
    yield Reading("used", used * usage.f_frsize, path)
    if used + usage.f_bavail > 0:
        yield Reading("full", used / (used + usage.f_bavail), path)
    if usage.f_files > 0:  # 0 where inodes are made on demand (btrfs, vfat)
        yield Reading("inodes", 1 - usage.f_ffree / usage.f_files, path)
