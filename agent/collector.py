"""What a collector is, what it is told, and what it delivers. For everything in the agent, and for plug-ins."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

from agent.selection import Selection
from telemetry.catalogue import DeviceClass, Metric


class Reading(NamedTuple):
    """One number as it was read: a gauge's value, or a counter's total since boot."""

    key: str
    """Key of the metric in the catalogue: in NODE_METRICS, or in the collector's device class."""
    value: float
    device: str | None = None
    """Name of the disk, mount point or interface; None for the node's own metrics."""
    wraps_at: float | None = None
    """Where a counter is known to start again from 0, in the metric's unit; None for 64-bit counters."""
    at: float | None = None
    """When a counter had this value, in seconds of whatever clock its source has; None when it was read just now."""
    incarnation: str | None = None
    """Which of the devices that had this name one after the other it is (a pod's UID): their counters are not one."""


class Collector(Protocol):
    """Reads one subsystem of the node."""

    @property
    def name(self) -> str:
        """Name in settings, logs and statistics."""

    @property
    def device_class(self) -> DeviceClass | None:
        """The class that readings with a device belong to; None for a collector of node metrics."""

    def collect(self) -> Iterable[Reading]:
        """Reads the subsystem once.

        What this node does not have (no swap, a kernel without pressure information) is left out, which is no
        error. Anything else that goes wrong is raised and costs this collector's readings of this sample.
        Never called again before the previous call has ended.
        """


@runtime_checkable
class CustomCollector(Protocol):
    """A collector with metrics of its own, which the catalogue does not have: a plug-in's."""

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """What it delivers. Names begin with the owner's domain (`acme.gpu.utilization`)."""


@dataclass(frozen=True, slots=True)
class Kubelet:
    """How to reach this node's kubelet."""

    url: str = ""
    """https://HOST:PORT, without a path."""
    token_file: Path = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
    ca_file: Path = Path("/var/run/secrets/kubernetes.io/serviceaccount/ca.crt")
    verify: bool = True
    """Whether its certificate must be signed by the CA; nodes whose kubelet signs its own need False."""


@dataclass(frozen=True, slots=True)
class Host:
    """Where the node's file systems are seen, and what to leave out. Every collector's maker gets it."""

    procfs: str
    sysfs: str
    rootfs: str
    """The node's root directory: '/' on the node itself, the mount of it in a container."""
    disks: Selection
    mounts: Selection
    fs_types: Selection
    interfaces: Selection
    kubelet: Kubelet = field(default_factory=Kubelet)
    time_limit: float = 1.0
    """Seconds one call of the kernel or the kubelet may take; a collector as a whole has four times as long."""

    @property
    def in_container(self) -> bool:
        """Whether the node is seen through mounts: then the agent's own namespaces are not the node's."""
        return (self.procfs, self.rootfs) != ("/proc", "/")
