"""Closes windows: scores them, makes their rows, and lets go of those nobody may add to any more.

Pure; used by `ingest` (windows that a later sample has passed) and `sweep` (all windows of a silent node).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from functions.core.detector import ConsecutivePolicy
from functions.core.fleet import Fleet
from functions.core.fold import KEPT_MINUTES
from functions.core.node import Node
from functions.core.rows import WindowRows, anomaly_row
from telemetry.layout import Floats, Shape
from telemetry.tables import FEATURES, NODE_ANOMALIES_TABLE, NODE_METRICS_TABLE


@dataclass(slots=True)
class _Due:
    """A window whose row is to be made."""

    node: Node
    minute: int
    slot: int
    first_time: bool
    score: tuple[float, str] = (0.0, "")


@dataclass(slots=True)
class Rows:
    """Rows per table, each one JSON object."""

    tables: dict[str, list[bytes]] = field(default_factory=dict)

    def add(self, table: str, rows: Iterable[bytes]) -> None:
        """Appends rows to a table."""
        self.tables.setdefault(table, []).extend(rows)

    def __len__(self) -> int:
        return sum(map(len, self.tables.values()))


def close(fleet: Fleet, nodes: Iterable[Node], *, open_too: bool = False) -> Rows:
    """Makes the rows of all windows of these nodes that are complete and have samples no row has told of.

    A window is complete when a later one was opened; with `open_too` the newest is taken as well. Its revision is
    the number of its samples: whoever folds the same samples makes the same row.
    """
    policy = ConsecutivePolicy()
    due = [window for node in nodes for window in _due_windows(fleet, node, open_too)]
    by_shape: dict[Shape, list[_Due]] = {}
    for window in due:
        by_shape.setdefault(window.node.shape, []).append(window)
    rows = Rows()
    makers: list[tuple[WindowRows, list[_Due]]] = []
    for shape, windows in by_shape.items():
        table = fleet.table(shape)
        slots = np.array([window.slot for window in windows], np.intp)
        makers.append((WindowRows(table, slots), windows))
        table.emitted[slots] = table.samples[slots]
    if due:
        features = np.concatenate([maker.features() for maker, _ in makers])
        ordered = [window for _, windows in makers for window in windows]
        revisions = [revision for maker, _ in makers for revision in maker.revisions]
        rows.add(NODE_ANOMALIES_TABLE, _score(fleet, policy, ordered, features, revisions))
    for maker, windows in makers:
        rows.add(
            NODE_METRICS_TABLE,
            maker.make([w.node for w in windows], [w.minute for w in windows], [w.score for w in windows]),
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


def _due_windows(fleet: Fleet, node: Node, open_too: bool) -> list[_Due]:
    table = fleet.table(node.shape)
    return [
        _Due(node, minute, slot, not table.emitted[slot])
        for minute, slot in sorted(node.windows.items())
        if (minute < node.newest or open_too) and table.samples[slot] > table.emitted[slot]
    ]


def _score(
    fleet: Fleet, policy: ConsecutivePolicy, due: list[_Due], features: Floats, revisions: list[int]
) -> list[bytes]:
    """Scores windows in each node's order of time, for all nodes at once; gives the anomalies that begin.

    A window that is told of again, because a late sample came, is scored again but teaches nothing.
    """
    anomalies: list[bytes] = []
    for indexes in _rounds(due):
        nodes = [due[index].node for index in indexes]
        history = np.stack([node.history for node in nodes])
        state, runs = history[:, :-1], history[:, -1]
        x = features[indexes]
        scores = fleet.detector.score(state, x)
        best = scores.argmax(axis=1)
        teaches = np.array([due[index].first_time for index in indexes])
        lower, upper = fleet.detector.band(state)
        new_runs, begins = policy.decide(runs, scores)
        begins &= teaches[:, None]
        for row, column in np.argwhere(begins).tolist():
            window = due[indexes[row]]
            numbers = [float(array[row, column]) for array in (scores, x, lower, upper)]
            revision = revisions[indexes[row]]
            anomalies.append(anomaly_row(window.node, window.minute, revision, FEATURES[column], "band", *numbers))
        learnt = state.copy()
        fleet.detector.learn(learnt, x)
        history[:, :-1] = np.where(teaches[:, None, None], learnt, state)
        history[:, -1] = np.where(teaches[:, None], new_runs, runs)
        for row, index in enumerate(indexes):
            score = round(float(scores[row, best[row]]), 4)
            due[index].score = (score, FEATURES[best[row]] if score else "")
            node = due[index].node
            node.history = history[row].copy()
            node.score, node.score_metric = due[index].score
    return anomalies


def _rounds(due: list[_Due]) -> list[list[int]]:
    """Indexes of windows, each node at most once per round, its earlier windows in earlier rounds."""
    rounds: list[list[int]] = []
    seen: dict[int, int] = {}
    for index in sorted(range(len(due)), key=lambda i: due[i].minute):
        turn = seen.get(id(due[index].node), 0)
        seen[id(due[index].node)] = turn + 1
        if turn == len(rounds):
            rounds.append([])
        rounds[turn].append(index)
    return rounds
