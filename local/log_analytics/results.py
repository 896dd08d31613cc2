"""Query results as the query API writes them: typed columns, JSON cells, the size limits.

Rows are encoded while they are fetched, so a result costs its JSON and one batch of Python objects.
Used by the query runner only.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any

import duckdb
import orjson
from duckdb_kql.types import kusto_type

#: Limits of the query API (Azure Monitor service limits: log queries).
ROW_LIMIT = 500_000
BYTE_LIMIT = 64_000_000

_BATCH_ROWS = 2_000
_OPTIONS = orjson.OPT_NAIVE_UTC | orjson.OPT_UTC_Z

_Encoder = Callable[[Any], Any]


@dataclass(frozen=True)
class Result:
    """The one table of an answer as JSON, and what was cut off if it was too large."""

    table: bytes
    row_count: int
    partial: dict[str, Any] | None


def encode_result(
    cursor: duckdb.DuckDBPyConnection, *, row_limit: int = ROW_LIMIT, byte_limit: int = BYTE_LIMIT
) -> Result:
    """Fetch the executed statement's rows into the JSON of a `PrimaryResult` table."""
    description: Sequence[Any] = cursor.description or ()
    columns = [{"name": column[0], "type": kusto_type(column[1])} for column in description]
    encoders = [
        (index, encoder)
        for index, column in enumerate(columns)
        if (encoder := _ENCODERS.get(column["type"])) is not None
    ]
    parts: list[bytes] = []
    count = size = 0
    partial = None
    while partial is None and (batch := cursor.fetchmany(_BATCH_ROWS)):
        if count + len(batch) > row_limit:
            batch = batch[: row_limit - count]
            partial = _too_large(f"{row_limit} records")
        rows = _encode(batch, encoders)
        if size + len(rows) > byte_limit:
            partial = _too_large(f"{byte_limit} bytes")
            break
        if batch:
            parts.append(rows)
            size += len(rows)
            count += len(batch)
    head = b'{"name":"PrimaryResult","columns":' + orjson.dumps(columns) + b',"rows":['
    return Result(head + b",".join(parts) + b"]}", count, partial)


def format_timespan(value: timedelta) -> str:
    """Return a timespan as Kusto writes it: `[-][d.]hh:mm:ss[.fffffff]`."""
    sign = "-" if value < timedelta() else ""
    value = abs(value)
    minutes, seconds = divmod(value.seconds, 60)
    days = f"{value.days}." if value.days else ""
    ticks = f".{value.microseconds * 10:07d}" if value.microseconds else ""
    return f"{sign}{days}{minutes // 60:02d}:{minutes % 60:02d}:{seconds:02d}{ticks}"


def _encode(batch: list[tuple[Any, ...]], encoders: list[tuple[int, _Encoder]]) -> bytes:
    rows: list[Any] = batch
    if encoders:
        rows = [list(row) for row in batch]
        for row in rows:
            for index, encode in encoders:
                if row[index] is not None:
                    row[index] = encode(row[index])
    return orjson.dumps(rows, default=str, option=_OPTIONS)[1:-1]


def _real(value: Any) -> Any:
    """Return a number as it is; JSON has no words for the three others, Kusto does."""
    if value - value == 0:
        return value
    return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"


def _dynamic(value: Any) -> Any:
    """Return JSON text; a dynamic that is a plain string comes as that string."""
    if not isinstance(value, str):
        return orjson.dumps(value, default=str, option=_OPTIONS).decode()
    return orjson.loads(value) if value.startswith('"') else value


def _timespan(value: Any) -> str:
    return format_timespan(value) if isinstance(value, timedelta) else str(value)


def _long(value: int) -> int | str:
    return value if -(1 << 63) <= value < 1 << 63 else str(value)


def _decimal(value: Decimal) -> str:
    return str(value)


_ENCODERS: dict[str, _Encoder] = {
    "real": _real,
    "dynamic": _dynamic,
    "timespan": _timespan,
    "long": _long,
    "decimal": _decimal,
}


def _too_large(limit: str) -> dict[str, Any]:
    message = f"The results of this query exceed the set limit of {limit}, so not all records were returned"
    return {
        "code": "PartialError",
        "message": "There were some errors when processing your query.",
        "details": [
            {
                "code": "EngineError",
                "message": "Something went wrong processing your query on the server.",
                "innererror": {"code": "-2133196797", "message": f"{message} (E_QUERY_RESULT_SET_TOO_LARGE)."},
            }
        ],
    }
