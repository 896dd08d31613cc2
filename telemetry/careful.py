"""The careful way through validation: looks at every value and names the first that is wrong.

Part of `telemetry.validation`, which alone imports it. Taken by the first envelope of every kind, by envelopes
with nulls, and by everything that is broken; ten times slower than the fast way and free to be.
"""

from __future__ import annotations

import json
from array import array
from typing import Any

import orjson
from pydantic import ValidationError

from telemetry.catalogue import DEVICE_CLASSES
from telemetry.envelope import VERSION
from telemetry.errors import EnvelopeRejected, RejectReason
from telemetry.layout import LayoutKey, layout_for
from telemetry.rules import (
    HEAD,
    MAX_CLASSES,
    MAX_COLUMNS,
    MAX_CONSTANTS,
    MAX_DEVICES,
    MAX_KEYS,
    MAX_NAME_BYTES,
    MAX_NUMBERS,
    MAX_SAMPLES,
    Frame,
    Head,
    are_device_names,
    are_keys,
)

_NUMBER_TYPES = frozenset({float, int})
_MAX_NAMED = 100
"""Characters of a path or a value that an error text repeats."""


def parse_carefully(plain: bytes) -> Frame:
    """Parses the JSON text of one envelope. Raises EnvelopeRejected for the first rule that is broken."""
    document = _load(plain)
    devices, keys, rows = (document.pop(name, None) for name in ("devices", "keys", "values"))
    _bound(document)
    try:
        head = HEAD.validate_python(document)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        where = ".".join(str(part)[:64] for part in first["loc"])
        raise _invalid(where, first["input"], first["msg"]) from None
    names = _devices(devices)
    if not isinstance(keys, list) or not are_keys(tuple(map(_hashable, keys))):
        raise _invalid("keys", keys, f"must be at most {MAX_KEYS} different metric keys of 1-64 characters")
    if not isinstance(rows, list):
        raise _invalid("values", rows, "must be a list with one column per key")
    if len(rows) != len(keys):
        raise _ragged("values", len(rows), f"{len(keys)} keys")
    samples = len(head["time"])
    values: array[float] = array("d")
    columns = 0
    for key, row in zip(keys, rows, strict=True):
        found = names.get(key.partition(".")[0])
        if found is None:
            _append(values, key, row, samples)
            columns += 1
            continue
        if not isinstance(row, list):
            raise _invalid(key, row, "must be a list of columns, one per device")
        if len(row) != len(found):
            raise _ragged(key, len(row), f"{len(found)} devices")
        for index, column in enumerate(row):
            _append(values, f"{key}.{index}", column, samples)
        columns += len(found)
    if columns > MAX_COLUMNS or len(values) > MAX_NUMBERS:
        raise EnvelopeRejected(
            RejectReason.TOO_LARGE,
            f"{columns} numbers a sample, {len(values)} in all; at most {MAX_COLUMNS} and {MAX_NUMBERS} are accepted",
        )
    counts = tuple((name, len(found)) for name, found in names.items())
    return Frame(
        head["cluster"],
        head["node"],
        head["instance"],
        head["seq"],
        head["time"],
        layout_for(LayoutKey(samples, tuple(keys), counts)),
        tuple(names.get(device_class.key, ()) for device_class in DEVICE_CLASSES),
        head.get("resource"),
        values.tobytes(),
    )


def _devices(devices: Any) -> dict[str, tuple[str, ...]]:
    """The names per device class; classes this build does not know are as good."""
    if not isinstance(devices, dict) or len(devices) > MAX_CLASSES:
        raise _invalid("devices", devices, f"must be an object with at most {MAX_CLASSES} device classes")
    found: dict[str, tuple[str, ...]] = {}
    for key, names in devices.items():
        if not isinstance(names, list) or not are_device_names(tuple(map(_hashable, names))):
            rule = f"must be at most {MAX_DEVICES} different names of 1-255 printable characters"
            raise _invalid(f"devices.{key}", names, rule)
        found[key] = tuple(names)
    size = sum(len(name.encode()) for names in found.values() for name in names)
    if size > MAX_NAME_BYTES:
        raise EnvelopeRejected(
            RejectReason.TOO_LARGE, f"device names of {size} bytes; those of an envelope have at most {MAX_NAME_BYTES}"
        )
    return found


