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
    node_keys: tuple[str, ...]
    class_keys: tuple[tuple[str, ...], ...]
    """Metric keys per device class, in catalogue order; empty for a class without devices."""
    shape: Shape


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
        """Path of a column in the document, for error texts."""
        names = [f"metrics.{key}" for key in self.key.node_keys]
        for device_class, keys, count in zip(DEVICE_CLASSES, self.key.class_keys, self.shape.devices, strict=True):
            names += [f"devices.{device_class.key}.{key}.{device}" for key in keys for device in range(count)]
        return names[column]


@lru_cache(maxsize=4096)
def layout_for(key: LayoutKey) -> Layout:
    """The layout of all envelopes with this key; remembered, for a fleet has few of them."""
    shape = key.shape
    position: dict[int, int] = {}
    upper: list[float] = []
    unknown: list[str] = []
    families = [
        (0, 1, NODE_METRICS, key.node_keys, ""),
        *(
            (shape.offset(index), shape.devices[index], device_class.metrics, key.class_keys[index], device_class.key)
            for index, device_class in enumerate(DEVICE_CLASSES)
        ),
    ]
    for base, devices, metrics, keys, family in families:
        known = {metric.key: index for index, metric in enumerate(metrics)}
        for name in keys:
            index = known.get(name)
            if index is None:
                unknown.append(f"{family}.{name}" if family else name)
                upper += [np.inf] * devices
                continue
            for device in range(devices):
                position[base + index * devices + device] = len(upper)
                upper.append(metrics[index].upper)
    width = len(upper)
    gather = np.array([position.get(column, width) for column in range(shape.width)], dtype=np.intp)
    identical = width == shape.width and bool((gather == np.arange(width)).all())
    return Layout(key, shape, width, np.array(upper), None if identical else gather, tuple(unknown))
