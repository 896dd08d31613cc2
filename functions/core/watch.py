"""Watches over the nodes of a partition: scores their windows, and decides what is an incident.

Pure but for the port that the detectors' memory is stored by. Used by `close`, `ingest` and the evaluation. One watch
per partition; what belongs to a node alone (`Watched`) is a part of the node's state, what the detectors know is stored
every ten minutes of the nodes' time, what pools do together is never stored.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np

from functions.core.detector_memory import DetectorMemory, decode_memory
from functions.core.detectors.series_state import DetectorStateUnreadable, State
from functions.core.detectors.streaming import update
from functions.core.policy.deviations import (
    CALM,
    HABIT,
    NEVER,
    RELEASE,
    RETURNING,
    UNLEARNT,
    Course,
    Flags,
    Usual,
    advance,
    confirmed,
    strengths,
    usual,
    windows_since,
)
from functions.core.policy.incidents import Finding, Kind, Told, Watched, begin, end, go_on, incident_id
from functions.core.policy.maintenance import MaintenanceWindow, in_maintenance
from functions.core.policy.pools import Pools
from functions.core.policy.rules import COLUMNS, FULL, METRICS
from functions.core.ports import NodeKey, VersionedBlobs
from functions.core.windows import WINDOW_MS
from telemetry.errors import StateConflict, StoreUnavailable
from telemetry.layout import Floats, Indexes

STORED_EVERY = 10
"""Windows per node, on average, after which the detectors' memory is stored."""
_WINDOW_S = WINDOW_MS // 1000
_WIDTH = len(METRICS)
_PLACES = {metric: place for place, metric in enumerate(METRICS)}


class Seen(NamedTuple):
    """A window that is to be judged."""

    key: NodeKey
    pool: str
    minute: int
    watched: Watched


class Judged(NamedTuple):
    """What is thought of a window."""

    score: float
    """Highest of any metric, 0 to 1."""
    metric: str
    """The metric with that score; empty where it is 0."""
    told: tuple[Told, ...] = ()


class _Numbers(NamedTuple):
    """Everything the decisions about the windows of one round are made of; (windows, METRICS)."""

    x: Floats
    expected: Usual
    strength: Floats
    course: Course
    confirmed: Flags


