"""How the flat numbers of an envelope map to the catalogue: computed once per layout, used for every envelope.

For the function app; a layout is what all envelopes of like nodes share: how many samples, which metrics in which
order, how many devices of each class with which metrics.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from telemetry.catalogue import DEVICE_CLASSES, NODE_METRICS, Metric

Floats = np.ndarray[Any, np.dtype[np.float64]]
Indexes = np.ndarray[Any, np.dtype[np.intp]]


class Shape(NamedTuple):
    """How many devices of each class a node has, in catalogue order: decides the columns of its accumulators.

    Columns: the node's metrics, then class by class, metric by metric, device by device; the order of an envelope.
    """

    devices: tuple[int, ...]

    @property
    def width(self) -> int:
        """Number of columns."""
        return len(NODE_METRICS) + sum(
            count * len(device_class.metrics) for count, device_class in zip(self.devices, DEVICE_CLASSES, strict=True)
        )

    def offset(self, class_index: int) -> int:
        """First column of a class."""
        return len(NODE_METRICS) + sum(
            count * len(device_class.metrics)
            for count, device_class in zip(self.devices[:class_index], DEVICE_CLASSES, strict=False)
        )

    def metrics(self) -> Iterator[Metric]:
        """The metric of every column."""
        yield from NODE_METRICS
        for count, device_class in zip(self.devices, DEVICE_CLASSES, strict=True):
            for metric in device_class.metrics:
                yield from [metric] * count


class LayoutKey(NamedTuple):
    """What distinguishes layouts."""

    samples: int
    keys: tuple[str, ...]
    """As in the document: "cpu", "disk.read"."""
    devices: tuple[tuple[str, int], ...]
    """How many devices the document names, per class it names."""


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """The columns of an envelope, in the order they come, and where each belongs in its shape."""

    key: LayoutKey
    shape: Shape
    width: int
    upper: Floats
    """Upper bound per column of the envelope; infinity for metrics this build does not know."""
    gather: Indexes | None
    """For each column of the shape its column in the envelope, `width` where it is missing; None if identical."""
    unknown: tuple[str, ...]
    """Metrics of a newer agent that this build ignores."""

    def describe(self, column: int) -> str:
        """What a column is called in error texts: its key, and the device's number where it has devices."""
        counts = dict(self.key.devices)
        names: list[str] = []
        for key in self.key.keys:
            devices = counts.get(key.partition(".")[0])
            names += [key] if devices is None else [f"{key} of device {device}" for device in range(devices)]
        return names[column]


@lru_cache(maxsize=4096)
def layout_for(key: LayoutKey) -> Layout:
    """The layout of all envelopes with this key; remembered, for a fleet has few of them."""
    counts = dict(key.devices)
    shape = Shape(tuple(counts.get(device_class.key, 0) for device_class in DEVICE_CLASSES))
    places = {m.key: (index, m) for index, m in enumerate(NODE_METRICS) if m.key.partition(".")[0] not in counts}
    for class_index, device_class in enumerate(DEVICE_CLASSES):
        if device_class.key not in counts:
            continue  # a device metric without devices stands for nothing
        for index, metric in enumerate(device_class.metrics):
            first = shape.offset(class_index) + index * shape.devices[class_index]
            places[f"{device_class.key}.{metric.key}"] = (first, metric)
    position: dict[int, int] = {}
    upper: list[float] = []
    unknown: list[str] = []
    for name in key.keys:
        columns = counts.get(name.partition(".")[0], 1)
        place = places.get(name)
        if place is None:
            unknown.append(name)
            upper += [np.inf] * columns
            continue
        for column in range(columns):
            position[place[0] + column] = len(upper)
            upper.append(place[1].upper)
    width = len(upper)
    gather = np.array([position.get(column, width) for column in range(shape.width)], dtype=np.intp)
    identical = width == shape.width and bool((gather == np.arange(width)).all())
    return Layout(key, shape, width, np.array(upper), None if identical else gather, tuple(unknown))
