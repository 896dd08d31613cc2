"""Conversion of a posted row to the declared columns, as the service does it.

A value that does not convert becomes null, an undeclared column is dropped, a long text is cut, and a
`TimeGenerated` out of range gives way to the receive time. Pure; used by the ingestion API only.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from local.log_analytics.schema import TIME_COLUMN

#: Longer values are cut (Azure Monitor service limits: maximum size for field values).
FIELD_LIMIT_BYTES = 64 * 1024

OLDEST = timedelta(days=2)
FURTHEST_AHEAD = timedelta(days=1)

_Converter = Callable[[Any], Any]


def to_string(value: Any) -> str:
    """Return text as it is and anything else as its JSON text, cut to 64 KB of UTF-8."""
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    return _cut(text)


def to_int(value: Any) -> int | None:
    """Return a whole number of 32 bits, or None."""
    return _whole(value, 31)


def to_long(value: Any) -> int | None:
    """Return a whole number of 64 bits, or None."""
    return _whole(value, 63)


def to_real(value: Any) -> float | None:
    """Return a finite number, or None."""
    number = _number(value)
    try:
        return float(number) if number is not None and math.isfinite(number) else None
    except OverflowError:
        return None


def to_boolean(value: Any) -> bool | None:
    """Return a truth value from true/false, "true"/"false" or a number (0 is false), or None."""
    if isinstance(value, str):
        return {"true": True, "false": False}.get(value.strip().lower())
    return bool(value) if isinstance(value, bool | int | float) else None


def to_dynamic(value: Any) -> orjson.Fragment:
    """Return the value as JSON; JSON of more than 64 KB becomes a text that was cut."""
    encoded = orjson.dumps(value)
    if len(encoded) > FIELD_LIMIT_BYTES:
        encoded = orjson.dumps(_cut(value if isinstance(value, str) else encoded.decode()))
    return orjson.Fragment(encoded)


def to_datetime(value: Any) -> datetime | None:
    """Return ISO 8601 text as a UTC time without zone (text without a zone is UTC), or None."""
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value.strip())
        return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment
    except (ValueError, OverflowError):
        return None


_CONVERTERS: Mapping[str, _Converter] = {
    "string": to_string,
    "int": to_int,
    "long": to_long,
    "real": to_real,
    "boolean": to_boolean,
    "dynamic": to_dynamic,
    "datetime": to_datetime,
}


def convert_rows(
    rows: Iterable[Mapping[str, Any]], columns: Mapping[str, str], received: datetime
) -> list[dict[str, Any]]:
    """Return the rows with declared, converted, non-null values only.

    A row without `TimeGenerated` in the result is to take the receive time. `received` is UTC without zone.
    """
    # A stream need not declare TimeGenerated; a transformation may still want the one that was posted.
    converters = [(name, _CONVERTERS[kind]) for name, kind in {**columns, TIME_COLUMN: "datetime"}.items()]
    oldest, newest = received - OLDEST, received + FURTHEST_AHEAD
    converted = []
    for row in rows:
        kept = {}
        for name, convert in converters:
            value = row.get(name)
            if value is not None and (value := convert(value)) is not None:
                kept[name] = value
        moment = kept.get(TIME_COLUMN)
        if moment is not None and not oldest <= moment <= newest:
            del kept[TIME_COLUMN]
        converted.append(kept)
    return converted


def _whole(value: Any, bits: int) -> int | None:
    number = _number(value)
    if number is None or (isinstance(number, float) and not math.isfinite(number)):
        return None
    whole = math.trunc(number)
    return whole if -(1 << bits) <= whole < 1 << bits else None


def _number(value: Any) -> int | float | None:
    """Return a JSON number as it is, a truth value as 0 or 1, text as the number it spells, or None."""
    if isinstance(value, int | float):
        return value
    if not isinstance(value, str) or "_" in value:  # Python reads 1_000 as a number, the service does not
        return None
    for kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            continue
    return None


def _cut(text: str) -> str:
    encoded = text.encode()
    return text if len(encoded) <= FIELD_LIMIT_BYTES else encoded[:FIELD_LIMIT_BYTES].decode(errors="ignore")
