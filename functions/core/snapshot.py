"""What is known of a node right now, as the HTTP endpoint shows it. Pure."""

from __future__ import annotations

import math
from typing import Any

from functions.core.node import Node
from functions.core.rows import timestamp
from telemetry.catalogue import DEVICE_CLASSES, NODE_METRICS, Metric


def metric_name(metric: Metric) -> str:
    """OpenTelemetry name with its attributes: system.cpu.utilization{cpu.mode=user}."""
    attributes = ",".join(f"{name}={value}" for name, value in metric.attributes.items())
    return f"{metric.name}{{{attributes}}}" if attributes else metric.name


def snapshot(node: Node) -> dict[str, Any]:
    """The node's newest sample, its constants and its health; metrics by OpenTelemetry name, units as catalogued.

    Devices that the sample has no value of are left out: the node still knows them for an older window's sake.
    """
    values = [None if math.isnan(value) else value for value in node.last.tolist()]
    devices: dict[str, dict[str, dict[str, float | None]]] = {}
    for index, (device_class, names) in enumerate(zip(DEVICE_CLASSES, node.devices, strict=True)):
        first = node.shape.offset(index)
        readings = {
            name: {
                metric_name(metric): values[first + position * len(names) + place]
                for position, metric in enumerate(device_class.metrics)
            }
            for place, name in enumerate(names)
        }
        present = {name: found for name, found in readings.items() if set(found.values()) != {None}}
        if present or not device_class.optional:
            devices[device_class.key] = present
    return {
        "cluster": node.key[0],
        "node": node.key[1],
        "pool": str(node.resource.get("pool", "")),
        "status": "silent" if node.silent else "live",
        "sampleTime": timestamp(node.last_ms),
        "receivedTime": timestamp(node.received_ms),
        "anomaly": {"score": node.score, "metric": node.score_metric or None},
        "resource": node.resource,
        "metrics": {metric_name(metric): value for metric, value in zip(NODE_METRICS, values, strict=False)},
        "devices": devices,
    }
