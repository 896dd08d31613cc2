"""The workspace's rows: acknowledged into a write-ahead log, applied to DuckDB in large batches.

`append` is what a 204 promises; `apply_pending` moves everything acknowledged so far into DuckDB and is
called by a timer and before every query, so a query sees every row acknowledged before it. One insert per
request would manage a few dozen requests a second; this way the cost of a request is one write.
"""

import threading
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import orjson

from local.log_analytics.columns import FURTHEST_AHEAD, OLDEST
from local.log_analytics.kql_extensions import create_macros
from local.log_analytics.logs import log
from local.log_analytics.schema import DUCKDB_TYPES, TIME_COLUMN, Rule, SchemaError, Stream, Table
from local.log_analytics.write_ahead_log import Generation, WriteAheadLog

#: DuckDB's name of the database, which it takes from the file name.
CATALOG = "workspace"

#: More than this waiting means that DuckDB does not keep up or cannot write; new rows are refused.
PENDING_LIMIT_BYTES = 256 * 1024 * 1024

#: A line above DuckDB's default limit for one JSON object could never be read back.
LINE_LIMIT_BYTES = 16 * 1024 * 1024

#: SQL of a stream's transformation, which reads a table named `source`.
Transform = tuple[str, Mapping[str, Any]]


class StoreFull(Exception):
    """Rows cannot be accepted now: too many wait to be applied, or the disk refuses them."""


class _TransformFailed(Exception):
    """The transformation of a stream failed on its rows."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self.stream = stream


class LogStore:
    """One workspace in one folder; all methods are thread-safe."""

    def __init__(
        self,
        folder: Path,
        tables: Mapping[str, Table],
        rule: Rule,
        *,
        memory_limit: str = "512MB",
        threads: int = 2,
        transforms: Callable[[duckdb.DuckDBPyConnection, Stream], Transform] | None = None,
    ) -> None:
        """Open the folder, creating what is missing, and apply what an earlier process left unapplied.

        `transforms` compiles a stream's `transformKql`; without it every stream must pass through.
        """
        self._tables = tables
        self._streams = dict(rule.streams)
        self._log = WriteAheadLog(folder / "write-ahead-log")
        self._waiting: deque[Generation] = deque()
        self._apply_lock = threading.Lock()
        self._connection = _open(folder, memory_limit, threads)
        _create_tables(self._connection, tables.values())
        self._transforms = {
            stream.name: _compile(self._connection, stream, transforms)
            for stream in self._streams.values()
            if not stream.passes_through
        }
        self._waiting.extend(self._log.recover(self._applied()))
        self.apply_pending()

    def append(self, stream: Stream, rows: list[dict[str, Any]], received: datetime) -> None:
        """Keep the converted rows; when this returns they survive the death of the process.

        Raises StoreFull when they cannot be kept, TypeError or ValueError when they cannot be written as JSON.
        """
        line = orjson.dumps({"received": received, "rows": rows})
        if len(line) > LINE_LIMIT_BYTES:
            raise ValueError(f"rows take {len(line)} bytes after conversion, above {LINE_LIMIT_BYTES}")
        if self.pending_bytes > PENDING_LIMIT_BYTES:
            raise StoreFull(f"{self.pending_bytes} bytes wait to be applied to DuckDB")
        try:
            self._log.append(stream.name, line)
        except OSError as error:
            raise StoreFull(str(error)) from error

    def apply_pending(self) -> None:
        """Put every row appended so far into DuckDB."""
        with self._apply_lock:
            closed = self._log.rotate()
            if closed:
                self._waiting.append(closed)
            while self._waiting:
                self._apply(self._waiting[0])
                self._waiting.popleft().remove()

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """Return a connection of its own for one reader; it sees what is committed when a statement starts."""
        return self._connection.cursor()

    def row_counts(self) -> dict[str, int]:
        """Return the rows per table, without those that still wait."""
        with self.cursor() as cursor:
            return {
                name: cursor.execute(f'SELECT count(*) FROM main."{name}"').fetchall()[0][0] for name in self._tables
            }

    @property
    def pending_bytes(self) -> int:
        """Bytes acknowledged and not yet applied."""
        return self._log.open_bytes + sum(generation.size for generation in tuple(self._waiting))

    def close(self) -> None:
        """Apply what waits and close DuckDB."""
        self.apply_pending()
        self._connection.close()

    def _apply(self, generation: Generation) -> None:
        """Insert all lines of a generation; rows that a transformation cannot take are dropped, and logged."""
        dropped: set[str] = set()
        while True:
            try:
                return self._commit(generation, dropped)
            except _TransformFailed as error:
                log("rows_dropped", stream=error.stream, error=str(error.__cause__))
                dropped.add(error.stream)

    def _commit(self, generation: Generation, dropped: Collection[str]) -> None:
        """Insert the lines and note the generation's number in one transaction."""
        connection = self._connection
        connection.execute("BEGIN")
        try:
            for name, path in generation.files():
                if name not in dropped:
                    self._insert(name, path)
            connection.execute("UPDATE internal.applied SET generation = ?", [generation.number])
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise

    def _insert(self, name: str, path: Path) -> None:
        stream = self._streams.get(name)
        if stream is None:
            raise SchemaError(
                f"{path}: stream {name} left the data collection rule with rows waiting; declare it again"
            )
        columns = {**stream.columns, TIME_COLUMN: "datetime"}
        declared = ", ".join(f'"{column}" {DUCKDB_TYPES[kind]}' for column, kind in columns.items())
        lines = (
            "read_json(?, format = 'newline_delimited', "
            f"columns = {{received: 'TIMESTAMP', rows: 'STRUCT({declared})[]'}})"
        )
        values = {column: f'line."{column}"' for column in columns}
        values[TIME_COLUMN] = f'coalesce(line."{TIME_COLUMN}", received)'
        source = f"(SELECT received, unnest(rows) AS line FROM {lines})"
        if stream.passes_through:
            kept = {column: value for column, value in values.items() if column in self._columns(stream)}
            self._connection.execute(_insert_sql(stream, kept, source), [str(path)])
            return
        selected = ", ".join(f'{value} AS "{column}"' for column, value in values.items())
        self._connection.execute(f"CREATE OR REPLACE TEMP TABLE source AS SELECT {selected} FROM {source}", [str(path)])
        latest = self._connection.execute(f"SELECT max(received) FROM {lines}", [str(path)]).fetchall()[0][0]
        if latest is None:  # only an unfinished line was there
            return
        try:
            self._insert_transformed(stream, latest)
        except (duckdb.OutOfMemoryException, duckdb.IOException):
            raise
        except duckdb.Error as error:
            raise _TransformFailed(name) from error

    def _insert_transformed(self, stream: Stream, received: datetime) -> None:
        """Insert what the transformation makes of the table `source`, as far as the table has the columns."""
        sql, parameters = self._transforms[stream.name]
        columns = self._columns(stream)
        described = self._connection.execute(f"DESCRIBE {sql}", parameters or None).fetchall()
        kept = {
            row[0]: f'TRY_CAST("{row[0]}" AS {DUCKDB_TYPES[columns[row[0]]]})' for row in described if row[0] in columns
        }
        kept[TIME_COLUMN] = _bounded_time(kept.get(TIME_COLUMN), received)
        self._connection.execute(_insert_sql(stream, kept, f"({sql})"), parameters or None)

    def _columns(self, stream: Stream) -> Mapping[str, str]:
        return self._tables[stream.table].columns

    def _applied(self) -> int:
        row = self._connection.execute("SELECT generation FROM internal.applied").fetchone()
        assert row is not None
        return int(row[0])


