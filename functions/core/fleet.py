"""The nodes of one partition, in memory between batches: a cache of what the store holds.

Pure; used by `ingest` and `sweep`. Whatever is changed here counts only once it is committed: after any failure the
caller forgets the nodes it touched and loads them again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import chain

import numpy as np

from functions.core.node import NO_DEVICES, Devices, Node, StateUnreadable, decode_node, encode_node, new_node
from functions.core.ports import NodeKey, StoredState
from functions.core.windows import WindowTable
from telemetry.catalogue import DEVICE_CLASSES, NODE_METRICS
from telemetry.layout import Indexes, Shape
from telemetry.rules import MAX_DEVICES, MAX_NAME_BYTES

MAX_NODES = 20_000
"""More than one function instance should hold; the nodes heard longest ago make room."""


class Fleet:
    """Nodes and their windows; the tables are shared by all nodes of a shape."""

    def __init__(self) -> None:
        self.nodes: dict[NodeKey, Node] = {}
        self.tables: dict[Shape, WindowTable] = {}
        self.unreadable: list[str] = []
        """Why states had to be made anew; whoever logs empties it."""

    def missing(self, keys: Iterable[NodeKey]) -> list[NodeKey]:
        """Those of the keys that are not in memory, each once."""
        return [key for key in dict.fromkeys(keys) if key not in self.nodes]

    def admit(self, states: dict[NodeKey, StoredState]) -> None:
        """Takes nodes in as the store has them. A state that cannot be read is made anew and noted."""
        for key, stored in states.items():
            if stored.blob is None:
                node = new_node(key, stored.version)
            else:
                try:
                    node = decode_node(key, stored.version, stored.blob, self.tables)
                except StateUnreadable as error:
                    self.unreadable.append(str(error))
                    node = new_node(key, stored.version)
            self.nodes[key] = node

    def forget(self, keys: Iterable[NodeKey]) -> None:
        """Drops nodes and everything folded into them since they were loaded."""
        for key in keys:
            node = self.nodes.pop(key, None)
            if node is not None:
                self.release(node.shape, list(node.windows.values()))

    def make_room(self, used: Sequence[NodeKey]) -> list[NodeKey]:
        """Moves the used nodes to the end of the queue, forgets the first ones beyond the bound, and returns them."""
        if len(self.nodes) <= MAX_NODES:
            return []
        for key in used:
            self.nodes[key] = self.nodes.pop(key)
        first = list(self.nodes)[: len(self.nodes) - MAX_NODES]
        self.forget(first)
        return first

    def encode(self, node: Node) -> bytes:
        """The node's state as bytes."""
        return encode_node(node, self.table(node.shape))

    def table(self, shape: Shape) -> WindowTable:
        """The windows of all nodes of a shape."""
        table = self.tables.get(shape)
        if table is None:
            table = self.tables[shape] = WindowTable(shape)
        return table

    def release(self, shape: Shape, slots: list[int]) -> None:
        """Gives slots back; a table without windows goes with its last one, for nodes leave many shapes behind."""
        table = self.table(shape)
        table.release(slots)
        if table.is_empty:
            del self.tables[shape]

    def change_devices(self, node: Node, devices: Devices) -> None:
        """Gives a node another set of devices, keeping what was accumulated for those it had.

        Devices that are not among the new ones but have values in an open window stay until it is closed. But a node
        has at most as many as an envelope, of a class and in bytes of names, lest new names in every envelope grow
        without bound; beyond that the ones longest gone are missing from the windows that are still open.
        """
        wanted = _bounded(union([devices, self._with_values(node)]))
        if wanted == node.devices:
            return
        shape = Shape(tuple(map(len, wanted)))
        before, after = self.table(node.shape), self.table(shape)
        source, target = matching_columns(node.devices, wanted)
        slots = dict(node.windows)
        for minute, slot in slots.items():
            fresh = node.windows[minute] = after.allocate()
            for old_array, new_array in (
                (before.count, after.count),
                (before.total, after.total),
                (before.low, after.low),
                (before.high, after.high),
            ):
                new_array[fresh, target] = old_array[slot, source]
            after.samples[fresh], after.emitted[fresh] = before.samples[slot], before.emitted[slot]
        self.release(node.shape, list(slots.values()))
        last = np.full(shape.width, np.nan)
        last[target] = node.last[source]
        node.devices, node.shape, node.last = wanted, shape, last

    def _with_values(self, node: Node) -> Devices:
        """The node's devices that have values in an open window."""
        if not node.windows or not any(node.devices):
            return NO_DEVICES
        counts = self.table(node.shape).count[list(node.windows.values())].sum(axis=0)
        alive = []
        for index, (names, device_class) in enumerate(zip(node.devices, DEVICE_CLASSES, strict=True)):
            first = node.shape.offset(index)
            per_device = counts[first : first + len(names) * len(device_class.metrics)].reshape(-1, len(names) or 1)
            alive.append(tuple(name for name, count in zip(names, per_device.sum(axis=0), strict=False) if count))
        return tuple(alive)


def union(several: Iterable[Devices]) -> Devices:
    """All devices of several sets, those of the first set first."""
    return tuple(tuple(dict.fromkeys(chain.from_iterable(names))) for names in zip(*several, strict=True))


def _bounded(devices: Devices) -> Devices:
    """The first devices of each class, as many as an envelope may have."""
    bounded = tuple(names[:MAX_DEVICES] for names in devices)
    while len("".join(chain.from_iterable(bounded)).encode()) > MAX_NAME_BYTES:
        bounded = tuple(names[: len(names) // 2] for names in bounded)
    return bounded


@lru_cache(maxsize=64)
def matching_columns(source: Devices, target: Devices) -> tuple[Indexes, Indexes]:
    """Columns of the first set of devices, and where the same metric of the same device is in the second."""
    own = np.arange(len(NODE_METRICS), dtype=np.intp)
    sources, targets = [own], [own]
    shapes = Shape(tuple(map(len, source))), Shape(tuple(map(len, target)))
    for index, device_class in enumerate(DEVICE_CLASSES):
        place = {name: position for position, name in enumerate(target[index])}
        both = [(position, place[name]) for position, name in enumerate(source[index]) if name in place]
        here, there = np.array(both, np.intp).reshape(-1, 2).T
        metric = np.arange(len(device_class.metrics), dtype=np.intp)[:, None]
        sources.append((shapes[0].offset(index) + metric * len(source[index]) + here).ravel())
        targets.append((shapes[1].offset(index) + metric * len(target[index]) + there).ravel())
    return np.concatenate(sources), np.concatenate(targets)
