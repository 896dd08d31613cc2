"""Maintenance: times in which incidents of some nodes are recorded and need nobody to come.

Pure; used by `watch`. Where the times are kept is the business of a `MaintenanceCalendar` (functions.core.ports).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MaintenanceWindow:
    """A time of maintenance of a cluster, or of one pool or node of it."""

    cluster: str
    from_ms: int
    until_ms: int
    pool: str = ""
    """Empty: every pool."""
    node: str = ""
    """Empty: every node."""

    def covers(self, cluster: str, node: str, pool: str, at_ms: int) -> bool:
        """Whether a node is in maintenance at a moment."""
        return (
            self.cluster == cluster
            and self.node in ("", node)
            and self.pool in ("", pool)
            and self.from_ms <= at_ms < self.until_ms
        )


def in_maintenance(windows: Iterable[MaintenanceWindow], cluster: str, node: str, pool: str, at_ms: int) -> bool:
    """Whether any of the windows covers the node at that moment."""
    return any(window.covers(cluster, node, pool, at_ms) for window in windows)
