"""What an envelope must be to be stored: parsed, typed, rectangular, in range, of a believable time.

For the function app and tools; the agent does not import it (pydantic alone would double its footprint).

There are two ways through, with one meaning. The careful way (`telemetry.careful`) looks at every value and names
the first that is wrong. The fast way is for documents built like one that the careful way has accepted before:
their *skeleton*, what is left of the text when everything but brackets, braces, colons, commas and quotes is
deleted, is the same byte for byte. Equal skeletons mean equally many keys, rows and values in the same places, so
only names, types and numbers remain to be checked; and the numbers of all such envelopes of a batch are parsed in
one go. Whatever the fast way does not understand it leaves to the careful way, which decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
import simdjson  # type: ignore[import-untyped,unused-ignore]
from pydantic import ValidationError

from telemetry.careful import parse_carefully
from telemetry.envelope import inflate
from telemetry.errors import EnvelopeRejected
from telemetry.layout import Floats, Layout
from telemetry.rules import HEAD, Devices, Frame, check_ranges, check_time

MAX_SKELETONS = 4096
MAX_SKELETON_BYTES = 16 * 1024 * 1024
"""Of all skeletons that are remembered; when they are more, all are forgotten."""

_STRUCTURE = b'[]{}:,"\\'
_DELETE = bytes(byte for byte in range(256) if byte not in _STRUCTURE)


@dataclass(slots=True)
class Batch:
    """What became of a batch of envelopes."""

    frames: list[Frame | EnvelopeRejected]
    """One per envelope, in order."""
    numbers: dict[Layout, Floats]
    """Per layout the numbers of all its frames, in range or not: (frames, layout.width, samples)."""


@dataclass(slots=True)
class _Known:
    """What the careful way found in a document: what other documents with the same skeleton are compared with."""

    keys_text: bytes
    resource_members: int | None
    layout: Layout


class EnvelopeReader:
    """Parses envelopes; keep one per thread, for it remembers skeletons and reuses its parser."""

    def __init__(self) -> None:
        self._parser: Any = simdjson.Parser()
        self._known: dict[bytes, _Known] = {}
        self._skeleton_bytes = 0
        self._devices: dict[bytes, tuple[Devices, tuple[tuple[str, int], ...]]] = {}

    def read(self, envelopes: Sequence[tuple[bytes, int]]) -> Batch:
        """Parses a batch and checks everything but the numbers' ranges; what is invalid does not touch the rest.

        An envelope is its bytes and the epoch millisecond when Event Hubs received it, the clock that node clocks
        are judged by.
        """
        frames: list[Frame | EnvelopeRejected] = []
        texts: dict[Layout, list[tuple[int, bytes]]] = {}
        careful: list[int] = []
        for index, (raw, received_ms) in enumerate(envelopes):
            try:
                plain = inflate(raw)
                found = self._read_like_a_known_one(plain)
                if found is None:
                    frame = self._read_carefully(plain)
                    careful.append(index)
                else:
                    frame, text = found
                    texts.setdefault(frame.layout, []).append((index, text))
                try:
                    check_time(frame.time, received_ms)
                except EnvelopeRejected:
                    if found is not None:
                        self._read_carefully(plain)  # which names what is wrong before the time, if anything is
                    raise
            except EnvelopeRejected as error:
                frames.append(error)
            else:
                frames.append(frame)
        rows: dict[Layout, list[bytes]] = {}
        for layout, found_texts in texts.items():
            good = [(index, text) for index, text in found_texts if isinstance(frames[index], Frame)]
            self._read_numbers(layout, good, envelopes, frames, rows)
        for index in careful:
            frame_or_error = frames[index]
            if isinstance(frame_or_error, Frame):
                _add_row(rows, frame_or_error, frame_or_error.values)
        numbers = {layout: _matrix(layout, parts) for layout, parts in rows.items()}
        return Batch(frames, numbers)

    def parse(self, raw: bytes, received_ms: int) -> Frame:
        """Parses one envelope; the frame carries its numbers. Raises EnvelopeRejected with the first broken rule."""
        batch = self.read([(raw, received_ms)])
        frame = batch.frames[0]
        if isinstance(frame, EnvelopeRejected):
            raise frame
        frame.values = batch.numbers[frame.layout].tobytes()
        return frame

    def _read_numbers(
        self,
        layout: Layout,
        texts: list[tuple[int, bytes]],
        envelopes: Sequence[tuple[bytes, int]],
        frames: list[Frame | EnvelopeRejected],
        rows: dict[Layout, list[bytes]],
    ) -> None:
        """Parses the numbers of envelopes of one layout together; if that fails, one by one, then carefully."""
        together = self._numbers(b"[" + b",".join([text for _, text in texts]) + b"]", layout, len(texts))
        if together is not None:
            parts = rows.setdefault(layout, [])
            first = sum(map(len, parts)) // _row_bytes(layout)
            parts.append(together)
            for row, (index, _) in enumerate(texts, first):
                frames[index].row = row  # type: ignore[union-attr]
            return
        for index, text in texts:
            frame = frames[index]
            assert isinstance(frame, Frame)
            alone = self._numbers(text, layout, 1)
            if alone is None:
                try:
                    frame = frames[index] = self._read_carefully(inflate(envelopes[index][0]))
                except EnvelopeRejected as error:
                    frames[index] = error
                    continue
                alone = frame.values
            _add_row(rows, frame, alone)

    def _numbers(self, text: bytes, layout: Layout, envelopes: int) -> bytes | None:
        """All numbers of a JSON array as doubles; None if there is anything else, or not as many as there must be."""
        document = None
        try:
            document = self._parser.parse(text)
            values = document.as_buffer(of_type="d")
        except (TypeError, ValueError, AttributeError, RuntimeError):
            return None
        finally:
            del document  # the parser is reusable only when nothing points into it
        found = bytes(values)
        return found if len(found) == envelopes * _row_bytes(layout) else None

    def _read_carefully(self, plain: bytes) -> Frame:
        frame = parse_carefully(plain)
        self._learn(plain, frame)
        return frame

    def _learn(self, plain: bytes, frame: Frame) -> None:
        """Remembers the document's skeleton if it is as the agent writes it: compact, no escapes, in this order."""
        cuts = _cuts(plain)
        skeleton = plain.translate(None, _DELETE)
        if cuts is None or b"\\" in skeleton or plain[:1] != b"{" or plain[-1:] != b"}":
            return
        samples, _, counts = frame.layout.key
        if not samples or not frame.layout.width or (samples == 1 and any(count == 0 for _, count in counts)):
            return  # a skeleton does not tell [] from [1]: one column could lack what another has too much
        devices, time, keys, values = cuts
        members = list(orjson.loads(plain))
        if members[-4:] != ["devices", "time", "keys", "values"] or members[0] != "version":
            return
        if self._skeleton_bytes + len(skeleton) > MAX_SKELETON_BYTES or len(self._known) >= MAX_SKELETONS:
            self._known.clear()
            self._devices.clear()
            self._skeleton_bytes = 0
        self._skeleton_bytes += len(skeleton) + time - devices
        self._devices[plain[devices:time]] = frame.devices, frame.layout.key.devices
        members_of_resource = None if frame.resource is None else len(frame.resource)
        self._known[skeleton] = _Known(plain[keys:values], members_of_resource, frame.layout)

    def _read_like_a_known_one(self, plain: bytes) -> tuple[Frame, bytes] | None:
        """The fast way: the frame and the text of its numbers, or None for a document to be read carefully.

        As the skeleton fixes how many members each object has, finding every expected name in an object
        proves that none is given twice.
        """
        known = self._known.get(plain.translate(None, _DELETE))
        if known is None or not plain.startswith(b'{"version":1,') or plain[-1:] != b"}":
            return None
        cuts = _cuts(plain)
        if cuts is None:
            return None
        devices, time, keys, values = cuts
        names = self._devices.get(plain[devices:time])
        if plain[keys:values] != known.keys_text or names is None or names[1] != known.layout.key.devices:
            return None
        try:
            head = HEAD.validate_json(plain[:devices] + plain[time : keys - 1] + b"}")
        except ValidationError:
            return None
        resource = head.get("resource")
        if (None if resource is None else len(resource)) != known.resource_members:
            return None
        if len(head["time"]) != known.layout.key.samples:
            return None  # the skeleton does not tell [] from [1]
        text = plain[values + _VALUES : -1]
        if b"n" in text:
            return None  # null, which is not for the fast way
        frame = Frame(
            head["cluster"],
            head["node"],
            head["instance"],
            head["seq"],
            head["time"],
            known.layout,
            names[0],
            resource,
        )
        return frame, text


