"""The constants of this node that envelopes carry now and then. For the command line and the service."""

from __future__ import annotations

import os

import psutil

from agent import __version__
from telemetry.envelope import Resource

MAX_TEXT = 128
"""Receivers refuse longer strings."""


def node_resource(pool: str | None) -> Resource:
    """Gives the node's constants: keys in lower snake case, sizes in bytes, times in epoch seconds.

    Asked again for every envelope that carries it: memory and CPUs can be plugged in while the node runs.
    """
    system = os.uname()
    texts = {
        "hostname": system.nodename,
        "os": system.sysname.lower(),
        "kernel": system.release,
        "arch": system.machine,
        "agent_version": __version__,
    }
    if pool:
        texts["pool"] = pool
    numbers = {
        "cpus": psutil.cpu_count() or 1,
        "memory": psutil.virtual_memory().total,
        "boot_time": int(psutil.boot_time()),
    }
    return {key: text[:MAX_TEXT] for key, text in texts.items() if text} | numbers
