"""Closes the windows of nodes that fell silent, and marks them so.

Pure but for the ports. What the detectors know is where the node's partition is processed, so the last window of a
silent node is not judged. A node that speaks again is live with its next envelope; its last window takes what comes
late, is judged, and is told of again with a higher revision.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from functions.core.close import close
from functions.core.fleet import Fleet
from functions.core.fleet_model.outliers import ended
from functions.core.ingest import summary
from functions.core.node import Node
from functions.core.policy.incidents import Phase, end
from functions.core.policy.maintenance import in_maintenance
from functions.core.ports import MaintenanceCalendar, NodeKey, RowSink, StateStore, StateUpdate
from functions.core.rows import incident_row, outlier_row, silent_row
from telemetry.errors import StateConflict
from telemetry.tables import NODE_ANOMALIES_TABLE

MAX_NODES = 1000
"""Marked in one run; more wait for the next."""
_GROUP = 100


class SilentNodes(StateStore, Protocol):
    """A state store that can also find nodes nothing was received of."""

    def find_silent(self, received_before_ms: int, limit: int) -> list[NodeKey]:
        """Live nodes whose last envelope was received before that; at most `limit`."""


class Sweep:
    """One run over all nodes of the store."""

    def __init__(
        self, store: SilentNodes, sink: RowSink, calendar: MaintenanceCalendar, *, silent_after_ms: int
    ) -> None:
        self._store, self._sink, self._calendar = store, sink, calendar
        self._silent_after_ms = silent_after_ms

    def run(self, now_ms: int) -> list[NodeKey]:
        """Marks the nodes that were silent for too long and returns them. Raises TransientError."""
        found = self._store.find_silent(now_ms - self._silent_after_ms, MAX_NODES)
        marked: list[NodeKey] = []
        for start in range(0, len(found), _GROUP):
            marked += self._mark(found[start : start + _GROUP], now_ms)
        return marked

    def _mark(self, keys: Sequence[NodeKey], now_ms: int) -> list[NodeKey]:
        fleet = Fleet()
        fleet.admit(self._store.load(keys))
        nodes = [n for n in fleet.nodes.values() if not n.silent and n.received_ms < now_ms - self._silent_after_ms]
        if not nodes:
            return []
        maintenance = self._calendar.windows()
        rows = close(fleet, nodes, None, maintenance=maintenance, open_too=True)
        for node in nodes:
            node.silent, node.silent_since = True, node.newest
            suppressed = in_maintenance(maintenance, *node.key, node.pool, now_ms)
            told = [silent_row(node, Phase.BEGIN, now_ms, suppressed=suppressed)]
            if node.watched.incident is not None:  # nobody can tell any more whether it goes on
                told.append(incident_row(node, node.newest, 0, node.score, end(node.watched)))
            if node.outlier.since >= 0:
                over = ended(node.key, node.outlier, node.newest - node.outlier.since + 1)
                told.append(outlier_row(node, node.newest, 0, None, over))
            rows.add(NODE_ANOMALIES_TABLE, told)
        for table, lines in rows.tables.items():
            if lines:
                self._sink.write(table, lines)
        try:
            self._store.commit([StateUpdate(n.key, fleet.encode(n), n.version, summary(n)) for n in nodes])
        except StateConflict:
            self._take_back(nodes)
            return []  # one of them has just spoken; its rows stand, the others are looked at again in the next run
        return [node.key for node in nodes]

    def _take_back(self, nodes: Sequence[Node]) -> None:
        """Tells that the silence of those that have spoken meanwhile is over: their states do not know of it."""
        fleet = Fleet()
        fleet.admit(self._store.load([node.key for node in nodes]))
        spoke = [node for node in nodes if fleet.nodes[node.key].received_ms > node.received_ms]
        if spoke:
            self._sink.write(NODE_ANOMALIES_TABLE, [silent_row(node, Phase.END) for node in spoke])
