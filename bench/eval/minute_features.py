"""One-minute windows of simulated nodes as functions.core makes them, without envelopes and JSON: twenty times faster.

Each node samples at its own moments; its readings are rounded as they are for the wire; a window has the mean of its
samples, and of devices the sum of their means or the highest value of any. A test holds this against functions.core's
own folding. Clocks that are wrong move no sample here:
bench/eval/silence_and_clocks.py sends real envelopes for those.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from local.fleet.faults import Fault, NodeGone
from local.fleet.model import FleetModel, Readings
from local.fleet.pools import node_name, pool_of
from local.fleet.wire_rounding import rounded
from telemetry.catalogue import DEVICE_CLASSES, NODE_METRICS
from telemetry.layout import Floats, Indexes
from telemetry.tables import FEATURES, SCORED, TOTALS

START_MS = 1_767_571_200_000
"""Monday, 5 January 2026: weeks of the simulation begin on Mondays."""
MINUTE_MS = 60_000
_SAMPLE_MS, _PUBLISH_MS = 10_000, 30_000
"""The agent's defaults."""
_SAMPLES = MINUTE_MS // _SAMPLE_MS
_AT_ONCE = 6_000
"""Node-samples computed at once: their arrays fit the processor's cache."""


class Minutes(NamedTuple):
    """Windows of some nodes for some successive minutes."""

    first: int
    """Minutes since the simulation's start."""
    features: Floats
    """(minutes, nodes, FEATURES); NaN is missing, and where all are the node sent nothing."""


class SimulatedNodes:
    """Some nodes of a simulated fleet, whose windows can be had for any span of minutes."""

    def __init__(self, fleet: int, seed: int, nodes: Sequence[int], faults: Sequence[Fault] = ()) -> None:
        self._model = FleetModel(fleet, seed, start_ms=START_MS, faults=faults)
        self.nodes = tuple(nodes)
        phases = _phases(fleet, seed)
        self._phase = np.array([phases[node] for node in nodes], np.int64)
        self._outages = _outages(faults)
        self._pools: dict[str, list[int]] = {}
        for place, node in enumerate(nodes):
            self._pools.setdefault(pool_of(node).name, []).append(place)

    def minutes(self, first: int, count: int) -> Minutes:
        """The windows of `count` minutes from minute `first` of the simulation on."""
        features = np.full((count, len(self.nodes), len(FEATURES)), np.nan)
        for places in self._pools.values():
            step = max(_AT_ONCE // (_SAMPLES * len(places)), 1)
            for start in range(0, count, step):
                stop = min(start + step, count)
                features[start:stop, places] = self._windows(places, first + start, stop - start)
        return Minutes(first, features)

    def chunks(self, minutes: int, size: int = 360) -> Iterator[Minutes]:
        """All windows from the start on, some hours at a time."""
        for first in range(0, minutes, size):
            yield self.minutes(first, min(size, minutes - first))

    def _windows(self, places: Sequence[int], first: int, count: int) -> Floats:
        """(minutes, places, FEATURES) of nodes of one pool."""
        nodes = [self.nodes[place] for place in places]
        moments = first * MINUTE_MS + np.arange(count * _SAMPLES) * _SAMPLE_MS
        elapsed = self._phase[places][:, None] % _SAMPLE_MS + moments
        off = self._off(nodes, places, elapsed)
        readings = self._model.readings(nodes, START_MS + elapsed)
        found = np.full((len(FEATURES), len(nodes), count), np.nan)
        for feature, values in _features(readings):
            samples = (values if off is None else np.where(off, np.nan, values)).reshape(len(nodes), count, _SAMPLES)
            found[feature] = _worst(samples) if feature in _MAXIMA else _mean(samples)
        return found.transpose(2, 1, 0)

    def _off(self, nodes: Sequence[int], places: Sequence[int], elapsed: Indexes) -> np.ndarray | None:
        """Which samples are never published, because the node is off when they would be."""
        if not any(node in self._outages for node in nodes):
            return None
        phase = self._phase[places][:, None]
        published = phase + -(-(elapsed - phase) // _PUBLISH_MS) * _PUBLISH_MS
        off = np.zeros(elapsed.shape, np.bool_)
        for row, node in enumerate(nodes):
            for begin, end in self._outages.get(node, ()):
                off[row] |= (published[row] >= begin) & (elapsed[row] < end)
        return off


_MAXIMA = frozenset(len(SCORED) + place for place, (_, _, metric) in enumerate(TOTALS) if metric.total == "max")


def _features(readings: Readings) -> Iterator[tuple[int, Floats]]:
    """(feature, values (nodes, samples)) of all features that simulated nodes have, rounded as on the wire."""
    for feature, index in enumerate(SCORED):
        metric = NODE_METRICS[index]
        if metric.key in readings.metrics:
            yield feature, rounded(metric, readings.metrics[metric.key])
    for place, (class_index, _, metric) in enumerate(TOTALS):
        of = readings.devices[DEVICE_CLASSES[class_index].key][metric.key]
        values = rounded(metric, of)
        yield len(SCORED) + place, values.sum(axis=1) if metric.total == "sum" else values.max(axis=1)


def _mean(samples: Floats) -> Floats:
    known = ~np.isnan(samples)
    if known.all():
        return np.asarray(samples.mean(axis=2))
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(known, samples, 0.0).sum(axis=2) / known.sum(axis=2))


def _worst(samples: Floats) -> Floats:
    return np.asarray(np.fmax.reduce(samples, axis=2))


def _phases(fleet: int, seed: int) -> Mapping[int, int]:
    """When in a publish interval each node publishes, in ms: as its first envelope shows."""
    index = {node_name(node): node for node in range(fleet)}
    model = FleetModel(fleet, seed, start_ms=START_MS)
    return {index[due.envelope.node]: due.at_ms - START_MS for due in model.envelopes(START_MS + _PUBLISH_MS)}


def _outages(faults: Sequence[Fault]) -> dict[int, list[tuple[int, int]]]:
    """By node: from when to when it is off, in ms from the simulation's start."""
    found: dict[int, list[tuple[int, int]]] = {}
    for fault in faults:
        if isinstance(fault, NodeGone):
            for node in fault.nodes:
                found.setdefault(node, []).append(
                    (round(fault.after * 1000), round((fault.after + fault.duration) * 1000))
                )
    return found
