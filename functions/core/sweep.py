"""Closes the windows of nodes that fell silent, and marks them so.

Pure but for the ports. A node that speaks again is live with its next envelope; its last window takes what comes
late and is told of again with a higher revision.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from functions.core.close import close
from functions.core.detector import Detector
from functions.core.fleet import Fleet
from functions.core.ingest import summary
from functions.core.ports import NodeKey, RowSink, StateStore, StateUpdate
from functions.core.rows import anomaly_row
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

    def __init__(self, store: SilentNodes, sink: RowSink, detector: Detector, *, silent_after_ms: int) -> None:
        self._store, self._sink, self._detector = store, sink, detector
        self._silent_after_ms = silent_after_ms

    def run(self, now_ms: int) -> list[NodeKey]:
        """Marks the nodes that were silent for too long and returns them. Raises TransientError."""
        found = self._store.find_silent(now_ms - self._silent_after_ms, MAX_NODES)
        marked: list[NodeKey] = []
        for start in range(0, len(found), _GROUP):
            marked += self._mark(found[start : start + _GROUP], now_ms)
        return marked

    def _mark(self, keys: Sequence[NodeKey], now_ms: int) -> list[NodeKey]:
        fleet = Fleet(self._detector)
        fleet.admit(self._store.load(keys))
        nodes = [n for n in fleet.nodes.values() if not n.silent and n.received_ms < now_ms - self._silent_after_ms]
        if not nodes:
            return []
        rows = close(fleet, nodes, open_too=True)
        for node in nodes:
            node.silent = True
            quiet_s = (now_ms - node.received_ms) / 1000
            rows.add(NODE_ANOMALIES_TABLE, [anomaly_row(node, node.newest, 0, "", "silent", 1.0, round(quiet_s, 1))])
        for table, lines in rows.tables.items():
            if lines:
                self._sink.write(table, lines)
        try:
            self._store.commit([StateUpdate(n.key, fleet.encode(n), n.version, summary(n)) for n in nodes])
        except StateConflict:
            return []  # one of them has just spoken; its rows stand, the others are looked at again in the next run
        return [node.key for node in nodes]
