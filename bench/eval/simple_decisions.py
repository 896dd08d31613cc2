"""What the product's decision is compared with: thresholds that never change, a band, and every alarm.

Each is an `IncidentSource` of incidents.py. One incident a node and minute at most.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from bench.eval.incidents import Incident
from bench.eval.layout import Flags
from functions.core.detectors.series_state import new_states
from functions.core.detectors.streaming import update
from telemetry.layout import Floats, Indexes
from telemetry.tables import FEATURES

THRESHOLDS: Mapping[str, float] = {
    "CpuUtilization": 0.9,
    "MemoryUtilization": 0.9,
    "FilesystemUtilization": 0.85,
    "FilesystemInodes": 0.9,
    "FileDescriptorUtilization": 0.7,
    "DiskBusy": 0.9,
    "CpuSteal": 0.1,
    "NetworkReceiveErrors": 10.0,
    "NetworkReceiveDrops": 10.0,
}
"""As rules that come with monitoring products have them, such as those of Prometheus' node mixin."""


class StaticThresholds:
    """A metric above its threshold for five windows."""

    _WINDOWS = 5

    def __init__(self, nodes: Sequence[int]) -> None:
        self._columns = [FEATURES.index(metric) for metric in THRESHOLDS]
        self._thresholds = np.array(list(THRESHOLDS.values()))
        self._runs = np.zeros((len(nodes), len(THRESHOLDS)))

    def feed(self, minute: int, nodes: Indexes, features: Floats) -> Iterator[Incident]:
        """Counts windows above."""
        x = features[:, self._columns]
        runs = np.where(x > self._thresholds, self._runs[nodes] + 1, 0.0)
        self._runs[nodes] = runs
        begins = np.zeros(features.shape, np.bool_)
        begins[:, self._columns] = runs == self._WINDOWS
        yield from _one_per_node(minute, nodes, begins, np.zeros(features.shape), "threshold")


class BandForThreeWindows:
    """A metric for three windows beyond eight mean deviations from its mean of the last hours, of any metric.

    Mean and deviation are exponentially weighted; what is outside moves them no further than the band's edge would.
    """

    _WEIGHT, _WIDTH, _WINDOWS, _LEARNING = 1.0 / 120.0, 16.0, 3, 30
    _RELATIVE_FLOOR, _ABSOLUTE_FLOOR = 0.02, 0.005

    def __init__(self, nodes: Sequence[int]) -> None:
        shape = (len(nodes), len(FEATURES))
        self._mean, self._deviation, self._seen, self._runs = (np.zeros(shape) for _ in range(4))

    def feed(self, minute: int, nodes: Indexes, features: Floats) -> Iterator[Incident]:
        """Compares, then learns."""
        mean, deviation, seen = self._mean[nodes], self._deviation[nodes], self._seen[nodes]
        half = self._WIDTH * np.maximum(
            deviation, np.maximum(self._RELATIVE_FLOOR * np.abs(mean), self._ABSOLUTE_FLOOR)
        )
        distance = np.where(np.isnan(features), 0.0, features - mean)
        beyond = np.where(seen >= self._LEARNING, np.abs(distance) / half, 0.0)
        runs = np.where(beyond > 1.0, self._runs[nodes] + 1, 0.0)
        self._runs[nodes] = runs
        known = ~np.isnan(features)
        weight = np.where(known, np.maximum(self._WEIGHT, 1.0 / (seen + 1)), 0.0)
        step = np.where(seen >= self._LEARNING, np.clip(distance, -half / 2, half / 2), distance)
        self._mean[nodes] = mean + weight * step
        self._deviation[nodes] = deviation + weight * (np.abs(step) * (seen > 0) - deviation)
        self._seen[nodes] = seen + known
        yield from _one_per_node(minute, nodes, runs == self._WINDOWS, beyond, "band")


class AnyAlarm:
    """Every alarm of the streaming detectors, of any metric, without a policy."""

    def __init__(self, nodes: Sequence[int]) -> None:
        self._nodes = len(nodes)
        self._states = new_states(self._nodes * len(FEATURES))

    def feed(self, minute: int, nodes: Indexes, features: Floats) -> Iterator[Incident]:
        """Scores, learns."""
        x = np.full((self._nodes, len(FEATURES)), np.nan)
        x[nodes] = features
        verdict = update(self._states, np.full(x.size, minute * 60.0), x.ravel())
        alarms, evidence = verdict.alarm.reshape(x.shape), verdict.evidence.reshape(x.shape)
        yield from _one_per_node(minute, nodes, alarms[nodes], evidence[nodes], "alarm")


def _one_per_node(minute: int, nodes: Indexes, begins: Flags, weight: Floats, kind: str) -> Iterator[Incident]:
    """Names the metric with the greatest weight."""
    for row in np.flatnonzero(begins.any(axis=1)).tolist():
        metric = FEATURES[int(np.where(begins[row], weight[row], -1.0).argmax())]
        yield Incident(int(nodes[row]), minute, kind, metric)
