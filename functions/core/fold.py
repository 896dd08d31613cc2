"""Folds envelopes into the open windows of their nodes: each once, by the node's own time.

Pure; used by `ingest`. Decisions (seen before? too late?) are taken envelope by envelope in the order of arrival,
which makes them independent of where batches begin and end; the numbers are folded for many envelopes at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from functions.core.fleet import Fleet, matching_columns, union
from functions.core.node import Devices, Node
from functions.core.ports import DeadLetter, Event, NodeKey
from functions.core.windows import WINDOW_MS
from telemetry.errors import EnvelopeRejected, RejectReason
from telemetry.layout import Floats, Layout, Shape
from telemetry.rules import Frame, check_ranges
from telemetry.validation import EnvelopeReader

KEPT_MINUTES = 3
"""A node's newest window and the two before it stay open to late samples; older ones are closed for good."""


@dataclass(slots=True)
class Group:
    """The numbers of all frames of one layout; a frame's `row` says which are its own."""

    layout: Layout
    values: Floats
    """(frames, layout.width, samples)."""


@dataclass(slots=True)
class Decoded:
    """A batch after validation."""

    frames: list[tuple[Event, Frame]]
    """The valid ones, in order of arrival."""
    groups: list[Group]
    letters: list[DeadLetter]

    def keys(self) -> list[NodeKey]:
        """The nodes that are spoken of, each once."""
        return list(dict.fromkeys((frame.cluster, frame.node) for _, frame in self.frames))


@dataclass(slots=True)
class Folded:
    """What became of a batch's envelopes; every one is counted exactly once."""

    stored: int = 0
    duplicates: int = 0
    letters: list[DeadLetter] = field(default_factory=list)
    touched: dict[NodeKey, Node] = field(default_factory=dict)
    """Nodes that know more than before."""


def decode(reader: EnvelopeReader, events: Sequence[Event]) -> Decoded:
    """Validates a batch; what is invalid becomes a dead letter and does not touch its neighbours."""
    batch = reader.read([(event.raw, event.position.enqueued_ms) for event in events])
    out_of_range = {
        (layout, row): error
        for layout, values in batch.numbers.items()
        for row, error in check_ranges(layout, values).items()
    }
    decoded = Decoded([], [Group(layout, values) for layout, values in batch.numbers.items()], [])
    for event, frame in zip(events, batch.frames, strict=True):
        if isinstance(frame, EnvelopeRejected):
            decoded.letters.append(DeadLetter(event, frame))
        elif out_of_range and (frame.layout, frame.row) in out_of_range:
            decoded.letters.append(DeadLetter(event, out_of_range[frame.layout, frame.row]))
        else:
            decoded.frames.append((event, frame))
    return decoded


def fold(fleet: Fleet, decoded: Decoded) -> Folded:
    """Folds a decoded batch into the fleet, whose nodes must all be loaded."""
    result = Folded(letters=list(decoded.letters))
    accepted: dict[Layout, list[tuple[Frame, Node]]] = {}
    regrouped: dict[NodeKey, list[Devices]] = {}
    late: dict[NodeKey, Node] = {}
    for event, frame in decoded.frames:
        key = (frame.cluster, frame.node)
        node = fleet.nodes[key]
        if node.replay.is_duplicate(frame.instance, frame.seq):
            result.duplicates += 1
            continue
        node.clock.note(frame.time[-1], event.position.enqueued_ms)
        first = frame.time[0] // WINDOW_MS
        if first <= node.newest - KEPT_MINUTES:
            result.letters.append(DeadLetter(event, _late(frame, node)))
            late[key] = node
            continue
        node.replay.mark(frame.instance, frame.seq)
        _note(node, frame, event.position.enqueued_ms)
        if key in regrouped:
            regrouped[key].append(frame.devices)
        elif frame.devices != node.devices:
            regrouped[key] = [node.devices, frame.devices] if key in result.touched else [frame.devices]
        result.touched[key] = node
        result.stored += 1
        accepted.setdefault(frame.layout, []).append((frame, node))
    for key, devices in regrouped.items():
        fleet.change_devices(fleet.nodes[key], union(reversed(devices)))
    for group in decoded.groups:
        _accumulate(fleet, group, accepted.get(group.layout, ()))
    result.touched |= late  # what is late may say that the node's clock is wrong
    return result


def _note(node: Node, frame: Frame, received_ms: int) -> None:
    last_ms = frame.time[-1]
    if last_ms > node.last_ms:
        node.last_ms = last_ms
        minute = last_ms // WINDOW_MS
        if minute > node.newest:
            node.newest = minute
    if received_ms > node.received_ms:
        node.received_ms = received_ms
    node.silent = False
    if frame.resource is not None:
        node.resource = frame.resource


def _late(frame: Frame, node: Node) -> EnvelopeRejected:
    behind = (node.newest * WINDOW_MS - frame.time[0]) / 1000
    return EnvelopeRejected(
        RejectReason.LATE,
        f"time.0 is {frame.time[0]}, {behind:.0f} s before the node's newest minute; windows stay open for "
        f"{(KEPT_MINUTES - 1) * 60} s: did the node's clock go back?",
    )


def _accumulate(fleet: Fleet, group: Group, accepted: Sequence[tuple[Frame, Node]]) -> None:
    """Adds the samples of a group's accepted frames to their windows' slots, shape by shape."""
    samples = group.layout.key.samples
    values = group.values if group.layout.gather is None else _gather(group)
    newest = values[:, :, -1]
    alike: dict[Shape, tuple[list[int], list[int]]] = {}
    for frame, node in accepted:
        slots = _slots(fleet, node, frame.time)
        if frame.devices == node.devices:
            rows, row_slots = alike.setdefault(node.shape, ([], []))
            rows.append(frame.row)
            row_slots += slots
            last = newest[frame.row]
        else:
            numbers = _place(frame, node, values[frame.row])
            fleet.table(node.shape).add(np.array(slots, np.intp), np.ascontiguousarray(numbers.T))
            last = numbers[:, -1]
        if frame.time[-1] >= node.last_ms:
            node.last = last.copy()
    for shape, (rows, row_slots) in alike.items():
        in_order = rows == list(range(len(values)))
        chosen = values if in_order else values[rows]
        flat = chosen.transpose(0, 2, 1).reshape(len(rows) * samples, shape.width)
        fleet.table(shape).add(np.array(row_slots, np.intp), flat)


def _place(frame: Frame, node: Node, values: Floats) -> Floats:
    """An envelope's numbers in the columns of a node that has other devices too."""
    source, target = matching_columns(frame.devices, node.devices)
    placed = np.full((node.shape.width, values.shape[1]), np.nan)
    placed[target] = values[source]
    return placed


def _gather(group: Group) -> Floats:
    """The group's numbers in the columns of their shape; NaN where the agent does not send a metric."""
    frames, _, samples = group.values.shape
    padded = np.concatenate([group.values, np.full((frames, 1, samples), np.nan)], axis=1)
    return padded[:, group.layout.gather]


def _slots(fleet: Fleet, node: Node, time: list[int]) -> list[int]:
    """The slot of each sample's window, opened where it is new."""
    first, last = time[0] // WINDOW_MS, time[-1] // WINDOW_MS
    if first == last:
        return [_slot(fleet, node, first)] * len(time)
    return [_slot(fleet, node, stamp // WINDOW_MS) for stamp in time]


def _slot(fleet: Fleet, node: Node, minute: int) -> int:
    slot = node.windows.get(minute)
    if slot is None:
        slot = node.windows[minute] = fleet.table(node.shape).allocate()
    return slot
