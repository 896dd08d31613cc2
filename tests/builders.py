"""Envelopes, documents and events for tests: valid unless a test changes them.

Tests import it as `tests.builders`: the checks run as `python -m pytest`, so the repository's root is on sys.path.
"""

import copy
import zlib
from itertools import count
from typing import Any

import orjson

from functions.core.ports import Event, Position
from telemetry.catalogue import DEVICE_CLASSES, NODE_METRICS
from telemetry.envelope import Envelope

START = 29_833_333 * 60_000
"""Epoch ms of the beginning of a minute in September 2026; the first sample of envelopes that do not say."""
INSTANCE = "0123456789ab"

_sequence = count(1)


def samples(number: int, start: int = START, step: int = 10_000) -> list[int]:
    """Time stamps of so many samples."""
    return [start + index * step for index in range(number)]


def metrics(number: int, value: float | None = 0.5) -> dict[str, list[float | None]]:
    """A column for every metric of a node."""
    return {metric.key: [value] * number for metric in NODE_METRICS}


def devices(number: int, value: float | None = 0.5, **names: tuple[str, ...]) -> dict[str, dict[str, list[Any]]]:
    """Device blocks as `Envelope` wants them: `devices(3, disk=("sda", "sdb"))`."""
    return {
        device_class.key: {
            device_class.identity: list(names[device_class.key]),
            **{metric.key: [[value] * number for _ in names[device_class.key]] for metric in device_class.metrics},
        }
        for device_class in DEVICE_CLASSES
        if device_class.key in names
    }


def envelope(
    seq: int = 1, *, number: int = 3, start: int = START, value: float | None = 0.5, **changes: Any
) -> Envelope:
    """A valid envelope of a node without devices."""
    fields: dict[str, Any] = {
        "cluster": "aks-test",
        "node": "node-1",
        "instance": INSTANCE,
        "seq": seq,
        "time": samples(number, start),
        "metrics": metrics(number, value),
    }
    return Envelope(**{**fields, **changes})


def document(**changes: Any) -> dict[str, Any]:
    """A small valid document with a device of every class, and top-level members changed; ... takes one away."""
    found: dict[str, Any] = {
        "version": 1,
        "cluster": "aks-test",
        "node": "node-1",
        "instance": INSTANCE,
        "seq": 1,
        "resource": {"pool": "pool1", "cpus": 8},
        "devices": {
            "disk": ["sda", "sdb"],
            "filesystem": ["/"],
            "network": ["eth0"],
            "pod": ["shop/cart-0"],
            "custom": ["queue.length", "queue.age"],
        },
        "time": samples(3),
        "keys": [
            *("cpu", "mem", "disk.read", "disk.busy", "filesystem.full", "network.rx"),
            *("pod.cpu", "pod.restarts", "custom.value"),
        ],
        "values": [
            [0.1, 0.2, 0.3],
            [0.4, 0.5, 0.6],
            [[1, 2, 3], [4, 5, 6]],
            [[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]],
            [[0.7, 0.8, 0.9]],
            [[7, 8, 9]],
            [[0.01, 0.02, 0.03]],
            [[0, 0, 1]],
            [[12, 13, 14], [0.5, 0.6, 0.7]],
        ],
    }
    found.update(copy.deepcopy(changes))
    return {key: value for key, value in found.items() if value is not ...}


def text(document: dict[str, Any]) -> bytes:
    """Compact JSON."""
    return orjson.dumps(document)


def packed(plain: bytes) -> bytes:
    """The same, gzip'd."""
    return zlib.compress(plain, 6, 31)


def event(raw: bytes, *, sequence: int | None = None, enqueued_ms: int = START + 60_000, partition: str = "0") -> Event:
    """An event as the trigger gives it; sequence numbers differ unless a test says otherwise."""
    return Event(raw, Position("telemetry", partition, next(_sequence) if sequence is None else sequence, enqueued_ms))