_VALUES = len(b'"values":')


def _cuts(plain: bytes) -> tuple[int, int, int, int] | None:
    """Where the members devices, time, keys and values begin, if they come in this order; else None.

    In a document without escapes nothing but a member's name can look like one.
    """
    devices = plain.find(b'"devices":{')
    time = plain.find(b'"time":[', devices)
    keys = plain.find(b'"keys":[', time)
    values = plain.find(b'"values":[', keys)
    return (devices, time, keys, values) if 0 < devices < time < keys < values else None


def _row_bytes(layout: Layout) -> int:
    return 8 * layout.width * layout.key.samples


def _add_row(rows: dict[Layout, list[bytes]], frame: Frame, values: bytes) -> None:
    parts = rows.setdefault(frame.layout, [])
    size = _row_bytes(frame.layout)
    frame.row = sum(map(len, parts)) // size if size else len(parts)
    parts.append(values)


def _matrix(layout: Layout, parts: list[bytes]) -> Floats:
    """The numbers of all frames of one layout: shape (frames, layout.width, samples)."""
    size = _row_bytes(layout)
    joined = parts[0] if len(parts) == 1 else b"".join(parts)
    frames = len(joined) // size if size else len(parts)
    return np.frombuffer(joined).reshape(frames, layout.width, layout.key.samples)


def validate(raw: bytes, received_ms: int) -> Frame:
    """Parses and checks one envelope completely. Raises EnvelopeRejected."""
    frame = EnvelopeReader().parse(raw, received_ms)
    for error in check_ranges(frame.layout, _matrix(frame.layout, [frame.values])).values():
        raise error
    return frame
