"""Tables of the workspace and streams of the data collection rule, read from the files Terraform applies.

`load_tables` and `load_rule` fail with one sentence that names the file and the entry; nothing else of the
service looks at these files.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TIME_COLUMN = "TimeGenerated"

#: Log Analytics column type -> DuckDB type. `dynamic` is JSON text; every datetime is UTC.
DUCKDB_TYPES: Mapping[str, str] = {
    "string": "VARCHAR",
    "int": "INTEGER",
    "long": "BIGINT",
    "real": "DOUBLE",
    "boolean": "BOOLEAN",
    "dynamic": "JSON",
    "datetime": "TIMESTAMP",
}

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,99}")
_STREAM_NAME = re.compile(r"Custom-[A-Za-z0-9_-]{1,90}")


class SchemaError(ValueError):
    """A schema file that the service cannot work from."""


@dataclass(frozen=True)
class Table:
    """One table of the workspace; columns in order, each with its Log Analytics type."""

    name: str
    columns: Mapping[str, str]


@dataclass(frozen=True)
class Stream:
    """One input stream of the rule: what is declared, how it is transformed, where it lands."""

    name: str
    columns: Mapping[str, str]
    transform: str
    table: str

    @property
    def passes_through(self) -> bool:
        """Whether rows land as they came (`transformKql` is just `source`)."""
        return self.transform == "source"


@dataclass(frozen=True)
class Rule:
    """The data collection rule: an immutable id and its streams by name."""

    immutable_id: str
    streams: Mapping[str, Stream]


def load_tables(path: Path) -> dict[str, Table]:
    """Return the tables of a `{"tables": {name: {column: type}}}` file, by name."""
    tables = {}
    for name, columns in _member(_read(path), "tables", dict, path).items():
        if not _NAME.fullmatch(name):
            raise SchemaError(f"{path}: table name {name!r} must be letters, digits and underscores")
        _check_columns(columns, f"{path}: table {name}")
        if columns.get(TIME_COLUMN) != "datetime":
            raise SchemaError(f"{path}: table {name} needs the column {TIME_COLUMN} of type datetime")
        tables[name] = Table(name, dict(columns))
    if not tables:
        raise SchemaError(f"{path}: no tables")
    return tables


def load_rule(path: Path, tables: Mapping[str, Table]) -> Rule:
    """Return the rule of an ARM-shaped data collection rule file; every stream must land in one of `tables`."""
    properties = _member(_read(path), "properties", dict, path)
    immutable_id = _member(properties, "immutableId", str, path)
    declarations = _member(properties, "streamDeclarations", dict, path)
    streams: dict[str, Stream] = {}
    for flow in _member(properties, "dataFlows", list, path):
        output = str(flow.get("outputStream", ""))
        table = output.removeprefix("Custom-")
        if table not in tables:
            raise SchemaError(f"{path}: outputStream {output!r} names no table; known: {', '.join(tables)}")
        for name in _member(flow, "streams", list, path):
            if name in streams:
                raise SchemaError(f"{path}: stream {name} is in two data flows; the stand-in handles one")
            streams[name] = _stream(name, declarations, flow, table, path)
    return Rule(immutable_id, streams)


def _stream(name: str, declarations: Mapping[str, Any], flow: Mapping[str, Any], table: str, path: Path) -> Stream:
    if not _STREAM_NAME.fullmatch(name):
        raise SchemaError(f"{path}: stream name {name!r} must be Custom- and letters, digits, _ or -")
    if name not in declarations:
        raise SchemaError(f"{path}: stream {name} is not in streamDeclarations")
    columns = {column["name"]: column["type"] for column in declarations[name]["columns"]}
    _check_columns(columns, f"{path}: stream {name}")
    return Stream(name, columns, str(flow.get("transformKql", "source")).strip(), table)


def _check_columns(columns: object, where: str) -> None:
    if not isinstance(columns, dict) or not columns:
        raise SchemaError(f"{where} has no columns")
    folded: set[str] = set()
    for column, kind in columns.items():
        if not _NAME.fullmatch(column):
            raise SchemaError(f"{where}: column name {column!r} must be letters, digits and underscores")
        if kind not in DUCKDB_TYPES:
            raise SchemaError(f"{where}: column {column} has type {kind!r}; known: {', '.join(DUCKDB_TYPES)}")
        if column.lower() in folded:  # DuckDB folds case where KQL does not
            raise SchemaError(f"{where}: column {column} differs from another one by case only")
        folded.add(column.lower())


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise SchemaError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise SchemaError(f"{path}: not JSON: {error}") from error


def _member[T](document: Any, key: str, kind: type[T], path: Path) -> T:
    value = document.get(key) if isinstance(document, dict) else None
    if not isinstance(value, kind):
        raise SchemaError(f"{path}: {key!r} must be a {kind.__name__}, got {type(value).__name__}")
    return value