class Watch:
    """The detectors' memory, the pools, and the decisions. Without a store it keeps everything in memory only."""

    def __init__(self, states: VersionedBlobs | None = None, *, name: str = "") -> None:
        self._states, self._name = states, name
        self.memory = DetectorMemory()
        self.problems: list[str] = []
        """What went wrong and was gone on without; whoever logs empties it."""
        self._pools = Pools()
        self._version: str | None = None
        self._must_look = states is not None
        self._learnt: list[tuple[list[NodeKey], State, list[int]]] = []
        self._unsaved = 0

    def prepare(self) -> None:
        """Brings the memory up to date. Raises StoreUnavailable."""
        if self._must_look:
            self._look()

    def judge(
        self, windows: Sequence[Seen], features: Floats, maintenance: Collection[MaintenanceWindow] = ()
    ) -> list[Judged]:
        """Judges windows (and FEATURES of each) in each node's order of time, for all nodes at once.

        A window that is not newer than what was judged of its node before is scored but teaches and decides nothing.
        """
        values = features[:, COLUMNS]
        rounds = _rounds(windows)
        keys = [windows[turn].key for turn in rounds[0]]  # every node is in the first round
        place = {key: row for row, key in enumerate(keys)}
        states = self.memory.take(keys)
        judged: dict[int, Judged] = {}
        for turns in rounds:
            rows = np.array([place[windows[turn].key] for turn in turns], np.intp)
            found = self._judge_round([windows[turn] for turn in turns], values[turns], states, rows, maintenance)
            judged |= zip(turns, found, strict=True)
        self._learnt.append((keys, states, [windows[turn].watched.minute for turn in rounds[0]]))
        self._unsaved += len(windows)
        return [judged[turn] for turn in range(len(windows))]

    def keep(self) -> None:
        """Keeps what was learnt since the last call; stores it when it is time to."""
        for learnt in self._learnt:
            self.memory.keep(*learnt)
        self._learnt.clear()
        if self._states is not None and self._unsaved >= STORED_EVERY * len(self.memory):
            self._store(self._states)

    def discard(self) -> None:
        """Forgets what was learnt since the last `keep`, and looks before the next batch whether others stored more."""
        self._learnt.clear()
        self._must_look = self._states is not None

    def forget(self, keys: list[NodeKey]) -> None:
        """Lets go of nodes there is no room for."""
        self.memory.forget(keys)
        self._pools.forget(keys)

    def _look(self) -> None:
        assert self._states is not None
        found = self._states.load(self._name, unless=self._version)
        self._must_look = False
        if found is None:
            return
        self._version, self._unsaved = found.version, 0
        try:
            self.memory = DetectorMemory() if found.blob is None else decode_memory(found.blob)
        except DetectorStateUnreadable as error:
            self.problems.append(f"detectors begin anew: {error}")
            self.memory = DetectorMemory()

    def _store(self, states: VersionedBlobs) -> None:
        self._unsaved = 0
        try:
            self._version = states.save(self._name, self.memory.encode(), self._version)
        except StateConflict:
            self._must_look = True  # the partition was somebody else's meanwhile, who knows more
        except StoreUnavailable as error:
            self.problems.append(f"detectors' memory is stored later: {error}")

    def _judge_round(
        self,
        windows: Sequence[Seen],
        x: Floats,
        states: State,
        rows: Indexes,
        maintenance: Collection[MaintenanceWindow],
    ) -> list[Judged]:
        minutes = np.array([window.minute for window in windows], np.int64)
        steps = minutes - np.array([window.watched.minute for window in windows], np.int64)
        newer = np.flatnonzero(steps > 0)
        in_place = len(newer) == len(states)  # the usual case: the first round, all of it new
        of_round = states if in_place else states[rows]
        verdict = update(of_round.reshape(-1), np.repeat(minutes * float(_WINDOW_S), _WIDTH), x.ravel())
        if not in_place:
            states[rows[newer]] = of_round[newer]
        score = verdict.score.reshape(x.shape)
        best = score.argmax(axis=1).tolist()
        highest = np.round(score.max(axis=1), 4).tolist()
        expected = usual(of_round)
        strength = strengths(x, expected)
        has_changed = (strength >= 1.0).any(axis=1)
        course = advance(
            Course(
                np.stack([window.watched.course.strong for window in windows]),
                np.stack([window.watched.course.quiet for window in windows]),
            ),
            steps,
            strength,
            verdict.evidence.reshape(x.shape),
            score,
            _score_needed(windows, expected, has_changed),
        )
        numbers = _Numbers(x, expected, strength, course, confirmed(course))
        told = self._decide(windows, newer.tolist(), numbers, maintenance)
        return [
            Judged(value, METRICS[column] if value else "", told.get(row, ()))
            for row, (value, column) in enumerate(zip(highest, best, strict=True))
        ]

    def _decide(
        self,
        windows: Sequence[Seen],
        newer: list[int],
        numbers: _Numbers,
        maintenance: Collection[MaintenanceWindow],
    ) -> dict[int, tuple[Told, ...]]:
        strong = numbers.strength >= 1.0
        has_changed = strong.any(axis=1).tolist()
        is_calm = ((numbers.course.strong == 0) & (numbers.course.quiet == NEVER)).all(axis=1).tolist()
        for row in newer:
            window = windows[row]
            window.watched.minute = window.minute
            window.watched.course = (
                CALM if is_calm[row] else Course(numbers.course.strong[row].copy(), numbers.course.quiet[row].copy())
            )
            changed = np.flatnonzero(strong[row]).tolist() if has_changed[row] else []
            self._pools.note(window.key, window.pool, window.minute, changed)
        has_confirmed = numbers.confirmed.any(axis=1).tolist()
        return {
            row: self._decide_one(windows[row], row, numbers, maintenance)
            for row in newer
            if has_confirmed[row] or windows[row].watched.incident is not None
        }

    def _decide_one(
        self, window: Seen, row: int, numbers: _Numbers, maintenance: Collection[MaintenanceWindow]
    ) -> tuple[Told, ...]:
        (cluster, node), pool, minute, watched = window
        suppressed = in_maintenance(maintenance, cluster, node, pool, minute * WINDOW_MS)
        new = np.flatnonzero(numbers.confirmed[row]).tolist()
        shared = self._pools.shared(cluster, pool, minute, new) if new else []
        own = [metric for metric in new if metric not in shared]
        told: list[Told] = []
        incident = watched.incident
        if incident is not None and incident.kind is Kind.POOL and own:
            told.append(end(watched))  # what the pool does is not all that is wrong with this node
            incident = None
        if incident is not None:
            present = [
                metric
                for metric in map(METRICS.index, incident.findings)
                if numbers.strength[row, metric] >= RELEASE and metric not in new
            ]
            more = go_on(
                watched,
                minute,
                [_finding(window, row, metric, numbers) for metric in present],
                [_finding(window, row, metric, numbers) for metric in new],
                suppressed=suppressed,
            )
            return (more,) if more is not None else ()
        if own:
            findings = [_finding(window, row, metric, numbers) for metric in own]
            since = min(finding.since for finding in findings)
            name, kind = incident_id(cluster, node, Kind.UNUSUAL, since), Kind.UNUSUAL
            told.append(begin(watched, name, kind, minute, findings, suppressed=suppressed))
        elif shared:
            findings = [_finding(window, row, metric, numbers) for metric in shared]
            name = self._pools.event(cluster, pool, minute)
            told.append(begin(watched, name, Kind.POOL, minute, findings, suppressed=suppressed))
        return tuple(told)


