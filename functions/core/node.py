"""The state of one node, and its bytes: what the node's entity in Table Storage carries.

Pure; used by `fleet`. The bytes are versioned, checked by gzip's CRC, and never pickle:
magic and version, then gzip of: header length, header (JSON), last sample, one block per window.
The header names the metrics, so that a build with another catalogue still reads what both know.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, field
from typing import NamedTuple, cast

import numpy as np
import orjson
from isal import igzip, isal_zlib

from functions.core.clocks import NodeClock
from functions.core.fleet_model.outliers import Course, course_of
from functions.core.policy.incidents import Watched
from functions.core.policy.record import from_document, to_document
from functions.core.ports import NodeKey
from functions.core.replay import ReplayWindow
from functions.core.windows import WindowTable
from telemetry.catalogue import DEVICE_CLASSES, NODE_METRICS
from telemetry.layout import Floats, Indexes, Shape

_GzipError = cast(type[Exception], isal_zlib.error)
MAGIC = b"DMS\x02"
METRICS: dict[str, list[str]] = {
    "": [metric.key for metric in NODE_METRICS],
    **{c.key: [metric.key for metric in c.metrics] for c in DEVICE_CLASSES},
}
"""Keys of the node's metrics and of each device class; a state carries those it was written with."""

Devices = tuple[tuple[str, ...], ...]
NO_DEVICES: Devices = ((),) * len(DEVICE_CLASSES)
Resource = dict[str, str | int | float]


class StateUnreadable(ValueError):
    """State bytes are truncated, flipped, or of another version."""


@dataclass(slots=True)
class Node:
    """What is known of one node between two batches."""

    key: NodeKey
    version: str | None
    """Guards the next commit (ETag); None while the store does not have the node."""
    devices: Devices
    shape: Shape
    last: Floats
    """The newest sample, per column of the shape."""
    windows: dict[int, int] = field(default_factory=dict)
    """Minute -> slot in the table of the node's shape."""
    replay: ReplayWindow = field(default_factory=ReplayWindow)
    newest: int = -1
    """The latest minute a sample was seen for."""
    last_ms: int = 0
    """Time stamp of the newest sample, by the node's clock."""
    received_ms: int = 0
    """When Event Hubs received the envelope with it."""
    silent: bool = False
    silent_since: int = -1
    """Minute since which it has been told to be silent; -1: that it speaks again has been told."""
    score: float = 0.0
    score_metric: str = ""
    watched: Watched = field(default_factory=Watched)
    clock: NodeClock = field(default_factory=NodeClock)
    outlier: Course = field(default_factory=Course)
    """How long it has been unlike its pool."""

    @property
    def pool(self) -> str:
        """Its node pool; empty until the agent has told it."""
        return str(self.resource.get("pool", ""))

    resource: Resource = field(default_factory=dict)


def new_node(key: NodeKey, version: str | None = None) -> Node:
    """A node nothing is known of."""
    shape = Shape(tuple(map(len, NO_DEVICES)))
    return Node(key, version, NO_DEVICES, shape, np.full(shape.width, np.nan))


def encode_node(node: Node, table: WindowTable) -> bytes:
    """The node's state as bytes."""
    minutes = sorted(node.windows)
    header = orjson.dumps(
        {
            "metrics": METRICS,
            "devices": node.devices,
            "windows": [
                [minute, int(table.samples[slot]), int(table.emitted[slot])]
                for minute, slot in ((minute, node.windows[minute]) for minute in minutes)
            ],
            "instances": [[name, top, f"{bits:x}"] for name, (top, bits) in node.replay.seen.items()],
            "newest": node.newest,
            "last_ms": node.last_ms,
            "received_ms": node.received_ms,
            "silent": [node.silent, node.silent_since],
            "score": [node.score, node.score_metric],
            "resource": node.resource,
            "watched": to_document(node.watched),
            "clock": astuple(node.clock),
            "outlier": node.outlier.to_document(),
        }
    )
    parts = [len(header).to_bytes(4, "little"), header, node.last.tobytes()]
    parts += [table.dump(node.windows[minute]) for minute in minutes]
    return MAGIC + igzip.compress(b"".join(parts), 1, mtime=0)


