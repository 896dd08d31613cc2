"""What a collector is and what it delivers. For everything in the agent."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, Protocol

from telemetry.catalogue import DeviceClass


class Reading(NamedTuple):
    """One number as it was read: a gauge's value, or a counter's total since boot."""

    key: str
    """Key of the metric in the catalogue: in NODE_METRICS, or in the collector's device class."""
    value: float
    device: str | None = None
    """Name of the disk, mount point or interface; None for the node's own metrics."""
    wraps_at: float | None = None
    """Where a counter is known to start again from 0, in the metric's unit; None for 64-bit counters."""


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
