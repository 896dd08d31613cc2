"""Who decides that something is wrong with a node: the product's own decision, and simpler ones to compare it with.

An `IncidentSource` takes the windows of one minute after the other and tells of incidents that begin. To evaluate
another decision, write a class with `feed`, and name it in SOURCES.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple, Protocol

import numpy as np

from bench.eval.layout import Flags
from functions.core.detector import ConsecutivePolicy, RobustBand
from functions.core.detectors.series_state import new_states
from functions.core.detectors.streaming import update
from telemetry.layout import Floats, Indexes
from telemetry.tables import FEATURES


class Incident(NamedTuple):
    """The beginning of an incident."""

    node: int
    """Which of the source's nodes, from 0."""
    minute: int
    """Of the window that was the last one needed to tell, in minutes since the epoch."""
    kind: str
    metric: str = ""
    """Of FEATURES: the one that is named first; empty where none is."""


class IncidentSource(Protocol):
    """Decides for some nodes, of which it keeps what it has to know."""

    def feed(self, minute: int, nodes: Indexes, features: Floats) -> Iterator[Incident]:
        """Takes the windows (nodes, FEATURES) of the nodes that have one in this minute; minutes ascend."""


class BandForThreeWindows:
    """What functions.core.close does: a metric outside its band for three windows. One incident a node and minute."""

    def __init__(self, nodes: int) -> None:
        self._detector, self._policy = RobustBand(), ConsecutivePolicy()
        self._state = np.zeros((nodes, self._detector.planes, len(FEATURES)), np.float32)
        self._runs = np.zeros((nodes, len(FEATURES)))

    def feed(self, minute: int, nodes: Indexes, features: Floats) -> Iterator[Incident]:
        """Scores, decides, learns."""
        state = self._state[nodes]
        scores = self._detector.score(state, features)
        self._runs[nodes], begins = self._policy.decide(self._runs[nodes], scores)
        self._detector.learn(state, features)
        self._state[nodes] = state
        yield from _one_per_node(minute, nodes, begins, scores, "band")


class AnyAlarm:
    """Every alarm of the streaming detectors, of any metric, without a policy. One incident a node and minute."""

    def __init__(self, nodes: int) -> None:
        self._nodes = nodes
        self._states = new_states(nodes * len(FEATURES))

    def feed(self, minute: int, nodes: Indexes, features: Floats) -> Iterator[Incident]:
        """Scores, learns."""
        x = np.full((self._nodes, len(FEATURES)), np.nan)
        x[nodes] = features
        verdict = update(self._states, np.full(x.size, minute * 60.0), x.ravel())
        alarms, evidence = verdict.alarm.reshape(x.shape), verdict.evidence.reshape(x.shape)
        yield from _one_per_node(minute, nodes, alarms[nodes], evidence[nodes], "alarm")


def _one_per_node(minute: int, nodes: Indexes, begins: Flags, weight: Floats, kind: str) -> Iterator[Incident]:
    for row in np.flatnonzero(begins.any(axis=1)).tolist():
        metric = FEATURES[int(np.where(begins[row], weight[row], -1.0).argmax())]
        yield Incident(int(nodes[row]), minute, kind, metric)


PRODUCT = "band"
"""The source that is the product's decision today."""
SOURCES: Mapping[str, Callable[[int], IncidentSource]] = {"band": BandForThreeWindows, "any_alarm": AnyAlarm}
"""Makers of sources for so many nodes, by the name that figures have."""
