"""Fullness of file systems on real disks: statvfs of each, within a time limit."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from functools import partial

from agent.collector import Host, Reading
from agent.host.mounts import MountTable
from agent.time_limits import Outcome, TimeLimitedRuns
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
    """Reads how full each file system is. One that hangs or refuses is left out, and named in the log once."""

    name = "filesystem"
    device_class = FILESYSTEM

    def __init__(self, table: MountTable, time_limit: float) -> None:
        self._table = table
        self._runs: TimeLimitedRuns[os.statvfs_result] = TimeLimitedRuns(time_limit, "statvfs")
        self._problems: dict[str, str] = {}

    def collect(self) -> Iterator[Reading]:
        """Yields bytes and inodes of every file system; nothing for one that was unmounted meanwhile."""
        paths = self._table.paths()
        outcomes = self._runs.run({mountpoint: partial(os.statvfs, path) for mountpoint, path in paths.items()})
        self._report({mountpoint: problem for mountpoint, each in outcomes.items() if (problem := _problem(each))})
        for mountpoint, outcome in outcomes.items():
            if outcome.value is not None:
                yield from _readings(mountpoint, outcome.value)

    def _report(self, problems: dict[str, str]) -> None:
        for mountpoint in sorted(problems.keys() - self._problems.keys()):
            log.warning("filesystem_left_out", extra={"mountpoint": mountpoint, "problem": problems[mountpoint]})
        for mountpoint in sorted(self._problems.keys() - problems.keys()):
            log.info("filesystem_problem_over", extra={"mountpoint": mountpoint})
        self._problems = problems


def make(host: Host) -> FilesystemCollector:
    """Makes the collector of this node's file systems."""
    return FilesystemCollector(MountTable(host), host.time_limit)


def _problem(outcome: Outcome[os.statvfs_result]) -> str | None:
    was_unmounted = isinstance(outcome.error, FileNotFoundError)
    return None if was_unmounted else outcome.problem


def _readings(mountpoint: str, usage: os.statvfs_result) -> Iterator[Reading]:
    used = usage.f_blocks - usage.f_bfree
    if usage.f_blocks == 0:  # a pseudo file system
        return
    yield Reading("used", used * usage.f_frsize, mountpoint)
    if used + usage.f_bavail > 0:
        yield Reading("full", used / (used + usage.f_bavail), mountpoint)
    if usage.f_files > 0:  # 0 where inodes are made on demand (btrfs, vfat)
        yield Reading("inodes", 1 - usage.f_ffree / usage.f_files, mountpoint)