def _load(plain: bytes) -> dict[str, Any]:
    try:
        document = orjson.loads(plain)
    except orjson.JSONDecodeError as error:
        raise EnvelopeRejected(RejectReason.NOT_JSON, f"{error}; an envelope is one JSON object in UTF-8") from None
    if not isinstance(document, dict):
        raise EnvelopeRejected(
            RejectReason.NOT_JSON, f"a JSON {type(document).__name__}; an envelope is one JSON object"
        )
    version = document.get("version")
    if type(version) is not int or version != VERSION:
        raise EnvelopeRejected(
            RejectReason.UNSUPPORTED_VERSION, f"version is {_shown(version)}; this build reads version {VERSION}"
        )
    _refuse_duplicate_keys(plain)
    return document


def _refuse_duplicate_keys(plain: bytes) -> None:
    """Raises for a key given twice in one object: JSON readers differ in which of the two they keep."""

    def refuse(pairs: list[tuple[str, Any]]) -> None:
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise EnvelopeRejected(RejectReason.DUPLICATE_KEY, f"{_shown(key)} is given twice in one object")
            seen.add(key)

    try:
        json.loads(plain, object_pairs_hook=refuse, parse_float=len, parse_int=len)
    except RecursionError:
        raise EnvelopeRejected(RejectReason.NOT_JSON, "nested too deeply; an envelope has five levels") from None


def _bound(head: dict[str, Any]) -> None:
    """Raises for more members or samples than an envelope has, before pydantic makes an error of each of them."""
    _only("", head, {*Head.__annotations__})
    time, resource = head.get("time"), head.get("resource")
    if isinstance(time, list) and len(time) > MAX_SAMPLES:
        raise EnvelopeRejected(
            RejectReason.TOO_MANY_SAMPLES, f"{len(time)} samples; an envelope has at most {MAX_SAMPLES}"
        )
    if isinstance(resource, dict) and len(resource) > MAX_CONSTANTS:
        raise _invalid("resource", resource, f"has {len(resource)} members; it has at most {MAX_CONSTANTS}")


def _only(where: str, block: dict[str, Any], allowed: set[str]) -> None:
    for key in block:
        if key not in allowed:
            raise _invalid(
                f"{where}.{key}".lstrip("."), block[key], f"is unknown; known are {', '.join(sorted(allowed))}"
            )


def _hashable(value: Any) -> Any:
    return value if isinstance(value, str) else None


def _append(values: array[float], where: str, row: Any, samples: int) -> None:
    if not isinstance(row, list):
        raise _invalid(where, row, "must be a list with one number or null per sample")
    if len(row) != samples:
        raise _ragged(where, len(row), f"{samples} samples")
    if _NUMBER_TYPES.issuperset(map(type, row)):
        values.extend(row)
        return
    for index, value in enumerate(row):
        if value is None:
            values.append(float("nan"))
        elif type(value) is float or type(value) is int:
            values.append(value)
        else:
            raise EnvelopeRejected(
                RejectReason.NOT_A_NUMBER,
                f"{_path(where)}.{index} is {_shown(value)}; it must be a number or null",
            )


def _shown(value: Any) -> str:
    text = repr(value) if isinstance(value, str | int | float | bool | None) else f"a {type(value).__name__}"
    return text if len(text) <= _MAX_NAMED else f"{text[:_MAX_NAMED]}…"


def _path(where: str) -> str:
    """A path as error texts show it: of bounded length, and nothing in it that moves a terminal's cursor."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in where[:_MAX_NAMED])


def _invalid(where: str, value: Any, rule: str) -> EnvelopeRejected:
    return EnvelopeRejected(RejectReason.INVALID_FIELD, f"{_path(where)}: {rule}, got {_shown(value)}")


def _ragged(where: str, found: int, wanted: str) -> EnvelopeRejected:
    return EnvelopeRejected(
        RejectReason.RAGGED, f"{_path(where)} has {found} entries for {wanted}; it must have one each"
    )
