"""Runs one query against the store: everything acknowledged is applied first, the time limit interrupts it.

Blocking; the query API calls it in a thread. Each query has a connection of its own, so neither ingestion
nor another query waits for it.
"""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import duckdb

from local.log_analytics.errors import QueryError, bad_query
from local.log_analytics.kql_engine import KqlEngine
from local.log_analytics.results import Result, encode_result
from local.log_analytics.schema import TIME_COLUMN, Table
from local.log_analytics.store import CATALOG, LogStore
from local.log_analytics.timespan import Timespan, parse_timespan


@dataclass(frozen=True)
class Execution:
    """A result and the seconds it took."""

    result: Result
    seconds: float


class QueryRunner:
    """Answers KQL queries over one store; thread-safe."""

    def __init__(self, store: LogStore, engine: KqlEngine, tables: Mapping[str, Table]) -> None:
        self._store = store
        self._engine = engine
        self._tables = tables
        self._running: set[duckdb.DuckDBPyConnection] = set()

    def interrupt(self) -> None:
        """Stop the queries that are running; they answer as if their time was up."""
        for cursor in tuple(self._running):
            cursor.interrupt()

    def run(self, query: str, timespan: str | None, *, limit_seconds: float) -> Execution:
        """Return the result of a query, with `timespan` as an additional filter on every table's TimeGenerated.

        Raises QueryError with the status and shape the service would answer.
        """
        started = time.monotonic()
        now = datetime.now(UTC).replace(tzinfo=None)
        interval = _interval(timespan, now)
        statement = self._engine.translate(query)
        self._store.apply_pending()
        with self._store.cursor() as cursor:
            if interval:
                self._narrow(cursor, interval)
            clock = threading.Timer(limit_seconds, cursor.interrupt)
            clock.daemon = True
            clock.start()
            self._running.add(cursor)
            try:
                cursor.execute(statement.sql, statement.bind(now) or None)
                result = encode_result(cursor)
            except duckdb.InterruptException as error:
                raise QueryError(
                    504, "GatewayTimeout", f"The query was stopped; it may take {limit_seconds:g} s"
                ) from error
            except (duckdb.OutOfMemoryException, duckdb.IOException) as error:
                raise bad_query("EngineError", f"Query is low on resources: {error}") from error
            except duckdb.Error as error:
                raise bad_query("SemanticError", str(error)) from error
            finally:
                clock.cancel()
                self._running.discard(cursor)
        return Execution(result, time.monotonic() - started)

    def _narrow(self, cursor: duckdb.DuckDBPyConnection, interval: Timespan) -> None:
        """Hide rows outside the interval from this connection: temporary views shadow the tables."""
        start, end = (f"TIMESTAMP '{moment.isoformat(sep=' ')}'" for moment in interval)
        for name in self._tables:
            cursor.execute(
                f'CREATE TEMP VIEW "{name}" AS SELECT * FROM {CATALOG}.main."{name}" '
                f'WHERE "{TIME_COLUMN}" BETWEEN {start} AND {end}'
            )


def _interval(timespan: str | None, now: datetime) -> Timespan | None:
    if timespan is None:
        return None
    try:
        return parse_timespan(timespan, now)
    except ValueError as error:
        raise bad_query("BadArgumentError", str(error)) from error
