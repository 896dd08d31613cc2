"""How the flat numbers of an envelope map to the catalogue: computed once per layout, used for every envelope.

For the function app; a layout is what all envelopes of like nodes share: how many samples, which metrics in which
order, how many devices of each class with which metrics.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from telemetry.catalogue import DEVICE_CLASSES, NODE_METRICS, Metric

_NODE_INDEX = {metric.key: index for index, metric in enumerate(NODE_METRICS)}


class Shape(NamedTuple):
    """How many devices of each class a node has, in catalogue order: decides the columns of its accumulators."""

    devices: tuple[int, ...]

    @property
    def width(self) -> int:
        """Number of columns: the node's metrics, then class by class, device by device, metric by metric."""
        return len(NODE_METRICS) + sum(
            count * len(device_class.metrics) for count, device_class in zip(self.devices, DEVICE_CLASSES, strict=True)
        )

    def offset(self, class_index: int) -> int:
        """Column of the first metric of the first device of a class."""
        return Shape((*self.devices[:class_index], *(0 for _ in self.devices[class_index:]))).width


class LayoutKey(NamedTuple):
    """What distinguishes layouts."""

    samples: int
    metrics: tuple[str, ...]
    class_metrics: tuple[tuple[str, ...], ...]
    device_counts: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """The columns of an envelope, in the order they come, and where each belongs in its shape."""

    key: LayoutKey
    shape: Shape
    width: int
    upper: np.ndarray[Any, np.dtype[np.float64]]
    """Upper bound per column of the envelope; infinity for metrics this build does not know."""
    gather: np.ndarray[Any, np.dtype[np.intp]] | None
    """For each column of the shape its column in the envelope, `width` where it is missing; None if identical."""
    unknown: tuple[str, ...]
    """Metrics of a newer agent that this build ignores."""

    def describe(self, column: int) -> str:
        """Path of a column in the document, for error texts."""
        names = [f"metrics.{key}" for key in self.key.metrics]
        for device_class, keys, count in zip(
            DEVICE_CLASSES, self.key.class_metrics, self.key.device_counts, strict=True
        ):
            names += [f"devices.{device_class.key}.{key}.{device}" for key in keys for device in range(count)]
        return names[column]


def shape_metrics(shape: Shape) -> list[Metric]:
    """The metric of every column of a shape."""
    metrics = list(NODE_METRICS)
    for count, device_class in zip(shape.devices, DEVICE_CLASSES, strict=True):
        metrics += device_class.metrics * count
    return metrics


@lru_cache(maxsize=4096)
def layout_for(key: LayoutKey) -> Layout:
    """The layout of all envelopes with this key; remembered, for a fleet has few of them."""
    shape = Shape(key.device_counts)
    position: dict[int, int] = {}
    upper: list[float] = []
    unknown: list[str] = []
    for name in key.metrics:
        index = _NODE_INDEX.get(name)
        if index is None:
            unknown.append(name)
            upper.append(np.inf)
        else:
            position[index] = len(upper)
            upper.append(NODE_METRICS[index].upper)
    for class_index, device_class in enumerate(DEVICE_CLASSES):
        base, stride = shape.offset(class_index), len(device_class.metrics)
        known = {metric.key: index for index, metric in enumerate(device_class.metrics)}
        for name in key.class_metrics[class_index]:
            index = known.get(name)
            if index is None:
                unknown.append(f"{device_class.key}.{name}")
            for device in range(key.device_counts[class_index]):
                if index is not None:
                    position[base + device * stride + index] = len(upper)
                upper.append(np.inf if index is None else device_class.metrics[index].upper)
    width = len(upper)
    gather = np.array([position.get(column, width) for column in range(shape.width)], dtype=np.intp)
    identical = width == shape.width and bool((gather == np.arange(width)).all())
    return Layout(key, shape, width, np.array(upper), None if identical else gather, tuple(unknown))
