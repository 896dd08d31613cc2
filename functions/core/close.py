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
    rows = Rows()
    makers: list[tuple[WindowRows, list[_Due]]] = []
    for shape, windows in _due_windows(fleet, nodes, open_too):
        table = fleet.table(shape)
        slots = np.array([window.slot for window in windows], np.intp)
        makers.append((WindowRows(table, slots), windows))
        table.emitted[slots] = table.samples[slots]
    if makers:
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


def _due_windows(fleet: Fleet, nodes: Iterable[Node], open_too: bool) -> list[tuple[Shape, list[_Due]]]:
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
        emitted = table.emitted[slots]
        untold = np.flatnonzero(table.samples[slots] > emitted).tolist()
        if untold:
            first_times = (emitted == 0).tolist()
            due.append((shape, [_Due(*windows[index], first_times[index]) for index in untold]))
    return due


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
        fleet.detector.learn(state, x)
        history[:, -1] = new_runs
        highest = np.round(scores.max(axis=1), 4).tolist()
        for row, (index, score, column) in enumerate(zip(indexes, highest, best.tolist(), strict=True)):
            window = due[index]
            window.score = (score, FEATURES[column] if score else "")
            if window.first_time:  # what a late sample adds to an older window is no news of the node
                window.node.history = history[row].copy()
                window.node.score, window.node.score_metric = window.score
    return anomalies


def _rounds(due: list[_Due]) -> list[list[int]]:
    """Indexes of windows, each node at most once per round, its earlier windows in earlier rounds."""
    rounds: list[list[int]] = []
    turns: dict[int, int] = {}
    minutes = [window.minute for window in due]
    for index in sorted(range(len(due)), key=minutes.__getitem__):
        node = id(due[index].node)
        turn = turns.get(node, 0)
        turns[node] = turn + 1
        if turn == len(rounds):
            rounds.append([])
        rounds[turn].append(index)
    return rounds
