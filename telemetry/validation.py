"""What an envelope must be to be stored: parsed, typed, rectangular, in range, of a believable time.

For the function app and tools; the agent does not import it (pydantic alone would double its footprint).

There are two ways through, with one meaning. The careful way (`telemetry.careful`) looks at every value and names
the first that is wrong. The fast way is for documents built like one that the careful way has accepted before:
their *skeleton*, what is left of the text when everything but brackets, braces, colons, commas and quotes is
deleted, is the same byte for byte. Equal skeletons mean equally many keys, rows and values in the same places, so
only names, types and numbers remain to be checked, and those checks run on whole arrays. Whatever the fast way
does not understand it leaves to the careful way, which decides.

`check_ranges` takes all parsed envelopes of one layout at once: comparing 200 numbers with their bounds is cheap
only when numpy does it for many envelopes. `validate` does everything for one envelope.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any, Literal, NotRequired, TypedDict

import numpy as np
import simdjson  # type: ignore[import-untyped,unused-ignore]
from pydantic import ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError, with_config

from telemetry.catalogue import DEVICE_CLASSES
from telemetry.envelope import inflate
from telemetry.errors import EnvelopeRejected, RejectReason
from telemetry.layout import Floats, Layout

NAME_PATTERN = r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,126}[A-Za-z0-9])?$"
"""Clusters and nodes: what Kubernetes allows and what a Table Storage key, a URL path and a blob name can carry."""
MAX_SAMPLES = 600
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

Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
ResourceValue = Annotated[str, StringConstraints(max_length=128)] | int | float
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
    time: list[int]
    resource: NotRequired[Resource]


HEAD = TypeAdapter(Head)
_STRUCTURE = b'[]{}:,"\\'
_DELETE = bytes(byte for byte in range(256) if byte not in _STRUCTURE)


@dataclass(slots=True)
class Frame:
    """One parsed envelope: who, when, and every number in one flat buffer described by `layout`."""

    cluster: str
    node: str
    instance: str
    seq: int
    time: list[int]
    layout: Layout
    devices: tuple[tuple[str, ...], ...]
    """Device names, one tuple per class in catalogue order."""
    values: bytes
    """layout.width columns of len(time) doubles each, column after column; NaN where the agent said null."""
    resource: dict[str, str | int | float] | None
    row: int = 0
    """Where a batch's numbers of this layout hold those of this frame; set by whoever batches."""


@dataclass(slots=True)
class _Known:
    """What the careful way found in a document: what other documents with the same skeleton are compared with."""

    resource_members: int | None
    class_keys: list[tuple[int, str, str]]
    """(index, class, identity) of the device classes that are there, in the document's order."""
    keys_text: list[bytes]
    sizes: list[int]
    """Bytes of the numbers of the node's metrics and of each class that is there."""
    layout: Layout


