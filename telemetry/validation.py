"""What an envelope must be to be stored: parsed, typed, rectangular, in range, of a believable time.

For the function app and tools; the agent does not import it (pydantic alone would double its footprint).

An envelope is checked in two steps. `parse` takes one envelope: JSON, the head (pydantic), the columns' types and
lengths. `check_ranges` takes all parsed envelopes of one layout at once, because comparing 200 numbers with their
bounds is cheap only when numpy does it for many envelopes. `validate` does both for one envelope.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import Annotated, Any, Literal, NotRequired, TypedDict

import numpy as np
import orjson
from pydantic import ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError, with_config

from telemetry.catalogue import DEVICE_CLASSES
from telemetry.envelope import VERSION, inflate
from telemetry.errors import EnvelopeRejected, RejectReason
from telemetry.layout import Layout, LayoutKey, layout_for

NAME_PATTERN = r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,126}[A-Za-z0-9])?$"
"""Clusters and nodes: what Kubernetes allows and what a Table Storage key, a URL path and a blob name can carry."""
MAX_SAMPLES = 600
MAX_DEVICES = 256
MAX_AGE_MS = 7 * 24 * 3600 * 1000
"""Older than this when Event Hubs received it: the retention of the Standard tier, and of any agent's spool."""
MAX_AHEAD_MS = 10 * 60 * 1000
"""A node's clock may be this far ahead of Event Hubs' clock."""
MAX_SEQ = 2**53

Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
ResourceValue = Annotated[str, StringConstraints(max_length=128)] | int | float


@with_config(ConfigDict(extra="forbid", strict=True, allow_inf_nan=False))
class Head(TypedDict):
    """The document's structure; the numbers inside the lists are checked by `parse`."""

    version: Literal[1]
    cluster: Name
    node: Name
    instance: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{8,32}$")]
    seq: Annotated[int, Field(ge=1, le=MAX_SEQ)]
    time: list[Any]
    metrics: dict[str, list[Any]]
    devices: dict[str, dict[str, list[Any]]]
    resource: NotRequired[
        Annotated[
            dict[Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,31}$")], ResourceValue],
            Field(max_length=16),
        ]
    ]


_HEAD = TypeAdapter(Head)
_IDENTITY = {device_class.key: device_class.identity for device_class in DEVICE_CLASSES}


@dataclass(slots=True)
class Frame:
    """One parsed envelope: who, when, and every number in one flat array described by `layout`."""

    cluster: str
    node: str
    instance: str
    seq: int
    time: list[int]
    layout: Layout
    devices: tuple[tuple[str, ...], ...]
    """Device names, one tuple per class in catalogue order."""
    values: array[float]
    """layout.width columns of len(time) numbers each, column after column; NaN where the agent said null."""
    resource: dict[str, str | int | float] | None


def parse(raw: bytes, received_ms: int) -> Frame:
    """Parses and checks everything of one envelope but the numbers' ranges.

    `received_ms` is Event Hubs' enqueued time, the clock that node clocks are judged by.
    Raises EnvelopeRejected with the first rule that is broken.
    """
    plain = inflate(raw)
    document = _load(plain)
    metrics, devices, time = document["metrics"], document["devices"], document["time"]
    samples = len(time)
    _check_time(time, received_ms)
    names: list[tuple[str, ...]] = []
    rows: list[list[Any]] = list(metrics.values())
    class_keys: list[tuple[str, ...]] = []
    for key, identity in _IDENTITY.items():
        columns = devices.get(key)
        if columns is None:
            names.append(())
            class_keys.append(())
            continue
        found = _device_names(key, identity, columns)
        names.append(found)
        class_keys.append(tuple(columns))
        for name, column in columns.items():
            if len(column) != len(found):
                raise EnvelopeRejected(
                    RejectReason.RAGGED,
                    f"devices.{key}.{name} has {len(column)} rows for {len(found)} devices; it must have one each",
                )
            rows += column
    try:
        if [*map(len, rows)].count(samples) != len(rows):
            raise _ragged(metrics, devices, samples)
        values = array("d", [*chain.from_iterable(rows)])
        if b"true" in plain or b"false" in plain:
            raise TypeError
    except (TypeError, OverflowError):
        values = _convert_slowly(metrics, devices, samples)
    layout = layout_for(LayoutKey(samples, tuple(metrics), tuple(class_keys), tuple(map(len, names))))
    return Frame(
        document["cluster"],
        document["node"],
        document["instance"],
        document["seq"],
        time,
        layout,
        tuple(names),
        values,
        document.get("resource"),
    )


def check_ranges(frames: Sequence[Frame], values: np.ndarray[Any, np.dtype[np.float64]]) -> dict[int, EnvelopeRejected]:
    """Finds the frames with a number outside its metric's range: index -> why.

    All frames have the same layout; `values` has shape (frames, columns, samples). NaN (null) is in range,
    infinity never is.
    """
    layout = frames[0].layout
    wrong = (values < 0.0) | (values > layout.upper[:, None])
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
    frame = parse(raw, received_ms)
    values = np.frombuffer(frame.values, dtype=np.float64).reshape(1, -1, len(frame.time))
    for error in check_ranges([frame], values).values():
        raise error
    return frame


