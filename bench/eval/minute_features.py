"""One-minute windows of simulated nodes as functions.core makes them, without envelopes and JSON: forty times faster.

Each node samples at its own moments; its readings are rounded as they are for the wire; a window has the mean of its
samples, and of devices the sum of their means or the highest value of any. Levels that can run out (memory, open
files, every filesystem by itself) are kept besides, for who forecasts. A test holds all of it against functions.core's
own folding. Clocks that are wrong move no sample here:
bench/eval/silence_and_clocks.py sends real envelopes for those.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from bench.eval.layout import Flags
from local.fleet.faults import Fault, NodeGone
from local.fleet.model import FleetModel, Readings
from local.fleet.pools import POOLS, Pool, node_name, pool_of
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


_MOST_FILESYSTEMS = max(len(pool.filesystems) for pool in POOLS)
LEVELS = ("MemoryUtilization", "FileDescriptorUtilization") + _MOST_FILESYSTEMS * (
    "FilesystemUtilization",
    "FilesystemInodes",
)
"""What can run out, named by the feature that shows it; of each filesystem used space and inodes."""


class Minutes(NamedTuple):
    """Windows of some nodes for some successive minutes."""

    first: int
    """Minutes since the simulation's start."""
    features: Floats
    """(minutes, nodes, FEATURES); NaN is missing, and where all are the node sent nothing."""
    levels: Floats
    """(minutes, nodes, LEVELS), 0 to 1; NaN is missing, also of filesystems that a node has not."""


class SimulatedNodes:
    """Some nodes of a simulated fleet, whose windows can be had for any span of minutes."""

    def __init__(self, fleet: int, seed: int, nodes: Sequence[int], faults: Sequence[Fault] = ()) -> None:
        self.nodes = tuple(nodes)
        phases = _phases(fleet, seed)
        self._phase = np.array([phases[node] for node in nodes], np.int64)
        self._outages = _outages(faults)
        places: dict[Pool, list[int]] = {}
        for place, node in enumerate(nodes):
            places.setdefault(pool_of(node), []).append(place)
        self._pools = [_PoolNodes(fleet, seed, pool, self.nodes, own, faults) for pool, own in places.items()]

    def minutes(self, first: int, count: int) -> Minutes:
        """The windows of `count` minutes from minute `first` of the simulation on."""
        features = np.full((count, len(self.nodes), len(FEATURES)), np.nan)
        levels = np.full((count, len(self.nodes), len(LEVELS)), np.nan)
        for pool in self._pools:
            step = max(_AT_ONCE // (_SAMPLES * len(pool.places)), 1)
            for start in range(0, count, step):
                stop = min(start + step, count)
                own, of_pool = self._windows(pool, first + start, stop - start)
                features[start:stop, pool.places] = own
                levels[start:stop, pool.places] = of_pool
        return Minutes(first, features, levels)

    def chunks(self, minutes: int, size: int = 360) -> Iterator[Minutes]:
        """All windows from the start on, some hours at a time."""
        for first in range(0, minutes, size):
            yield self.minutes(first, min(size, minutes - first))

    def _windows(self, pool: _PoolNodes, first: int, count: int) -> tuple[Floats, Floats]:
        """(minutes, places, FEATURES) and (minutes, places, LEVELS) of nodes of one pool."""
        nodes, places = pool.nodes, pool.places
        moments = first * MINUTE_MS + np.arange(count * _SAMPLES) * _SAMPLE_MS
        elapsed = self._phase[places][:, None] % _SAMPLE_MS + moments
        off = self._off(nodes, places, elapsed)
        readings = pool.model((first + count) * MINUTE_MS / 1000.0).readings(nodes, START_MS + elapsed)
        found = np.full((len(FEATURES), len(nodes), count), np.nan)
        for feature, values in _features(readings):
            samples = _of_minutes(values, off, count)
            found[feature] = _worst(samples) if feature in _MAXIMA else _mean(samples)
        levels = np.full((len(LEVELS), len(nodes), count), np.nan)
        for level, values in enumerate(_levels(readings)):
            levels[level] = _mean(_of_minutes(values, off, count))
        return found.transpose(2, 1, 0), levels.transpose(2, 1, 0)

    def _off(self, nodes: Sequence[int], places: Sequence[int], elapsed: Indexes) -> Flags | None:
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


class _PoolNodes:
    """Those of the nodes that are of one pool, and what happens to them."""

    def __init__(
        self, fleet: int, seed: int, pool: Pool, nodes: Sequence[int], places: list[int], faults: Sequence[Fault]
    ) -> None:
        self.places = places
        self.nodes = [nodes[place] for place in places]
        self._fleet, self._seed = fleet, seed
        own = set(self.nodes)
        self._faults = sorted((fault for fault in faults if own.intersection(fault.nodes)), key=lambda one: one.after)
        self._begun = -1
        self._model: FleetModel

    def model(self, until: float) -> FleetModel:
        """One that is right for these nodes up to a moment: what begins later or hits others need not be computed."""
        begun = sum(fault.after < until for fault in self._faults)
        if begun != self._begun:
            self._begun = begun
            self._model = FleetModel(self._fleet, self._seed, start_ms=START_MS, faults=self._faults[:begun])
        return self._model


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


def _levels(readings: Readings) -> Iterator[Floats]:
    """(nodes, samples) of each of LEVELS, as far as the nodes have them, rounded as on the wire."""
    by_key = {metric.key: metric for metric in NODE_METRICS}
    for key in ("mem", "fds.full"):
        yield rounded(by_key[key], readings.metrics[key])
    (filesystems,) = (one for one in DEVICE_CLASSES if one.key == "filesystem")
    of_files = {metric.key: metric for metric in filesystems.metrics}
    full, inodes = (rounded(of_files[key], readings.devices["filesystem"][key]) for key in ("full", "inodes"))
    for place in range(full.shape[1]):
        yield full[:, place]
        yield inodes[:, place]


def _of_minutes(values: Floats, off: Flags | None, count: int) -> Floats:
    """(nodes, minutes, samples of the minute)."""
    return (values if off is None else np.where(off, np.nan, values)).reshape(len(values), count, _SAMPLES)


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
