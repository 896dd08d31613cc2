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
from itertools import pairwise
from typing import Annotated, Any, Literal, NotRequired, TypedDict

import numpy as np
import orjson
import simdjson  # type: ignore[import-untyped,unused-ignore]
from pydantic import ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError, with_config

from telemetry.envelope import inflate
from telemetry.errors import EnvelopeRejected, RejectReason
from telemetry.layout import Floats, Layout

NAME_PATTERN = r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,126}[A-Za-z0-9])?$"
"""Clusters and nodes: what Kubernetes allows and what a Table Storage key, a URL path and a blob name can carry."""
MAX_SAMPLES = 600
MAX_CLASSES = 16
MAX_DEVICES = 256
MAX_CONSTANTS = 16
MAX_KEYS = 256
"""Metrics of a node, or of each device of a class; four times what the catalogue has."""
MAX_COLUMNS = 8192
"""Numbers in one sample; 256 devices of every class need 4,645."""
MAX_NUMBERS = 250_000
"""Numbers in one envelope; the agent publishes when it has 100,000."""
MAX_AGE_MS = 7 * 24 * 3600 * 1000
"""Older than this when Event Hubs received it: the retention of the Standard tier, and of any agent's spool."""
MAX_AHEAD_MS = 10 * 60 * 1000
"""A node's clock may be this far ahead of Event Hubs' clock."""
MAX_SEQ = 2**53
MAX_SKELETONS = 4096
MAX_SKELETON_BYTES = 16 * 1024 * 1024
"""Of all skeletons that are remembered; when they are more, all are forgotten."""

Devices = tuple[tuple[str, ...], ...]
Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
ResourceValue = (
    Annotated[str, StringConstraints(max_length=128, pattern=r"^\P{C}*$")]  # no control characters: stores refuse them
    | Annotated[int, Field(ge=-(2**63), lt=2**63)]
    | float
)
Resource = Annotated[
    dict[Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,31}$")], ResourceValue],
    Field(max_length=MAX_CONSTANTS),
]


@with_config(ConfigDict(strict=True, allow_inf_nan=False, extra="forbid"))
class Head(TypedDict):
    """Who speaks, and when; the numbers stand beside it."""

    version: Literal[1]
    cluster: Name
    node: Name
    instance: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{8,32}$")]
    seq: Annotated[int, Field(ge=1, le=MAX_SEQ)]
    time: list[Annotated[int, Field(ge=-(2**63), lt=2**63)]]  # pydantic's own parser reads longer ones, orjson does not
    resource: NotRequired[Resource]


HEAD = TypeAdapter(Head)
_STRUCTURE = b'[]{}:,"\\'
_DELETE = bytes(byte for byte in range(256) if byte not in _STRUCTURE)


@dataclass(slots=True)
class Frame:
    """One parsed envelope: who and when; its numbers are described by `layout`."""

    cluster: str
    node: str
    instance: str
    seq: int
    time: list[int]
    layout: Layout
    devices: Devices
    """Device names, one tuple per class in catalogue order."""
    resource: dict[str, str | int | float] | None
    values: bytes = b""
    """layout.width columns of len(time) doubles, column after column; NaN where the agent said null.
    Empty when it was read in a batch, which keeps the numbers of all its frames together."""
    row: int = 0
    """Which row of the batch's numbers of this layout is its own."""


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
        from telemetry.careful import parse_carefully

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


class _GoodNames:
    """Lists of names that were looked at before and found good; forgets all when they are too many."""

    def __init__(self) -> None:
        self._lists: set[tuple[str, ...]] = set()
        self._names = 0

    def __contains__(self, names: tuple[Any, ...]) -> bool:
        return names in self._lists

    def add(self, names: tuple[str, ...]) -> None:
        """Remembers a list."""
        self._names += len(names)
        if self._names > _MAX_REMEMBERED:
            self._lists.clear()
            self._names = len(names)
        self._lists.add(names)