class _Columns(NamedTuple):
    """The columns of a state, and where their values belong now."""

    width: int
    devices: Devices
    source: Indexes
    """Columns of the state that still exist, and ..."""
    target: Indexes
    """... which columns of the node's shape they are."""


def _columns_of(metrics: dict[str, list[str]], devices: list[list[str]]) -> _Columns:
    """Finds the columns of a state that may have been written with another catalogue.

    Metrics that are new have no values yet; those that are gone are left behind.
    """
    before = {name: tuple(names) for name, names in zip(list(metrics)[1:], devices, strict=True)}
    now = {name: before.get(name, ()) for name in list(METRICS)[1:]}
    theirs, ours = _column_names(metrics, before), _column_names(METRICS, now)
    place = {name: column for column, name in enumerate(ours)}
    kept = [(column, place[name]) for column, name in enumerate(theirs) if name in place]
    found = np.array(kept, np.intp).reshape(-1, 2)
    return _Columns(len(theirs), tuple(now.values()), found[:, 0], found[:, 1])


def _column_names(
    metrics: Mapping[str, Sequence[str]], devices: Mapping[str, Sequence[str]]
) -> list[tuple[str, str, str]]:
    """(device class, metric, device) of every column, in the order of a shape."""
    return [
        (name, key, device) for name, keys in metrics.items() for key in keys for device in devices.get(name, ("",))
    ]


def decode_node(key: NodeKey, version: str | None, blob: bytes, tables: dict[Shape, WindowTable]) -> Node:
    """The node back from its bytes, its windows in the table of its shape. Raises StateUnreadable."""
    if blob[: len(MAGIC)] != MAGIC:
        raise StateUnreadable(f"state starts with {blob[:4]!r}; this build reads {MAGIC!r}")
    allocated: list[int] = []
    table: WindowTable | None = None
    try:
        data: bytes = igzip.decompress(blob[len(MAGIC) :])  # type: ignore[no-untyped-call]
        size = 4 + int.from_bytes(data[:4], "little")
        header = orjson.loads(data[4:size])
        columns = _columns_of(header["metrics"], header["devices"])
        shape = Shape(tuple(map(len, columns.devices)))
        table = tables.get(shape)
        if table is None:
            table = tables[shape] = WindowTable(shape)
        node = new_node(key, version)
        node.devices, node.shape = columns.devices, shape
        node.last = np.full(shape.width, np.nan)
        node.last[columns.target] = np.frombuffer(data[size : size + 8 * columns.width])[columns.source]
        size += 8 * columns.width
        for minute, samples, emitted in header["windows"]:
            slot = table.allocate()
            allocated.append(slot)
            length = table.dump_size(columns.width)
            table.load(slot, data[size : size + length], columns.source, columns.target)
            table.samples[slot], table.emitted[slot] = samples, emitted
            node.windows[minute] = slot
            size += length
        node.replay.seen = {name: (top, int(bits, 16)) for name, top, bits in header["instances"]}
        node.newest, node.last_ms, node.received_ms = header["newest"], header["last_ms"], header["received_ms"]
        (node.silent, node.silent_since), node.resource = header["silent"], header["resource"]
        node.score, node.score_metric = header["score"]
        node.watched = from_document(header["watched"])
        node.clock = NodeClock(*header["clock"])
        node.outlier = course_of(header.get("outlier"))
    except (ValueError, LookupError, TypeError, OverflowError, EOFError, OSError, _GzipError) as error:
        if table is not None:
            table.release(allocated)
        raise StateUnreadable(f"{len(blob)} bytes of state of {'/'.join(key)} cannot be read: {error}") from None
    return node
