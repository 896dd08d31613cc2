"""What is known of a node right now, as the HTTP endpoint shows it. Pure."""

from __future__ import annotations

import math
from typing import Any

from functions.core.node import Node
from functions.core.policy.explanation import findings_of, sentence
from functions.core.policy.incidents import similar_episode
from functions.core.rows import timestamp
from functions.core.windows import WINDOW_MS
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
        "pool": node.pool,
        "status": "silent" if node.silent else "live",
        "sampleTime": timestamp(node.last_ms),
        "receivedTime": timestamp(node.received_ms),
        "anomaly": {"score": node.score, "metric": node.score_metric or None},
        "incident": _incident(node),
        "resource": node.resource,
        "metrics": {metric_name(metric): value for metric, value in zip(NODE_METRICS, values, strict=False)},
        "devices": devices,
    }


def _incident(node: Node) -> dict[str, Any] | None:
    """The node's open incident and why there is one: metrics, the band that was usual, what it was like before."""
    incident = node.watched.incident
    if incident is None:
        return None
    similar = similar_episode(incident, node.watched.episodes)
    return {
        "id": incident.id,
        "kind": incident.kind,
        "severity": incident.severity.label,
        "suppressed": incident.suppressed,
        "since": timestamp(incident.since * WINDOW_MS),
        "explanation": sentence(incident, similar),
        "metrics": [{name.lower(): value for name, value in found.items()} for found in findings_of(incident)],
        "similar": similar
        and {
            "since": timestamp(similar.since * WINDOW_MS),
            "minutes": similar.minutes,
            "metrics": similar.metrics,
        },
    }
