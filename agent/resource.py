"""The constants of this node that envelopes carry now and then. For the command line and the service."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import psutil

from agent import __version__
from agent.collector import Host
from agent.envelopes import printable
from agent.host import procfs
from telemetry.envelope import Resource

MAX_TEXT = 128
"""Receivers refuse longer strings."""


def node_resource(host: Host, node: str, pool: str | None = None) -> Resource:
    """Gives the node's constants: keys in lower snake case, sizes in bytes, times in epoch seconds.

    Asked again for every envelope that carries it: memory and CPUs can be plugged in while the node runs. What
    cannot be read is left out. psutil is asked for memory, which it reads in the node's /proc; nothing is asked of the
    C library, which knows the agent's container: its host name, the processors it may use.
    """
    psutil.PROCFS_PATH = host.procfs  # one path for the whole process
    system = os.uname()
    texts = {
        "hostname": _hostname(host, node),
        "os": system.sysname.lower(),
        "kernel": system.release,
        "arch": system.machine,
        "agent_version": __version__,
        "pool": pool or "",
    }
    resource: dict[str, str | int | float] = {key: printable(text)[:MAX_TEXT] for key, text in texts.items() if text}
    with suppress(OSError, ValueError):
        stat = procfs.read(f"{host.procfs}/stat")
        if cpus := stat.count(b"\ncpu"):
            resource["cpus"] = cpus
        if (boot_time := procfs.number(stat, b"btime ")) is not None:  # psutil takes one that is cut short, too
            resource["boot_time"] = boot_time
    with suppress(OSError, ValueError, LookupError):  # the last is psutil's at a meminfo that is cut short
        resource["memory"] = psutil.virtual_memory().total
    return resource


def _hostname(host: Host, node: str) -> str:
    """A container has a host name of its own, which even the node's /proc tells it; then the node's file counts."""
    if not host.in_container:
        return os.uname().nodename
    if host.rootfs != "/":
        with suppress(OSError, UnicodeDecodeError):
            if name := Path(host.rootfs, "etc/hostname").read_text().strip():
                return name
    return node
