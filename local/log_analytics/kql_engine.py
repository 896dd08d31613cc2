"""KQL to SQL that may run: translation by duckdb-kql, saved functions, and a check of what the SQL touches.

A query may read the tables of the workspace and nothing else: management commands are refused before
translation, and the finished SQL is parsed again and refused when it names any other relation or a table
function that reads files. Used by the query runner and, for transformations, by the service's start.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import duckdb
import duckdb_kql
from duckdb_kql.stored_functions import parse_functions

from local.log_analytics import kql_extensions
from local.log_analytics.errors import bad_query
from local.log_analytics.schema import DUCKDB_TYPES, TIME_COLUMN, SchemaError, Stream, Table
from local.log_analytics.store import Transform

#: Table functions that compute rows from their arguments; every other one could read something.
_PURE_TABLE_FUNCTIONS = frozenset({"unnest", "range", "generate_series", "json_each", "json_array_elements"})

_FUNCTION_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

#: Stands for now() in a translation that is kept for later; replaced when the query runs.
_SOME_MOMENT = datetime(2000, 1, 1)


@dataclass(frozen=True)
class Statement:
    """SQL that passed the check, with the parameters it binds; `clocks` are those that hold now()."""

    sql: str
    parameters: Mapping[str, Any]
    clocks: frozenset[str]

    def bind(self, now: datetime) -> dict[str, Any]:
        """Return the parameters of one run at `now` (UTC without zone)."""
        return {name: now if name in self.clocks else value for name, value in self.parameters.items()}


class KqlEngine:
    """Translates queries against a fixed set of tables and saved functions; thread-safe."""

    def __init__(self, tables: Mapping[str, Table], functions: Mapping[str, str]) -> None:
        """Take the tables by name and the bodies of the saved functions by name."""
        kql_extensions.install()
        self._schema = {name: list(table.columns) for name, table in tables.items()}
        try:
            self._functions = parse_functions([f"function {name}() {{\n{body}\n}}" for name, body in functions.items()])
        except (duckdb_kql.KqlError, ValueError) as error:
            raise SchemaError(f"a saved function is not KQL: {error}") from error
        self._parser = duckdb.connect(config={"python_enable_replacements": False, "threads": 1})
        self.translate = lru_cache(maxsize=512)(self._translate)

    def _translate(self, query: str) -> Statement:
        """Return the SQL of a query; raises QueryError for one that is wrong, not translated or not allowed."""
        if _first_character(query) == ".":
            raise bad_query("SyntaxError", "management commands are not supported by the query API")
        return self._statement(query, self._schema)

    def transform(self, connection: duckdb.DuckDBPyConnection, stream: Stream) -> Transform:
        """Return the SQL of a stream's `transformKql`, after one run on no rows; SchemaError if it is wrong."""
        columns = {**stream.columns, TIME_COLUMN: "datetime"}
        declared = ", ".join(f'"{name}" {DUCKDB_TYPES[kind]}' for name, kind in columns.items())
        try:
            statement = self._statement(stream.transform, {"source": list(columns)})
            connection.execute(f"CREATE OR REPLACE TEMP TABLE source ({declared})")
            connection.execute(statement.sql, dict(statement.parameters) or None)
        except Exception as error:
            detail = getattr(error, "inner", None) or (type(error).__name__, str(error))
            raise SchemaError(f"transformKql of {stream.name}: {detail[0]}: {detail[1]}") from error
        if statement.clocks:
            raise SchemaError(f"transformKql of {stream.name} uses now() or ago(); the stand-in cannot replay it")
        return statement.sql, dict(statement.parameters)

    def _statement(self, query: str, schema: Mapping[str, list[str]]) -> Statement:
        try:
            translated = duckdb_kql.to_sql(
                query,
                schema=dict(schema),
                functions=self._functions,
                allow_write=False,
                query_now=_SOME_MOMENT,
            )
        except duckdb_kql.KqlSyntaxError as error:
            # The parser lists every keyword of the language behind "expecting".
            raise bad_query("SyntaxError", re.sub(r" expecting \{.{80,}\}", "", str(error))) from error
        except duckdb_kql.KqlError as error:
            raise bad_query("SemanticError", str(error)) from error
        except RecursionError as error:
            raise bad_query("SyntaxError", "the query is nested too deeply") from error
        if translated.unbound:
            names = ", ".join(translated.unbound)
            raise bad_query("SemanticError", f"query parameters without a value: {names}")
        self._check(str(translated), schema)
        parameters = dict(translated.parameters or {})
        clocks = frozenset(name for name, value in parameters.items() if value == _SOME_MOMENT)
        return Statement(str(translated), parameters, clocks)

    def _check(self, sql: str, schema: Mapping[str, list[str]]) -> None:
        """Refuse SQL that reads anything but the tables of the schema."""
        with self._parser.cursor() as cursor:
            row = cursor.execute("SELECT json_serialize_sql(?)", [sql]).fetchone()
        tree = json.loads(row[0]) if row else {"error": True}
        if tree.get("error"):
            raise bad_query("SemanticError", f"the translated query is not a SELECT: {tree.get('error_message')}")
        nodes = list(_nodes(tree))
        named = {entry["key"] for node in nodes for entry in _common_table_expressions(node)}
        for node in nodes:
            if node.get("type") == "TABLE_FUNCTION":
                function = node["function"]["function_name"]
                if function not in _PURE_TABLE_FUNCTIONS:
                    raise bad_query("SemanticError", f"table function {function!r} is not allowed")
            elif node.get("type") == "BASE_TABLE":
                table = node["table_name"]
                qualified = node.get("schema_name") or node.get("catalog_name")
                if qualified or not (table in schema or table in named):
                    raise bad_query(
                        "SemanticError",
                        f"Failed to resolve table or column expression named '{table}'; tables: {', '.join(schema)}",
                    )


def load_functions(folder: Path) -> dict[str, str]:
    """Return the saved functions of a folder: file name without `.kql` -> body."""
    functions = {}
    for path in sorted(folder.glob("*.kql")):
        if not _FUNCTION_NAME.fullmatch(path.stem):
            raise SchemaError(f"{path}: a function's file name must be letters, digits and underscores")
        functions[path.stem] = path.read_text()
    return functions


def _first_character(query: str) -> str:
    for line in query.splitlines():
        code = line.strip()
        if code and not code.startswith("//"):
            return code[0]
    return ""


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            yield node
            waiting.extend(node.values())
        elif isinstance(node, list):
            waiting.extend(node)


def _common_table_expressions(node: Mapping[str, Any]) -> list[dict[str, Any]]:
    found = node.get("cte_map")
    return list(found["map"]) if isinstance(found, dict) else []
