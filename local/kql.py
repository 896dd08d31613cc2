"""`python -m local kql "QUERY"`: asks a Log Analytics workspace through Microsoft's client and prints the answer.

Speaks the public query API, so it works on the local stand-in and on Azure alike. The command line of `local`
imports `add_arguments` and `execute`; `run_kql` is for whoever wants the rows.
"""

import argparse
import csv
import json
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TextIO

from azure.core.credentials import AccessToken
from azure.core.exceptions import AzureError, HttpResponseError
from azure.monitor.query import LogsQueryClient, LogsQueryPartialResult
from rich.console import Console
from rich.table import Table
from rich.text import Text

_NUMBERS = frozenset({"int", "long", "real", "decimal"})
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}

#: Below this many characters a column says nothing; the answer is then printed one row after another.
_NARROWEST_COLUMN = 8


class KqlFailed(Exception):
    """The query is wrong or was not answered; the text is for the person who asked."""


@dataclass(frozen=True)
class Answer:
    """The rows of a query, its columns with their Log Analytics types, and a warning if rows are missing."""

    columns: Sequence[str]
    types: Sequence[str]
    rows: Sequence[Sequence[Any]]
    warning: str | None = None


class _StaticToken:
    """A credential that knows one token; the local stand-ins take no other."""

    def __init__(self, token: str) -> None:
        self._token = token

    def get_token(self, *scopes: str, **_: Any) -> AccessToken:
        """Return the token, good for an hour."""
        return AccessToken(self._token, int(time.time()) + 3600)


def run_kql(
    query: str,
    *,
    endpoint: str,
    workspace_id: str,
    token: str,
    ca_bundle: Path,
    timespan: timedelta | None = None,
) -> Answer:
    """Return the answer to a query; KqlFailed says what was wrong in the service's own words."""
    client = LogsQueryClient(_StaticToken(token), endpoint=endpoint, connection_verify=str(ca_bundle), retry_total=0)
    with client:
        try:
            result = client.query_workspace(workspace_id, query, timespan=timespan)
        except HttpResponseError as error:
            raise KqlFailed(_innermost_message(error)) from error
        except AzureError as error:
            raise KqlFailed(f"{endpoint} does not answer: {error.message}; is the local stack up?") from error
    if isinstance(result, LogsQueryPartialResult):
        tables = result.partial_data
        warning = result.partial_error.message if result.partial_error else "the answer is incomplete"
    else:
        tables, warning = result.tables, None
    table = tables[0]
    return Answer(table.columns, table.columns_types, [list(row) for row in table.rows], warning)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments that `execute` reads."""
    parser.add_argument("query", help="KQL, or - to read it from standard input")
    parser.add_argument("--timespan", type=parse_timespan, help="only the latest 30m, 4h, 2d, ...")
    formats = parser.add_mutually_exclusive_group()
    formats.add_argument("--json", action="store_const", const="json", dest="format", help="one array of objects")
    formats.add_argument("--csv", action="store_const", const="csv", dest="format", help="with a header line")


def execute(
    options: argparse.Namespace,
    *,
    endpoint: str,
    workspace_id: str,
    token: str,
    ca_bundle: Path,
    output: TextIO | None = None,
    errors: TextIO | None = None,
) -> int:
    """Run the query of the parsed arguments and print the answer; 0, or 2 when it failed."""
    output, errors = output or sys.stdout, errors or sys.stderr
    query = sys.stdin.read() if options.query == "-" else options.query
    try:
        answer = run_kql(
            query,
            endpoint=endpoint,
            workspace_id=workspace_id,
            token=token,
            ca_bundle=ca_bundle,
            timespan=options.timespan,
        )
    except KqlFailed as error:
        print(f"kql: {error}", file=errors)
        return 2
    _PRINTERS[options.format](answer, output)
    if answer.warning:
        print(f"kql: {answer.warning}", file=errors)
    return 0


def parse_timespan(text: str) -> timedelta:
    """Return the time that `30m`, `4h` or `2d` stands for."""
    match = re.fullmatch(r"(\d{1,6})([smhd])", text)
    if not match:
        raise argparse.ArgumentTypeError(f"must be a number and one of s, m, h, d, such as 30m, got {text!r}")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def print_table(answer: Answer, output: TextIO) -> None:
    """Print a table as wide as the terminal, or row after row if it would not fit, and the number of rows."""
    console = Console(file=output)
    cells = [[_cell(value, kind) for value, kind in zip(row, answer.types, strict=True)] for row in answer.rows]
    if len(answer.columns) * (_NARROWEST_COLUMN + 3) > console.width:
        for number, row in enumerate(cells, 1):
            console.rule(f"row {number}", align="left")
            _print_row(console, answer, row)
    else:
        table = Table(header_style="bold")
        for name, kind in zip(answer.columns, answer.types, strict=True):
            table.add_column(
                Text(name),
                justify="right" if kind in _NUMBERS else "left",
                no_wrap=True,
                overflow="ellipsis",
            )
        for row in cells:
            table.add_row(*map(Text, row))
        console.print(table)
    console.print(f"{len(cells)} row{'' if len(cells) == 1 else 's'}", highlight=False)


def print_json(answer: Answer, output: TextIO) -> None:
    """Print one array with an object per row; times as ISO 8601, dynamic columns as JSON."""
    rows = [
        {name: _json_value(value, kind) for name, value, kind in zip(answer.columns, row, answer.types, strict=True)}
        for row in answer.rows
    ]
    json.dump(rows, output, indent=2, ensure_ascii=False)
    output.write("\n")


def print_csv(answer: Answer, output: TextIO) -> None:
    """Print comma-separated values with a header line; null is an empty field."""
    writer = csv.writer(output, lineterminator="\n")
    writer.writerow(answer.columns)
    for row in answer.rows:
        values = (_json_value(value, kind, nested=False) for value, kind in zip(row, answer.types, strict=True))
        writer.writerow(["" if value is None else value for value in values])


_PRINTERS = {None: print_table, "json": print_json, "csv": print_csv}


def _print_row(console: Console, answer: Answer, row: Sequence[str]) -> None:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(no_wrap=True, overflow="ellipsis")
    for name, value in zip(answer.columns, row, strict=True):
        grid.add_row(Text(name), Text(value))
    console.print(grid)


def _cell(value: Any, kind: str) -> str:
    """Return a value for a person: seconds are exact enough, JSON is compact, null is nothing."""
    if value is None or _is_null(value, kind):
        return ""
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    if kind == "dynamic":
        return json.dumps(_json_value(value, kind), ensure_ascii=False, separators=(",", ":"))
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.6g}" if abs(value) < 1e15 else repr(value)
    return str(value)


def _json_value(value: Any, kind: str, *, nested: bool = True) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if _is_null(value, kind):
        return None
    if nested and kind == "dynamic" and isinstance(value, str):
        try:
            return json.loads(value)
        except ValueError:  # a dynamic that is a plain string comes without quotes
            return value
    return value


def _is_null(value: Any, kind: str) -> bool:
    """Whether the client made text of a null, which it does for two types."""
    return value == "None" and kind in ("timespan", "guid")


def _innermost_message(error: HttpResponseError) -> str:
    """Return what the service says about the query, not that it says something."""
    model = getattr(error, "model", None)
    detail = getattr(model, "message", None)
    status = error.status_code
    return str(detail) if detail else f"HTTP {status}: {error.message}"