_MAX_REMEMBERED = 200_000
"""Names; some 20 MB, as few are long."""
_DEVICE_NAMES = _GoodNames()
_KEYS = _GoodNames()


def are_device_names(names: tuple[Any, ...]) -> bool:
    """Whether these are at most 256 different printable names of 1-255 characters; remembers the good ones."""
    return names in _DEVICE_NAMES or _are_good(
        _DEVICE_NAMES,
        names,
        len(names) <= MAX_DEVICES
        and all(type(name) is str and 0 < len(name) <= 255 and name.isprintable() for name in names)
        and len(set(names)) == len(names),
    )


def are_keys(keys: tuple[Any, ...]) -> bool:
    """Whether these are at most 256 different metric keys of 1-64 characters; remembers the good ones."""
    return keys in _KEYS or _are_good(
        _KEYS,
        keys,
        len(keys) <= MAX_KEYS
        and all(type(key) is str and 0 < len(key) <= 64 for key in keys)
        and len(set(keys)) == len(keys),
    )


def _are_good(remembered: _GoodNames, names: tuple[str, ...], good: bool) -> bool:
    if good:
        remembered.add(names)
    return good


def check_time(time: list[int], received_ms: int) -> None:
    """Raises EnvelopeRejected unless time stamps increase and are believable by Event Hubs' clock."""
    if not time:
        raise EnvelopeRejected(RejectReason.EMPTY, "time is []; an envelope has at least one sample")
    if len(time) > MAX_SAMPLES:
        raise EnvelopeRejected(
            RejectReason.TOO_MANY_SAMPLES, f"{len(time)} samples; an envelope has at most {MAX_SAMPLES}"
        )
    for index, (before, after) in enumerate(pairwise(time)):
        if after <= before:
            raise EnvelopeRejected(
                RejectReason.TIME_NOT_INCREASING, f"time.{index + 1} is {after}, not after {before} before it"
            )
    if time[0] < received_ms - MAX_AGE_MS:
        raise EnvelopeRejected(
            RejectReason.TIME_TOO_OLD,
            f"time.0 is {time[0]}, {(received_ms - time[0]) / 86_400_000:.1f} days before it was received; "
            "at most 7 days are accepted",
        )
    if time[-1] > received_ms + MAX_AHEAD_MS:
        raise EnvelopeRejected(
            RejectReason.TIME_IN_FUTURE,
            f"time.{len(time) - 1} is {time[-1]}, {(time[-1] - received_ms) / 60_000:.1f} min after it was received; "
            "at most 10 min are accepted: check the node's clock",
        )


def check_ranges(layout: Layout, values: Floats) -> dict[int, EnvelopeRejected]:
    """Finds the frames with a number outside its metric's range: index -> why.

    `values` has shape (frames, layout.width, samples). NaN (null) is in range, infinity never is. Of metrics that
    this build does not know every number is: they are ignored, so that a newer agent can be rolled out first.
    """
    with np.errstate(invalid="ignore"):
        wrong = (values < 0.0) | (values > layout.upper[:, None]) | np.isinf(values)
    if layout.unknown:
        wrong &= np.isfinite(layout.upper)[:, None]
    if not wrong.any():
        return {}
    rejected = {}
    for index in np.flatnonzero(wrong.any(axis=(1, 2))).tolist():
        column, sample = (int(i) for i in np.argwhere(wrong[index])[0])
        rejected[index] = EnvelopeRejected(
            RejectReason.OUT_OF_RANGE,
            f"{layout.describe(column)} sample {sample} is {values[index, column, sample]:g}; "
            f"it must be 0 to {layout.upper[column]:g}",
        )
    return rejected


def validate(raw: bytes, received_ms: int) -> Frame:
    """Parses and checks one envelope completely. Raises EnvelopeRejected."""
    frame = EnvelopeReader().parse(raw, received_ms)
    for error in check_ranges(frame.layout, _matrix(frame.layout, [frame.values])).values():
        raise error
    return frame