class EnvelopeReader:
    """Parses envelopes, one after the other; keep one per thread, for it remembers skeletons and reuses its parser."""

    def __init__(self) -> None:
        self._parser: Any = simdjson.Parser()
        self._known: dict[bytes, _Known] = {}
        self._known_bytes = 0

    def parse(self, raw: bytes, received_ms: int) -> Frame:
        """Parses and checks everything of one envelope but the numbers' ranges.

        `received_ms` is Event Hubs' enqueued time, the clock that node clocks are judged by.
        Raises EnvelopeRejected with the first rule that is broken.
        """
        plain = inflate(raw)
        skeleton = plain.translate(None, _DELETE)
        known = self._known.get(skeleton)
        frame = None if known is None else self._parse_like(known, plain)
        if frame is None:
            from telemetry.careful import parse_carefully

            frame = parse_carefully(plain)
            self._learn(skeleton, plain, frame)
        check_time(frame.time, received_ms)
        return frame

    def _learn(self, skeleton: bytes, plain: bytes, frame: Frame) -> None:
        if b"\\" in skeleton or plain[:1] != b"{":
            return  # what an escape hides, or what comes before the document, a skeleton does not show
        self._known_bytes += len(skeleton)
        if len(self._known) >= MAX_SKELETONS or self._known_bytes > MAX_SKELETON_BYTES:
            self._known.clear()
            self._known_bytes = len(skeleton)
        try:
            document = self._parser.parse(plain)
        except (ValueError, RuntimeError):
            return  # what only orjson reads, such as integers of more than 64 bits
        metrics, devices = document["metrics"], document["devices"]
        present = [
            (index, name, device_class.identity)
            for name in devices
            for index, device_class in enumerate(DEVICE_CLASSES)
            if device_class.key == name
        ]
        if len(present) != len(devices):
            return  # a class of a newer agent: nothing would prove that no name is given twice
        texts = [metrics["keys"].mini, *(devices[name]["keys"].mini for _, name, _ in present)]
        del document, metrics, devices
        members = None if frame.resource is None else len(frame.resource)
        samples, node_keys, class_keys, shape = frame.layout.key
        columns = [len(node_keys), *(len(class_keys[index]) * shape.devices[index] for index, _, _ in present)]
        sizes = [8 * samples * count for count in columns]
        self._known[skeleton] = _Known(members, present, texts, sizes, frame.layout)

    def _parse_like(self, known: _Known, plain: bytes) -> Frame | None:
        """The fast way; None sends the document the careful way.

        As the skeleton fixes how many members each object has, finding every expected name in an object
        proves that none is given twice. It does not tell [] from [1], so each list's length is compared.
        """
        document = metrics = devices = block = None
        if plain[:1] != b"{":
            return None
        try:
            document = self._parser.parse(plain)
            head: dict[str, Any] = {
                "version": document["version"],
                "cluster": document["cluster"],
                "node": document["node"],
                "instance": document["instance"],
                "seq": document["seq"],
                "time": document["time"].as_list(),
            }
            if known.resource_members is not None:
                head["resource"] = document["resource"].as_dict()
                if len(head["resource"]) != known.resource_members:
                    return None
            HEAD.validate_python(head)
            if type(head["version"]) is not int or len(head["time"]) != known.layout.key.samples:
                return None  # 1.0 and true equal 1
            metrics, devices = document["metrics"], document["devices"]
            if metrics["keys"].mini != known.keys_text[0]:
                return None
            buffers = [metrics["values"].as_buffer(of_type="d")]
            names: list[tuple[str, ...]] = [()] * len(DEVICE_CLASSES)
            if list(devices) != [name for _, name, _ in known.class_keys]:
                return None
            for text, (index, name, identity) in zip(known.keys_text[1:], known.class_keys, strict=False):
                block = devices[name]
                if block["keys"].mini != text:
                    return None
                buffers.append(block["values"].as_buffer(of_type="d"))
                names[index] = tuple(block[identity].as_list())
                if not are_device_names(names[index]):
                    return None
        except (KeyError, TypeError, ValueError, AttributeError, RuntimeError, ValidationError):
            return None
        finally:
            del document, metrics, devices, block  # the parser is reusable only when nothing points into it
        if [memoryview(buffer).nbytes for buffer in buffers] != known.sizes:
            return None
        return Frame(
            head["cluster"],
            head["node"],
            head["instance"],
            head["seq"],
            head["time"],
            known.layout,
            tuple(names),
            b"".join(buffers),
            head.get("resource"),
        )


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


def matrix(frames: Sequence[Frame]) -> Floats:
    """The numbers of frames of one layout: shape (frames, layout.width, samples)."""
    layout = frames[0].layout
    joined = np.frombuffer(b"".join([frame.values for frame in frames]))
    return joined.reshape(len(frames), layout.width, layout.key.samples)


def validate(raw: bytes, received_ms: int) -> Frame:
    """Parses and checks one envelope completely. Raises EnvelopeRejected."""
    frame = EnvelopeReader().parse(raw, received_ms)
    for error in check_ranges(frame.layout, matrix([frame])).values():
        raise error
    return frame
