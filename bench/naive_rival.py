"""The core's job as it is usually written first: an event per sample, a model per event, dicts, json, gzip.

One JSON event per sample with nested objects, json.loads, a pydantic model, a dict of lists per window, statistics
and a learning band per metric in plain Python, one narrow row per metric as Container Insights stores them,
json.dumps, gzip at its default.
"""

from __future__ import annotations

import gzip
import json
from collections import defaultdict

from pydantic import BaseModel, Field

from bench.core import cpu_seconds
from bench.workload import Workload
from telemetry.catalogue import DEVICE_CLASSES


class Device(BaseModel):
    """One device of a sample."""

    name: str
    metrics: dict[str, float]


class Sample(BaseModel):
    """One sample of one node."""

    cluster: str
    node: str = Field(min_length=1, max_length=253)
    seq: int
    time: int
    metrics: dict[str, float]
    devices: dict[str, list[Device]]


def naive_seconds_per_sample(workload: Workload, envelopes: int = 1500) -> float:
    """CPU seconds per sample on the workload's first envelopes."""
    events = [event for envelope in workload.envelopes[:envelopes] for event in _events(envelope)]
    return cpu_seconds(lambda: _job(events)) / len(events)


def _events(envelope) -> list[bytes]:  # type: ignore[no-untyped-def]
    identities = {device_class.key: device_class.identity for device_class in DEVICE_CLASSES}
    events = []
    for index, time in enumerate(envelope.time):
        devices = {
            name: [
                {"name": device, "metrics": {k: v[place][index] for k, v in block.items() if k != identities[name]}}
                for place, device in enumerate(block[identities[name]])
            ]
            for name, block in envelope.devices.items()
        }
        sample = {
            "cluster": envelope.cluster,
            "node": envelope.node,
            "seq": envelope.seq,
            "time": time,
            "metrics": {key: values[index] for key, values in envelope.metrics.items()},
            "devices": devices,
        }
        events.append(json.dumps(sample).encode())
    return events


def _job(events: list[bytes]) -> int:
    windows: dict[tuple[str, str, int, str], list[float]] = defaultdict(list)
    for event in events:
        sample = Sample(**json.loads(event))
        minute = sample.time // 60_000
        for key, value in sample.metrics.items():
            windows[sample.cluster, sample.node, minute, key].append(value)
        for name, devices in sample.devices.items():
            for device in devices:
                for key, value in device.metrics.items():
                    windows[sample.cluster, sample.node, minute, f"{name}.{device.name}.{key}"].append(value)
    rows = []
    bands: dict[tuple[str, str, str], tuple[float, float]] = {}
    for (cluster, node, minute, metric), values in windows.items():
        mean = sum(values) / len(values)
        centre, deviation = bands.get((cluster, node, metric), (mean, 0.0))
        width = 8 * max(deviation, abs(centre) * 0.02, 0.005)
        distance = abs(mean - centre) / width
        step = max(-width, min(width, mean - centre))
        bands[cluster, node, metric] = centre + step / 120, deviation + (abs(step) - deviation) / 120
        rows.append(
            {
                "TimeGenerated": minute * 60_000,
                "Cluster": cluster,
                "Node": node,
                "Metric": metric,
                "Count": len(values),
                "Avg": round(mean, 4),
                "Min": min(values),
                "Max": max(values),
                "Score": distance**2 / (1 + distance**2),
            }
        )
    return len(gzip.compress(json.dumps(rows).encode()))
