"""`python -m local maintenance plan|list|cancel`: planned maintenance of a running stack.

Writes the table entities that `az storage entity insert` would write to Azure (docs/incidents.md); the function app
reads them once a minute. The command line of `local` imports `add_arguments` and `execute`.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import secrets
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TextIO

from azure.core.exceptions import AzureError, ResourceExistsError
from azure.data.tables import TableClient

from local.kql import parse_timespan

TABLE = "MaintenanceWindows"
"""As the function app calls it; a test holds the two together."""
LONGEST = timedelta(days=90)
READ_EVERY_S = 60
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,126}[A-Za-z0-9])?")
_CONNECTION: Mapping[str, Any] = {"retry_total": 1, "connection_timeout": 5, "read_timeout": 15}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments that `execute` reads."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")

    def action(name: str, help_text: str) -> argparse.ArgumentParser:
        child = actions.add_parser(name, help=help_text, description=help_text)
        child.add_argument("--data", type=Path, default=argparse.SUPPRESS, help="the stack's directory")
        return child

    plan = action("plan", "incidents that begin in this time are recorded as suppressed")
    plan.add_argument("--cluster", required=True, type=_name, metavar="NAME", help="the cluster it is about")
    plan.add_argument("--pool", type=_name, metavar="NAME", help="only this pool of it")
    plan.add_argument("--node", type=_name, metavar="NAME", help="only this node of it")
    plan.add_argument(
        "--from", dest="start", default="now", type=_moment, metavar="TIME", help="ISO 8601 or now (default)"
    )
    plan.add_argument("--for", dest="duration", required=True, type=_duration, metavar="TIME", help="90m, 2h, 1d, ...")
    action("list", "what is planned and what was, the latest last")
    cancel = action("cancel", "take a planned time back, or end one that runs")
    cancel.add_argument("id", type=_name, metavar="ID", help="as `plan` and `list` show it")


def execute(
    options: argparse.Namespace, *, storage: str, output: TextIO | None = None, errors: TextIO | None = None
) -> int:
    """Do what the parsed arguments say, on the storage of a connection string; 0, or 1 when it could not be done."""
    output, errors = output or sys.stdout, errors or sys.stderr
    try:
        with TableClient.from_connection_string(storage, TABLE, **_CONNECTION) as table:
            with contextlib.suppress(ResourceExistsError):
                table.create_table()  # the function app makes it with its first batch; planning need not wait for that
            match options.action:
                case "plan":
                    planned = plan(table, options.cluster, options.pool, options.node, options.start, options.duration)
                    print(f"planned {_line(planned)}; known within {READ_EVERY_S} s", file=output)
                case "list":
                    _list(table, output)
                case "cancel":
                    return _cancel(table, options.id, output, errors)
    except AzureError as error:
        print(f"maintenance: storage does not answer: {error.message}; see `python -m local status`", file=errors)
        return 1
    return 0


def plan(
    table: TableClient, cluster: str, pool: str | None, node: str | None, start: datetime, duration: timedelta
) -> dict[str, Any]:
    """The entity that was written."""
    entity: dict[str, Any] = {
        "PartitionKey": cluster,
        "RowKey": f"{start:%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}",
        "From": start,
        "Until": start + duration,
    }
    entity |= {name: value for name, value in (("Pool", pool), ("Node", node)) if value}
    table.create_entity(entity)
    return entity


def _list(table: TableClient, output: TextIO) -> None:
    found = sorted(table.list_entities(), key=lambda entity: (_iso(entity, "From"), entity["RowKey"]))
    for entity in found:
        print(_line(entity), file=output)
    if not found:
        print("nothing is planned", file=output)


def _cancel(table: TableClient, identity: str, output: TextIO, errors: TextIO) -> int:
    found = list(table.query_entities("RowKey eq @id", parameters={"id": identity}))
    for entity in found:
        table.delete_entity(entity)
        print(f"cancelled {_line(entity)}; forgotten within {READ_EVERY_S} s", file=output)
    if not found:
        print(f"maintenance: nothing with the id {identity!r} is planned; `list` shows what is", file=errors)
        return 1
    return 0


def _line(entity: Mapping[str, Any]) -> str:
    about = [f"cluster {entity['PartitionKey']}"]
    about += [f"{name.lower()} {entity[name]}" for name in ("Pool", "Node") if entity.get(name)]
    return f"{entity['RowKey']}  {_iso(entity, 'From')} to {_iso(entity, 'Until')}  {', '.join(about)}"


def _iso(entity: Mapping[str, Any], name: str) -> str:
    """A date-time of an entity; whatever else people put there, as it is."""
    value = entity.get(name)
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if isinstance(value, datetime) else str(value)


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise argparse.ArgumentTypeError(
            "must be 1-128 letters, digits, '.', '_' or '-', beginning and ending with a letter or digit, "
            f"got {text!r:.160}"
        )
    return text


def _moment(text: str) -> datetime:
    if text == "now":
        return datetime.now(UTC).replace(microsecond=0)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"must be 'now' or an ISO 8601 time like 2026-03-02T08:00:00Z, got {text!r:.80}"
        ) from None
    if moment.tzinfo is None:
        raise argparse.ArgumentTypeError(f"must say its time zone, like 2026-03-02T08:00:00Z, got {text!r:.80}")
    if not 1970 < moment.year < 9998:
        raise argparse.ArgumentTypeError(f"must be a time from 1971 to 9997, got {text!r:.80}")
    return moment.astimezone(UTC)


def _duration(text: str) -> timedelta:
    duration = parse_timespan(text)
    if not timedelta(0) < duration <= LONGEST:
        raise argparse.ArgumentTypeError(f"must be more than 0 and at most {LONGEST.days}d, got {text!r}")
    return duration
