"""The dynamic columns of a wide row: which devices stand in them, and the text around their numbers.

Pure; used by `rows`. A node's devices are those of its newest envelope and those that an open window still has values
of; a row lists the ones that its own window has values of.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import chain
from typing import Any

import numpy as np
import orjson

from functions.core.node import Devices
from telemetry.catalogue import DEVICE_CLASSES, NODE_METRICS
from telemetry.layout import Floats, Shape
from telemetry.tables import NUMBER_COLUMNS

MAX_COLUMN_BYTES = 64_000
"""Log Analytics cuts a field at 64 KB, which makes a text without an end of a dynamic column."""

Absent = np.ndarray[Any, np.dtype[np.bool_]]

_FIRST = tuple(b'%b"%b":' % (b"," if place else b"", c.name.encode()) for place, c in enumerate(NUMBER_COLUMNS))
_FIELDS = tuple(tuple(b',"%b":' % c.field(metric).encode() for metric in c.metrics) for c in DEVICE_CLASSES)


def absent_devices(shape: Shape, mean: Floats) -> Absent | None:
    """Which devices have no value in a window: (windows, devices), None if all have one in each."""
    missing = np.isnan(mean[:, len(NODE_METRICS) :])
    if not missing.any():
        return None
    found = []
    for index, (device_class, count) in enumerate(zip(DEVICE_CLASSES, shape.devices, strict=True)):
        first = shape.offset(index) - len(NODE_METRICS)
        of_class = missing[:, first : first + count * len(device_class.metrics)]
        found.append(of_class.reshape(len(mean), len(device_class.metrics), count).all(axis=1))
    absent = np.concatenate(found, axis=1)
    return absent if absent.any() else None


def without(devices: Devices, numbers: Sequence[bytes], absent: Sequence[bool]) -> tuple[Devices, list[bytes]]:
    """A row's devices and numbers without those of the absent devices."""
    kept = list(numbers[: len(NUMBER_COLUMNS)])
    first, flags = len(NUMBER_COLUMNS), iter(absent)
    present: list[tuple[str, ...]] = []
    for device_class, names in zip(DEVICE_CLASSES, devices, strict=True):
        here = []
        for name in names:
            if not next(flags):
                here.append(name)
                kept += numbers[first : first + len(device_class.metrics)]
            first += len(device_class.metrics)
        present.append(tuple(here))
    return tuple(present), kept


@lru_cache(maxsize=256)
def text_around_numbers(devices: Devices) -> list[bytes]:
    """What stands before each number of a row and after the last; every second entry is left empty for a number.

    Few sets are remembered: nodes with pods have each their own, some 60 kB for 250 pods, and it changes all the time.
    """
    before = list(_FIRST)
    pending = b""
    for device_class, fields, names in zip(DEVICE_CLASSES, _FIELDS, devices, strict=True):
        if device_class.optional and not names:
            continue
        pending += b',"%b":[' % device_class.column.encode()
        for name in names:
            before.append(b'%b{"Device":%b%b' % (pending, orjson.dumps(name), fields[0]))
            before += fields[1:]
            pending = b"},"
        pending = pending.removesuffix(b",") + b"]"
    return [*chain.from_iterable((piece, b"") for piece in before), pending + b"}"]


def fitted(row: bytes) -> bytes:
    """The row, with as many devices in each dynamic column as Log Analytics takes of it: the first ones."""
    if len(row) <= MAX_COLUMN_BYTES:
        return row
    values = orjson.loads(row)
    for device_class in DEVICE_CLASSES:
        devices = values.get(device_class.column, [])
        ends = np.cumsum([len(orjson.dumps(device)) + 1 for device in devices])
        del devices[int(np.searchsorted(ends, MAX_COLUMN_BYTES - 1)) :]
    return orjson.dumps(values)