def _open(folder: Path, memory_limit: str, threads: int) -> duckdb.DuckDBPyConnection:
    folder.mkdir(parents=True, exist_ok=True)
    connection = duckdb.connect(
        folder / f"{CATALOG}.duckdb",
        config={"memory_limit": memory_limit, "threads": threads, "python_enable_replacements": False},
    )
    connection.execute("SET GLOBAL TimeZone = 'UTC'")
    # Only our own inserts may read files, and only ours.
    readable = str(folder / "write-ahead-log").replace("'", "''")
    connection.execute(f"SET allowed_directories = ['{readable}']")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    create_macros(connection)
    connection.execute("CREATE SCHEMA IF NOT EXISTS internal")
    connection.execute("CREATE TABLE IF NOT EXISTS internal.applied AS SELECT CAST(0 AS BIGINT) AS generation")
    return connection


def _create_tables(connection: duckdb.DuckDBPyConnection, tables: Iterable[Table]) -> None:
    """Create the tables and add new columns; a column that changed its type is refused."""
    for table in tables:
        columns = ", ".join(f'"{name}" {DUCKDB_TYPES[kind]}' for name, kind in table.columns.items())
        connection.execute(f'CREATE TABLE IF NOT EXISTS main."{table.name}" ({columns})')
        present = {row[0]: row[1] for row in connection.execute(f'DESCRIBE main."{table.name}"').fetchall()}
        for name, kind in table.columns.items():
            if name not in present:
                connection.execute(f'ALTER TABLE main."{table.name}" ADD COLUMN "{name}" {DUCKDB_TYPES[kind]}')
            elif present[name] != DUCKDB_TYPES[kind]:
                raise SchemaError(
                    f"column {name} of {table.name} is stored as {present[name]}, the schema says {kind}; "
                    "remove the data folder or give the column a new name"
                )


def _compile(
    connection: duckdb.DuckDBPyConnection,
    stream: Stream,
    transforms: Callable[[duckdb.DuckDBPyConnection, Stream], Transform] | None,
) -> Transform:
    if transforms is None:
        raise SchemaError(f"stream {stream.name} has a transformKql and nothing was given to compile it")
    return transforms(connection, stream)


def _insert_sql(stream: Stream, values: Mapping[str, str], source: str) -> str:
    names = ", ".join(f'"{name}"' for name in values)
    return f'INSERT INTO main."{stream.table}" ({names}) SELECT {", ".join(values.values())} FROM {source}'


def _bounded_time(column: str | None, received: datetime) -> str:
    """Return the SQL of TimeGenerated after a transformation: its own if in range, else the receive time."""
    now, oldest, newest = (
        f"TIMESTAMP '{moment.isoformat(sep=' ')}'"
        for moment in (received, received - OLDEST, received + FURTHEST_AHEAD)
    )
    return f"CASE WHEN {column} BETWEEN {oldest} AND {newest} THEN {column} ELSE {now} END" if column else now
