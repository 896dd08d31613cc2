"""The careful way through validation: looks at every value and names the first that is wrong.

Part of `telemetry.validation`, which alone imports it. Taken by the first envelope of every kind, by envelopes
with nulls, and by everything that is broken; ten times slower than the fast way and free to be.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterator
from typing import Any

import orjson
from pydantic import ValidationError

from telemetry.catalogue import DEVICE_CLASSES
from telemetry.envelope import VERSION
from telemetry.errors import EnvelopeRejected, RejectReason
from telemetry.layout import LayoutKey, Shape, layout_for
from telemetry.validation import (
    HEAD,
    MAX_COLUMNS,
    MAX_CONSTANTS,
    MAX_DEVICES,
    MAX_KEYS,
    MAX_NUMBERS,
    MAX_SAMPLES,
    Frame,
    Head,
    are_device_names,
    are_keys,
)

_MAX_NAMED = 100
"""Characters of a path or a value that an error text repeats."""


def parse_carefully(plain: bytes) -> Frame:
    """Parses the JSON text of one envelope. Raises EnvelopeRejected for the first rule that is broken."""
    document = _load(plain)
    metrics, devices = _take(document, "metrics", dict), _take(document, "devices", dict)
    _bound(document)
    try:
        head = HEAD.validate_python(document)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        where = ".".join(str(part)[:64] for part in first["loc"])
        raise _invalid(where, first["input"], first["msg"]) from None
    samples = len(head["time"])
    values: array[float] = array("d")
    node_keys = _keys("metrics", metrics)
    _only("metrics", metrics, {"keys", "values"})
    for key, row in _rows("metrics", node_keys, metrics):
        _append(values, f"metrics.{key}", row, samples)
    class_keys: list[tuple[str, ...]] = []
    names: list[tuple[str, ...]] = []
    for device_class in DEVICE_CLASSES:
        if device_class.key not in devices:
            class_keys.append(())
            names.append(())
            continue
        block = devices[device_class.key]
        where = f"devices.{device_class.key}"
        if not isinstance(block, dict):
            raise _invalid(where, block, "must be an object")
        _only(where, block, {"keys", "values", device_class.identity})
        names.append(_names(f"{where}.{device_class.identity}", block.get(device_class.identity)))
        class_keys.append(_keys(where, block))
        for key, column in _rows(where, class_keys[-1], block):
            if not isinstance(column, list):
                raise _invalid(f"{where}.{key}", column, "must be a list of columns, one per device")
            if len(column) != len(names[-1]):
                raise _ragged(f"{where}.{key}", len(column), f"{len(names[-1])} devices")
            for index, row in enumerate(column):
                _append(values, f"{where}.{key}.{index}", row, samples)
    columns = len(node_keys) + sum(len(keys) * len(found) for keys, found in zip(class_keys, names, strict=True))
    if columns > MAX_COLUMNS or len(values) > MAX_NUMBERS:
        raise EnvelopeRejected(
            RejectReason.TOO_LARGE,
            f"{columns} numbers a sample, {len(values)} in all; at most {MAX_COLUMNS} and {MAX_NUMBERS} are accepted",
        )
    layout = layout_for(LayoutKey(samples, node_keys, tuple(class_keys), Shape(tuple(map(len, names)))))
    return Frame(
        head["cluster"],
        head["node"],
        head["instance"],
        head["seq"],
        head["time"],
        layout,
        tuple(names),
        values.tobytes(),
        head.get("resource"),
    )


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
    _only("", head, {*Head.__annotations__, "metrics", "devices"})
    time, resource = head.get("time"), head.get("resource")
    if isinstance(time, list) and len(time) > MAX_SAMPLES:
        raise EnvelopeRejected(
            RejectReason.TOO_MANY_SAMPLES, f"{len(time)} samples; an envelope has at most {MAX_SAMPLES}"
        )
    if isinstance(resource, dict) and len(resource) > MAX_CONSTANTS:
        raise _invalid("resource", resource, f"has {len(resource)} members; it has at most {MAX_CONSTANTS}")


def _take(document: dict[str, Any], key: str, kind: type) -> Any:
    value = document.pop(key, None)
    if not isinstance(value, kind):
        raise _invalid(key, value, "must be an object")
    return value


def _only(where: str, block: dict[str, Any], allowed: set[str]) -> None:
    for key in block:
        if key not in allowed:
            raise _invalid(
                f"{where}.{key}".lstrip("."), block[key], f"is unknown; known are {', '.join(sorted(allowed))}"
            )


def _keys(where: str, block: dict[str, Any]) -> tuple[str, ...]:
    keys = block.get("keys")
    if not isinstance(keys, list) or not are_keys(tuple(map(_hashable, keys))):
        raise _invalid(f"{where}.keys", keys, f"must be at most {MAX_KEYS} different metric keys of 1-64 characters")
    return tuple(keys)


def _names(where: str, names: Any) -> tuple[str, ...]:
    if not isinstance(names, list) or not are_device_names(tuple(map(_hashable, names))):
        raise _invalid(where, names, f"must be at most {MAX_DEVICES} different names of 1-255 printable characters")
    return tuple(names)


def _hashable(value: Any) -> Any:
    return value if isinstance(value, str) else None


def _rows(where: str, keys: tuple[str, ...], block: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    rows = block.get("values")
    if not isinstance(rows, list):
        raise _invalid(f"{where}.values", rows, "must be a list with one column per key")
    if len(rows) != len(keys):
        raise _ragged(f"{where}.values", len(rows), f"{len(keys)} keys")
    return zip(keys, rows, strict=True)


def _append(values: array[float], where: str, row: Any, samples: int) -> None:
    if not isinstance(row, list):
        raise _invalid(where, row, "must be a list with one number or null per sample")
    if len(row) != samples:
        raise _ragged(where, len(row), f"{samples} samples")
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
