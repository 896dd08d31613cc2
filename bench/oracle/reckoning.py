"""What must come out: every event's verdict and every window's numbers, reckoned from the raw bytes of the log.

For the oracle. Deliberately naive: dicts, lists, `json`, no arrays, nothing of `functions`. It states the rules once
more, so that it can disagree with the code that is being judged:

- an envelope whose (cluster, node, instance, seq) was stored before is a duplicate;
- one that begins before its node's newest minute and the two before it is dead-lettered as late;
- every other valid envelope adds each of its samples to the minute of the sample's own time.
"""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from telemetry.catalogue import DEVICE_CLASSES, NODE_METRICS, Metric

MINUTE_MS = 60_000
OPEN_MINUTES = 3
LATE = "late"


class EnvelopeId(NamedTuple):
    """Names an envelope for ever."""

    cluster: str
    node: str
    instance: str
    seq: int


class WindowKey(NamedTuple):
    """Names a row of the view."""

    cluster: str
    node: str
    minute: int


class Place(NamedTuple):
    """Where an event lies in the log."""

    partition: str
    sequence: int


class Logged(NamedTuple):
    """An event of the broker's log."""

    place: Place
    raw: bytes
    enqueued_ms: int = 0
    """When the broker took it."""


Values = dict[str, list[float]]


@dataclass
class Window:
    """Everything that was sampled in one minute of one node."""

    samples: int = 0
    metrics: Values = field(default_factory=dict)
    devices: dict[str, dict[str, Values]] = field(default_factory=dict)
    """Device class -> device -> metric -> values; a device without a value is not there."""
    envelopes: set[EnvelopeId] = field(default_factory=set)


@dataclass
class Expected:
    """A row of the view as it should be; numbers are not rounded, None is no value."""

    revision: int
    numbers: dict[str, float | None]
    devices: dict[str, dict[str, dict[str, float]]]
    """Dynamic column -> device -> key within it -> mean."""


@dataclass
class Reckoning:
    """The verdict on every event that was taken, in the order of its partition."""

    poison: Mapping[bytes, str]
    """Bytes that were sent to be refused -> the reason they must be refused for."""
    stored: set[EnvelopeId] = field(default_factory=set)
    duplicates: int = 0
    dead_letters: dict[Place, str] = field(default_factory=dict)
    events: int = 0
    windows: dict[WindowKey, Window] = field(default_factory=dict)
    newest: dict[tuple[str, str], int] = field(default_factory=dict)
    """Node -> the latest minute it spoke of; that window may still be open."""
    pools: dict[tuple[str, str], str] = field(default_factory=dict)
    first_bytes: dict[EnvelopeId, bytes] = field(default_factory=dict)
    """Of every valid envelope in the log, late ones too."""

    def take_all(self, log: Iterable[Logged]) -> Reckoning:
        """Takes the events of a log; gives itself."""
        for event in log:
            self.take(event)
        return self

    def take(self, event: Logged) -> None:
        """Takes the next event of a partition."""
        self.events += 1
        reason = self.poison.get(event.raw)
        if reason is not None:
            self.dead_letters[event.place] = reason
            return
        document = read(event.raw)
        envelope = identify(document)
        self.first_bytes.setdefault(envelope, event.raw)
        if envelope in self.stored:
            self.duplicates += 1
            return
        node = envelope.cluster, envelope.node
        newest = self.newest.get(node, -1)
        if document["time"][0] // MINUTE_MS <= newest - OPEN_MINUTES:
            self.dead_letters[event.place] = LATE
            return
        self.stored.add(envelope)
        self.newest[node] = max(newest, document["time"][-1] // MINUTE_MS)
        if "resource" in document:
            self.pools[node] = str(document["resource"].get("pool", ""))
        self._fold(envelope, document)

    def closed(self) -> dict[WindowKey, Window]:
        """The windows that a later sample of their node has passed: each must have its row."""
        return {key: window for key, window in self.windows.items() if key.minute < self.newest[key.cluster, key.node]}

    def _fold(self, envelope: EnvelopeId, document: Mapping[str, Any]) -> None:
        for sample, time in enumerate(document["time"]):
            key = WindowKey(envelope.cluster, envelope.node, time // MINUTE_MS)
            window = self.windows.setdefault(key, Window())
            window.samples += 1
            window.envelopes.add(envelope)
            for key, columns in zip(document["keys"], document["values"], strict=True):
                device_class, _, metric = key.partition(".")
                if device_class not in document["devices"]:
                    _add(window.metrics, key, columns[sample])
                    continue
                devices = window.devices.setdefault(device_class, {})
                for device, column in zip(document["devices"][device_class], columns, strict=True):
                    if column[sample] is not None:
                        _add(devices.setdefault(device, {}), metric, column[sample])


def read(raw: bytes) -> dict[str, Any]:
    """The JSON document of a valid envelope."""
    document: dict[str, Any] = json.loads(gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw)
    return document


def identify(document: Mapping[str, Any]) -> EnvelopeId:
    """Whose envelope this is, and which."""
    return EnvelopeId(document["cluster"], document["node"], document["instance"], document["seq"])


def row_of(window: Window) -> Expected:
    """The row that a window must have."""
    numbers: dict[str, float | None] = {}
    for metric in NODE_METRICS:
        values = window.metrics.get(metric.key, [])
        numbers[f"{metric.column}Avg"] = _mean(values)
        numbers[f"{metric.column}Max"] = max(values, default=None)
        if metric.keeps_minimum:
            numbers[f"{metric.column}Min"] = min(values, default=None)
    devices: dict[str, dict[str, dict[str, float]]] = {}
    for device_class in DEVICE_CLASSES:
        found = window.devices.get(device_class.key, {})
        known = {metric.key: metric for metric in device_class.metrics}
        devices[device_class.column] = {
            device: {
                device_class.field(known[key]): math.fsum(series) / len(series)
                for key, series in values.items()
                if key in known
            }
            for device, values in found.items()
            if not known.keys().isdisjoint(values)
        }
        for metric in device_class.metrics:
            if metric.total is not None:
                statistic, total = _total(metric, [device.get(metric.key, []) for device in found.values()])
                numbers[metric.column + statistic] = total
    return Expected(window.samples, numbers, devices)


def _total(metric: Metric, devices: list[list[float]]) -> tuple[str, float | None]:
    """All devices together: the sum of their means, or the maximum of their maxima."""
    present = [values for values in devices if values]
    if metric.total == "sum":
        return "Avg", math.fsum(math.fsum(values) / len(values) for values in present) if present else None
    return "Max", max((max(values) for values in present), default=None)


def _add(values: Values, name: str, value: float | None) -> None:
    if value is not None:
        values.setdefault(name, []).append(value)


def _mean(values: list[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None