def _score_needed(windows: Sequence[Seen], expected: Usual, has_changed: Flags) -> Floats:
    """The score that makes a rise news, (windows, METRICS).

    Less is asked of a metric that the node had an incident of. When it has had HABIT of them, no score makes it news.
    """
    needed = np.full(expected.known.shape, UNLEARNT)
    for row in np.flatnonzero(has_changed).tolist():
        told = Counter(metric for episode in windows[row].watched.episodes for metric in episode.metrics)
        for metric in told.keys() & _PLACES.keys():
            column = _PLACES[metric]
            if told[metric] >= HABIT:
                needed[row, column] = np.inf
            elif expected.known[row, column]:
                needed[row, column] = RETURNING
    return needed


def _finding(window: Seen, row: int, metric: int, numbers: _Numbers) -> Finding:
    value, limit = float(numbers.expected.value[row, metric]), float(numbers.expected.limit[row, metric])
    return Finding(
        METRICS[metric],
        window.minute - max(windows_since(int(numbers.course.strong[row, metric]), metric), 0),
        float(numbers.x[row, metric]),
        max(value - limit, 0.0),
        min(value + limit, float(FULL[metric])),
        float(numbers.strength[row, metric]),
    )


def _rounds(windows: Sequence[Seen]) -> list[list[int]]:
    """Indexes of windows, each node at most once per round, its earlier windows in earlier rounds."""
    rounds: list[list[int]] = []
    turns: dict[NodeKey, int] = {}
    for index in sorted(range(len(windows)), key=lambda index: windows[index].minute):
        turn = turns.get(windows[index].key, 0)
        turns[windows[index].key] = turn + 1
        if turn == len(rounds):
            rounds.append([])
        rounds[turn].append(index)
    return rounds
