"""Rows of Log Analytics tables, as JSON: one wide row per node and minute.

Pure; used by `close`, `ingest` and `sweep`. Columns are those of telemetry.tables; every row has a key that comes
out the same when the same samples are folded again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import orjson

from functions.core.node import Node
from functions.core.ports import DeadLetter
from functions.core.windows import WINDOW_MS, WindowTable
from telemetry.catalogue import DEVICE_CLASSES, NODE_METRICS, Metric
from telemetry.layout import Floats, Indexes
from telemetry.tables import MINIMA, NUMBER_COLUMNS, TOTALS

_NODE_WIDTH = len(NODE_METRICS)
_NUMBERS = tuple(column.name for column in NUMBER_COLUMNS)
_DEVICE_KEYS = tuple(("Device", *(metric.column for metric in c.metrics)) for c in DEVICE_CLASSES)


def _scale(metric: Metric) -> float:
    """10 to the power of the decimals a mean is worth: those of the metric, two for counts, none for bytes."""
    digits = metric.digits if metric.digits is not None else 0 if metric.upper > 1e15 else 2
    return float(10**digits)


_NODE_SCALE = np.array([_scale(metric) for metric in NODE_METRICS])
_TOTAL_SCALE = np.array([_scale(metric) for _, _, metric in TOTALS])
_NUMBER_SCALE = np.concatenate([_NODE_SCALE, _NODE_SCALE, _NODE_SCALE[list(MINIMA)], _TOTAL_SCALE])
_DEVICE_SCALE = [np.array([_scale(metric) for metric in c.metrics]) for c in DEVICE_CLASSES]


def timestamp(epoch_ms: int) -> str:
    """ISO 8601 in UTC, as Log Analytics wants it."""
    return datetime.fromtimestamp(epoch_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def totals(table: WindowTable, mean: Floats, high: Floats) -> Floats:
    """Per window the node-level columns made of devices (windows, totals): sums of means, maxima of maxima."""
    shape = table.shape
    found = np.full((len(mean), len(TOTALS)), np.nan)
    for column, (class_index, metric_index, metric) in enumerate(TOTALS):
        devices = shape.devices[class_index]
        if not devices:
            continue
        first = shape.offset(class_index) + metric_index * devices
        block = (mean if metric.total == "sum" else high)[:, first : first + devices]
        with np.errstate(invalid="ignore"):
            if metric.total == "sum":
                found[:, column] = np.where(np.isnan(block).all(axis=1), np.nan, np.nansum(block, axis=1))
            else:
                found[:, column] = np.fmax.reduce(block, axis=1)
    return found


class WindowRows:
    """Makes the wide rows of windows of one shape; computes all numbers first, since scores need them too."""

    def __init__(self, table: WindowTable, slots: Indexes) -> None:
        self._table, self._slots = table, slots
        self._mean = table.mean(slots)
        self._high = table.maximum(slots)
        self._totals = totals(table, self._mean, self._high)
        self.revisions: list[int] = table.samples[slots].tolist()

    def features(self) -> Floats:
        """What detectors look at: (windows, telemetry.tables.FEATURES)."""
        return np.concatenate([self._mean[:, :_NODE_WIDTH], self._totals], axis=1)

    def make(
        self, nodes: Sequence[Node], minutes: Sequence[int], scores: Sequence[tuple[float, str]]
    ) -> Iterator[bytes]:
        """One row of NodeMetrics_CL per window."""
        low = self._table.minimum(self._slots)[:, list(MINIMA)]
        numbers = np.concatenate([self._mean[:, :_NODE_WIDTH], self._high[:, :_NODE_WIDTH], low, self._totals], axis=1)
        lists: list[list[float]] = (np.rint(numbers * _NUMBER_SCALE) / _NUMBER_SCALE).tolist()
        devices = [self._devices(index) for index in range(len(DEVICE_CLASSES))]
        times: dict[int, str] = {}
        for index, (node, minute) in enumerate(zip(nodes, minutes, strict=True)):
            start = times.get(minute)
            if start is None:
                start = times[minute] = timestamp(minute * WINDOW_MS)
            row: dict[str, Any] = dict(zip(_NUMBERS, lists[index], strict=True))
            row["TimeGenerated"] = row["WindowStart"] = start
            row["Cluster"], row["Node"] = node.key
            row["Pool"] = node.resource.get("pool", "")
            row["Revision"] = self.revisions[index]
            row["AnomalyScore"], row["AnomalyMetric"] = scores[index]
            for device_class, keys, names, values in zip(
                DEVICE_CLASSES, _DEVICE_KEYS, node.devices, devices, strict=True
            ):
                row[device_class.column] = [
                    dict(zip(keys, (name, *numbers), strict=True))
                    for name, numbers in zip(names, values[index], strict=True)
                ]
            yield orjson.dumps(row)

    def _devices(self, class_index: int) -> list[list[list[float]]]:
        """Rounded means of a class: (windows, devices, metrics)."""
        shape = self._table.shape
        count, metrics = shape.devices[class_index], len(DEVICE_CLASSES[class_index].metrics)
        first = shape.offset(class_index)
        block = self._mean[:, first : first + count * metrics].reshape(-1, metrics, count).transpose(0, 2, 1)
        scale = _DEVICE_SCALE[class_index]
        found: list[list[list[float]]] = (np.rint(block * scale) / scale).tolist()
        return found


def anomaly_row(
    node: Node, minute: int, revision: int, metric: str, kind: str, score: float, value: float | None,
    lower: float | None = None, upper: float | None = None,
) -> bytes:  # fmt: skip
    """One row of NodeAnomalies_CL."""
    start = timestamp(minute * WINDOW_MS)
    return orjson.dumps(
        {
            "TimeGenerated": start,
            "WindowStart": start,
            "Cluster": node.key[0],
            "Node": node.key[1],
            "Metric": metric,
            "Kind": kind,
            "Revision": revision,
            "Score": round(score, 4),
            "Value": value,
            "Lower": lower,
            "Upper": upper,
        }
    )


def dead_letter_row(letter: DeadLetter, blob_name: str) -> bytes:
    """One row of DeadLetters_CL."""
    position = letter.event.position
    received = timestamp(position.enqueued_ms)
    return orjson.dumps(
        {
            "TimeGenerated": received,
            "EnqueuedTime": received,
            "EventHub": position.event_hub,
            "PartitionId": position.partition,
            "SequenceNumber": position.sequence,
            "Reason": letter.error.reason.value,
            "Detail": letter.error.detail,
            "SizeBytes": len(letter.event.raw),
            "BlobName": blob_name,
        }
    )


def blob_name(letter: DeadLetter) -> str:
    """Where a dead letter's bytes are kept; newest first when listed by name, the same name every time it is put."""
    position = letter.event.position
    return (
        f"{9_999_999_999_999 - position.enqueued_ms:013d}/{position.event_hub}/{position.partition}/{position.sequence}"
    )