def _load(plain: bytes) -> Head:
    try:
        document = orjson.loads(plain)
    except orjson.JSONDecodeError as error:
        raise EnvelopeRejected(RejectReason.NOT_JSON, f"{error}; an envelope is one JSON object in UTF-8") from None
    version = document.get("version") if isinstance(document, dict) else None
    if type(version) is not int or version != VERSION:
        raise EnvelopeRejected(
            RejectReason.UNSUPPORTED_VERSION, f"version is {version!r:.40}; this build reads version {VERSION}"
        )
    _check_duplicate_keys(plain, document)
    try:
        return _HEAD.validate_python(document)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        where = ".".join(str(part)[:64] for part in first["loc"])
        raise EnvelopeRejected(
            RejectReason.INVALID_FIELD, f"{where}: {first['msg']}, got {first['input']!r:.80}"
        ) from None


def _check_duplicate_keys(plain: bytes, document: dict[str, Any]) -> None:
    """Raises for a key given twice in one object: JSON parsers differ in which one they keep.

    A compact document has one `":` per key, so counting tells at once; anything else is looked at closely.
    """
    keys = len(document) + len(document.get("metrics") or ()) + len(document.get("resource") or ())
    devices = document.get("devices")
    if isinstance(devices, dict):
        keys += len(devices) + sum(len(columns) for columns in devices.values() if isinstance(columns, dict))
    if plain.count(b'":') == keys and b'" ' not in plain and b'"\n' not in plain and b'"\t' not in plain:
        return

    def refuse(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            seen: set[str] = set()
            twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
            raise EnvelopeRejected(RejectReason.DUPLICATE_KEY, f"{twice!r:.80} is given twice in one object")
        return found

    try:
        json.loads(plain, object_pairs_hook=refuse)
    except RecursionError:
        raise EnvelopeRejected(RejectReason.NOT_JSON, "nested too deeply; an envelope has five levels") from None


def _check_time(time: list[Any], received_ms: int) -> None:
    if not time:
        raise EnvelopeRejected(RejectReason.EMPTY, "time is []; an envelope has at least one sample")
    if len(time) > MAX_SAMPLES:
        raise EnvelopeRejected(
            RejectReason.TOO_MANY_SAMPLES, f"{len(time)} samples; an envelope has at most {MAX_SAMPLES}"
        )
    for index, stamp in enumerate(time):
        if type(stamp) is not int:
            raise EnvelopeRejected(
                RejectReason.INVALID_FIELD, f"time.{index} is {stamp!r:.40}; it must be epoch milliseconds, an integer"
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


def _device_names(key: str, identity: str, columns: dict[str, list[Any]]) -> tuple[str, ...]:
    found = columns.pop(identity, None)
    where = f"devices.{key}.{identity}"
    if found is None:
        raise EnvelopeRejected(RejectReason.INVALID_FIELD, f"{where} is missing; it names the devices")
    if len(found) > MAX_DEVICES:
        raise EnvelopeRejected(RejectReason.INVALID_FIELD, f"{where} has {len(found)} names; at most {MAX_DEVICES}")
    for name in found:
        if type(name) is not str or not 0 < len(name) <= 255 or not name.isprintable():
            raise EnvelopeRejected(
                RejectReason.INVALID_FIELD, f"{where} has {name!r:.80}; a name is 1-255 printable characters"
            )
    if len(set(found)) != len(found):
        raise EnvelopeRejected(RejectReason.INVALID_FIELD, f"{where} names a device twice")
    return tuple(found)


def _named_rows(metrics: dict[str, Any], devices: dict[str, Any]) -> Iterable[tuple[str, Any]]:
    for name, row in metrics.items():
        yield f"metrics.{name}", row
    for key in _IDENTITY:
        for name, column in devices.get(key, {}).items():
            for index, row in enumerate(column):
                yield f"devices.{key}.{name}.{index}", row


def _ragged(metrics: dict[str, Any], devices: dict[str, Any], samples: int) -> EnvelopeRejected:
    where, length = next((where, len(row)) for where, row in _named_rows(metrics, devices) if len(row) != samples)
    return EnvelopeRejected(
        RejectReason.RAGGED, f"{where:.120} has {length} values for {samples} samples; it must have one each"
    )


def _convert_slowly(metrics: dict[str, Any], devices: dict[str, Any], samples: int) -> array[float]:
    """The way of envelopes that hold null, or something that is no number: says exactly which value is wrong."""
    values: array[float] = array("d")
    for where, row in _named_rows(metrics, devices):
        if type(row) is not list:
            raise EnvelopeRejected(RejectReason.INVALID_FIELD, f"{where:.120} is {row!r:.40}; it must be a list")
        if len(row) != samples:
            raise _ragged(metrics, devices, samples)
        for index, value in enumerate(row):
            if value is None:
                values.append(float("nan"))
            elif type(value) is float or type(value) is int:
                values.append(value)
            else:
                raise EnvelopeRejected(
                    RejectReason.NOT_A_NUMBER, f"{where:.120}.{index} is {value!r:.40}; it must be a number or null"
                )
    return values
