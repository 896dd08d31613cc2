"""Which file systems this node has: mounts, and which of them stand for a real disk. For the filesystem collector."""

from __future__ import annotations

import errno
import os
import re
import select
from collections.abc import Iterable
from typing import NamedTuple

from agent.collector import Host
from agent.host import procfs
from agent.selection import Selection

_ESCAPE = re.compile(r"\\([0-7]{3})")


class Mount(NamedTuple):
    """One line of mountinfo (proc(5))."""

    device_id: str
    """major:minor of the file system; the same for all mounts of it."""
    root: str
    """The directory of the file system that is mounted: '/' unless it is a bind mount of a part."""
    mountpoint: str
    type: str
    source: str


def parse_mountinfo(content: bytes) -> list[Mount]:
    """Reads mountinfo; lines that are none are left out."""
    mounts = []
    for line in os.fsdecode(content).split("\n"):
        before, separator, after = line.partition(" - ")
        fields, tail = before.split(" "), after.split(" ")
        if separator and len(fields) >= 6 and len(tail) >= 2:
            mounts.append(Mount(fields[2], _unescape(fields[3]), _unescape(fields[4]), tail[0], _unescape(tail[1])))
    return mounts


def disk_types(filesystems: bytes) -> frozenset[str]:
    """Reads /proc/filesystems: the types that live on a block device, and zfs, which hides its devices."""
    types = [line.split("\t") for line in filesystems.decode(errors="replace").splitlines()]
    return frozenset(name for flag, name in (t for t in types if len(t) == 2) if flag != "nodev" or name == "zfs")


def choose(mounts: Iterable[Mount], types: frozenset[str], selection: Selection) -> list[str]:
    """Picks one mount point for every file system of the given types, so that nothing is counted twice.

    Bind mounts share the device number with what they show; subvolumes of btrfs have numbers of their own but
    share the source. The mount of the whole file system with the shortest path stands for all of them.
    """
    visible = {mount.mountpoint: mount for mount in mounts}  # a later mount hides what was there before
    candidates = [mount for mount in visible.values() if mount.type in types and selection.takes(mount.mountpoint)]
    candidates.sort(key=lambda mount: (mount.root != "/", len(mount.mountpoint), mount.mountpoint))
    seen: set[str] = set()
    chosen = []
    for mount in candidates:
        identities = {mount.device_id}
        if mount.source.startswith("/dev/"):
            identities.add(mount.source)
        if seen.isdisjoint(identities):
            chosen.append(mount.mountpoint)
        seen |= identities
    return sorted(chosen)


def below(rootfs: str, mounts: Iterable[Mount]) -> list[Mount]:
    """Takes the mounts at and below a directory, and names them as seen from there: those of a node, in a container.

    The rest is the container's own: its root, its volumes, the files that its runtime binds into /etc.
    """
    prefix = rootfs.rstrip("/")
    return [
        mount._replace(mountpoint=mount.mountpoint.removeprefix(prefix) or "/")
        for mount in mounts
        if mount.mountpoint == prefix or mount.mountpoint.startswith(f"{prefix}/")
    ]


class MountTable:
    """The mount points to look at, read again only when the kernel says that a mount has changed.

    They come from the agent's own mounts (`self`), in a container from those below `host.rootfs`: process 1 knows the
    node's too, but a mount that was not propagated to the agent cannot be asked, and asking all the same would give
    the numbers of what lies under it.
    """

    def __init__(self, host: Host) -> None:
        self._host = host
        self._mountinfo = f"{host.procfs}/self/mountinfo"
        self._rootfs = os.path.realpath(host.rootfs)
        self._watch: int | None = None
        self._poll = select.poll()
        self._paths: dict[str, str] | None = None

    def paths(self) -> dict[str, str]:
        """Gives where the agent reaches each of the node's mount points.

        Reading hundreds of lines of mountinfo is left out while none changes.
        """
        if self._watch is None:
            self._watch = os.open(self._mountinfo, os.O_RDONLY | os.O_CLOEXEC)
            self._poll.register(self._watch, select.POLLERR | select.POLLPRI)
        if self._poll.poll(0):
            self._paths = None
        if self._paths is None:
            self._paths = self._read()
        return self._paths

    def _read(self) -> dict[str, str]:
        types = disk_types(procfs.read(f"{self._host.procfs}/filesystems"))
        wanted = frozenset(name for name in types if self._host.fs_types.takes(name))
        mounts = below(self._rootfs, parse_mountinfo(procfs.read(self._mountinfo)))
        if not mounts:
            raise FileNotFoundError(
                errno.ENOENT,
                "nothing is mounted there; AGENT_ROOTFS must be the node's root directory, mounted with its submounts",
                self._rootfs,
            )
        prefix = self._rootfs.rstrip("/")
        return {mountpoint: prefix + mountpoint for mountpoint in choose(mounts, wanted, self._host.mounts)}


def _unescape(field: str) -> str:
    """Turns the kernel's octal escapes (blank, tab, newline, backslash) back."""
    return _ESCAPE.sub(lambda match: chr(int(match[1], 8)), field)
