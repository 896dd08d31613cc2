"""`python -m local maintenance` on a real table: what it plans is what the function app reads."""

import io
from datetime import UTC, datetime

import pytest
from azure.data.tables import TableClient

from functions.adapters.maintenance_table import TableMaintenanceCalendar, window_of
from functions.core.policy.maintenance import MaintenanceWindow
from local.maintenance import TABLE, execute
from local.supervisor.command_line import _parser

HOUR_MS = 3_600_000


@pytest.fixture
def command(azurite):
    """Runs the command on an empty table; (status, output, errors)."""

    def run(*arguments):
        output, errors = io.StringIO(), io.StringIO()
        options = _parser().parse_args(["maintenance", *arguments])
        status = execute(options, storage=azurite.connection_string, output=output, errors=errors)
        return status, output.getvalue(), errors.getvalue()

    with TableClient.from_connection_string(azurite.connection_string, TABLE) as table:
        run("list")  # makes the table
        for entity in list(table.list_entities()):
            table.delete_entity(entity)
        run.table = table
        yield run


def test_what_is_planned_is_what_the_function_app_reads(command):
    now = datetime.now(UTC).replace(microsecond=0)
    command("plan", "--cluster", "blue", "--pool", "user", "--from", now.isoformat(), "--for", "2h")
    command("plan", "--cluster", "green", "--node", "green-1", "--from", now.isoformat(), "--for", "30m")

    complaints = []
    windows = TableMaintenanceCalendar(command.table, complaints.append).windows()

    begin = round(now.timestamp() * 1000)
    assert complaints == []
    assert set(windows) == {
        MaintenanceWindow("blue", begin, begin + 2 * HOUR_MS, pool="user"),
        MaintenanceWindow("green", begin, begin + HOUR_MS // 2, node="green-1"),
    }


def test_what_is_planned_can_be_listed_and_cancelled(command):
    _, told, _ = command("plan", "--cluster", "blue", "--from", "2026-03-02T08:00:00Z", "--for", "2h")
    command("plan", "--cluster", "blue", "--from", "2026-03-01T08:00:00Z", "--for", "1d")
    identity = told.split()[1]

    _, before, _ = command("list")
    cancelled = command("cancel", identity)
    _, after, _ = command("list")

    earlier, later = before.splitlines()
    assert earlier.endswith("2026-03-01T08:00:00Z to 2026-03-02T08:00:00Z  cluster blue")
    assert later == f"{identity}  2026-03-02T08:00:00Z to 2026-03-02T10:00:00Z  cluster blue"
    assert cancelled[0] == 0 and identity in cancelled[1]
    assert after.splitlines() == [earlier]
    assert [window_of(entity).cluster for entity in command.table.list_entities()] == ["blue"]


def test_what_is_not_planned_cannot_be_cancelled(command):
    status, output, errors = command("cancel", "nothing-1")

    assert (status, output) == (1, "")
    assert "'nothing-1'" in errors and "`list`" in errors
    assert command("list") == (0, "nothing is planned\n", "")


def test_what_others_have_written_badly_is_listed_as_it_is(command):
    command.table.create_entity({"PartitionKey": "blue", "RowKey": "by-hand", "From": "soon", "Node": "blue-1"})

    status, output, _ = command("list")

    assert (status, output) == (0, "by-hand  soon to None  cluster blue, node blue-1\n")
