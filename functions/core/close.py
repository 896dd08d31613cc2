"""Closes windows: has them judged, makes their rows, and lets go of those nobody may add to any more.

Pure; used by `ingest` (windows that a later sample has passed) and `sweep` (all windows of a silent node).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

import numpy as np

from functions.core.fleet import Fleet
from functions.core.fleet_model.model import FleetModel
from functions.core.fleet_model.outliers import Outliers, Scored
from functions.core.fold import KEPT_MINUTES
from functions.core.node import Node
from functions.core.policy.incidents import Phase
from functions.core.policy.maintenance import MaintenanceWindow, in_maintenance
from functions.core.rows import WindowRows, clock_row, incident_row, outlier_row, silent_row
from functions.core.watch import Seen, Watch
from functions.core.windows import WINDOW_MS
from telemetry.layout import Floats, Shape
from telemetry.tables import NODE_ANOMALIES_TABLE, NODE_METRICS_TABLE


@dataclass(slots=True)
class _Due:
    """A window whose row is to be made."""

    node: Node
    minute: int
    slot: int
    score: tuple[float | None, str] = (None, "")
    fleet_score: float | None = None


@dataclass(slots=True)
class Rows:
    """Rows per table, each one JSON object."""

    tables: dict[str, list[bytes]] = field(default_factory=dict)

    def add(self, table: str, rows: Iterable[bytes]) -> None:
        """Appends rows to a table."""
        self.tables.setdefault(table, []).extend(rows)

    def __len__(self) -> int:
        return sum(map(len, self.tables.values()))


def close(
    fleet: Fleet,
    nodes: Collection[Node],
    watch: Watch | None,
    *,
    maintenance: Collection[MaintenanceWindow] = (),
    open_too: bool = False,
    outliers: Outliers | None = None,
    model: FleetModel | None = None,
) -> Rows:
    """Makes the rows of all windows of these nodes that are complete and have samples no row has told of.

    A window is complete when a later one was opened; with `open_too` the newest is taken as well. Its revision is
    the number of its samples: whoever folds the same samples makes the same row. Without a watch none is judged,
    without `outliers` none is compared with its pool.
    """
    rows = Rows()
    for node in nodes:
        rows.add(NODE_ANOMALIES_TABLE, _whole_node(node, maintenance))
    makers: list[tuple[WindowRows, list[_Due]]] = []
    for shape, windows in _due_windows(fleet, nodes, open_too):
        table = fleet.table(shape)
        slots = np.array([window.slot for window in windows], np.intp)
        makers.append((WindowRows(table, slots), windows))
        table.emitted[slots] = table.samples[slots]
    if makers and watch is not None:
        features = np.concatenate([maker.features() for maker, _ in makers])
        ordered = [window for _, windows in makers for window in windows]
        revisions = [revision for maker, _ in makers for revision in maker.revisions]
        rows.add(NODE_ANOMALIES_TABLE, _judge(watch, maintenance, ordered, features, revisions))
        if outliers is not None:
            rows.add(NODE_ANOMALIES_TABLE, _compare(outliers, model, maintenance, ordered, features, revisions))
    for maker, windows in makers:
        rows.add(
            NODE_METRICS_TABLE,
            maker.make(
                [w.node for w in windows],
                [w.minute for w in windows],
                [(*w.score, w.fleet_score) for w in windows],
            ),
        )
    return rows


def evict(fleet: Fleet, nodes: Iterable[Node]) -> None:
    """Lets go of windows too old for late samples; their rows are made."""
    released: dict[Shape, list[int]] = {}
    for node in nodes:
        for minute in [minute for minute in node.windows if minute <= node.newest - KEPT_MINUTES]:
            released.setdefault(node.shape, []).append(node.windows.pop(minute))
    for shape, slots in released.items():
        fleet.table(shape).release(slots)


def _due_windows(fleet: Fleet, nodes: Collection[Node], open_too: bool) -> list[tuple[Shape, list[_Due]]]:
    """Per shape the windows that are complete and have samples no row has told of."""
    found: dict[Shape, list[tuple[Node, int, int]]] = {}
    for node in nodes:
        newest = node.newest
        for minute, slot in node.windows.items():
            if minute < newest or open_too:
                found.setdefault(node.shape, []).append((node, minute, slot))
    due = []
    for shape, windows in found.items():
        table = fleet.table(shape)
        slots = np.array([slot for _, _, slot in windows], np.intp)
        untold = np.flatnonzero(table.samples[slots] > table.emitted[slots]).tolist()
        if untold:
            due.append((shape, [_Due(*windows[index]) for index in untold]))
    return due


def _judge(
    watch: Watch,
    maintenance: Collection[MaintenanceWindow],
    due: list[_Due],
    features: Floats,
    revisions: list[int],
) -> list[bytes]:
    """Has windows judged; gives the rows of what there is to tell.

    A window that is told of again, because a late sample came, is scored again but teaches and begins nothing.
    """
    seen = [Seen(window.node.key, window.node.pool, window.minute, window.node.watched) for window in due]
    anomalies: list[bytes] = []
    for window, revision, judged in zip(due, revisions, watch.judge(seen, features, maintenance), strict=True):
        node = window.node
        window.score = (judged.score, judged.metric)
        if window.minute == node.watched.minute:  # what a late sample adds to an older window is no news of the node
            node.score, node.score_metric = window.score
        anomalies += [incident_row(node, window.minute, revision, judged.score, told) for told in judged.told]
    return anomalies


def _compare(
    outliers: Outliers,
    model: FleetModel | None,
    maintenance: Collection[MaintenanceWindow],
    due: list[_Due],
    features: Floats,
    revisions: list[int],
) -> list[bytes]:
    """Has windows compared with their pools; gives the rows of what there is to tell."""
    scored = [Scored(window.node.key, window.node.pool, window.minute, window.node.outlier) for window in due]
    told: list[bytes] = []
    for window, revision, verdict in zip(
        due, revisions, outliers.judge(model, scored, features, maintenance), strict=True
    ):
        window.fleet_score = verdict.score
        if verdict.told is not None:
            told.append(outlier_row(window.node, window.minute, revision, verdict.score, verdict.told))
    return told


def _whole_node(node: Node, maintenance: Collection[MaintenanceWindow]) -> list[bytes]:
    """What there is to tell of a node that no metric shows: its clock, and that it speaks again."""
    suppressed = bool(maintenance) and in_maintenance(maintenance, *node.key, node.pool, node.newest * WINDOW_MS)
    rows = []
    if node.silent_since >= 0 and not node.silent:
        rows.append(silent_row(node, Phase.END, suppressed=suppressed))
        node.silent_since = -1
    since = node.clock.wrong_since
    turned = node.clock.change()
    if turned is not None:
        told = (node.clock.wrong_since, Phase.BEGIN) if turned else (since, Phase.END)
        rows.append(clock_row(node, *told, suppressed=suppressed))
    return rows
