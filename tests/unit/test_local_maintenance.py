"""`python -m local maintenance`: what it refuses. What it writes is in tests/functional/test_maintenance_command.py."""

import io
from datetime import UTC, datetime, timedelta

import pytest

from functions.bindings.services import MAINTENANCE_TABLE
from local.azurite import ACCOUNT, ACCOUNT_KEY
from local.maintenance import TABLE, execute
from local.supervisor.command_line import _parser
from local.supervisor.ports import free_port


def parsed(*arguments):
    return _parser().parse_args(["maintenance", *arguments])


def test_the_table_is_the_one_that_the_function_app_reads():
    assert TABLE == MAINTENANCE_TABLE


def test_a_time_begins_now_unless_it_says_otherwise():
    now = parsed("plan", "--cluster", "blue", "--for", "2h")
    later = parsed("plan", "--cluster", "blue", "--for", "90m", "--from", "2026-03-02T09:00:00+01:00")

    assert abs(now.start - datetime.now(UTC)) < timedelta(minutes=1)
    assert (now.duration, now.pool, now.node) == (timedelta(hours=2), None, None)
    assert (later.start, later.duration) == (datetime(2026, 3, 2, 8, tzinfo=UTC), timedelta(minutes=90))


def test_the_stacks_directory_may_be_given_before_and_after_the_action(tmp_path):
    assert parsed("--data", str(tmp_path), "list").data == tmp_path
    assert parsed("list", "--data", str(tmp_path)).data == tmp_path


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--for", "2h"], "required: --cluster"),
        (["--cluster", "blue"], "required: --for"),
        (["--cluster", "blue/green", "--for", "2h"], "must be 1-128 letters, digits"),
        (["--cluster", "blue", "--pool", "", "--for", "2h"], "must be 1-128 letters, digits"),
        (["--cluster", "blue", "--node", "a#1", "--for", "2h"], "got 'a#1'"),
        (["--cluster", "blue", "--for", "two hours"], "a number and one of s, m, h, d"),
        (["--cluster", "blue", "--for", "0h"], "more than 0 and at most 90d"),
        (["--cluster", "blue", "--for", "91d"], "more than 0 and at most 90d"),
        (["--cluster", "blue", "--for", "2h", "--from", "tomorrow"], "must be 'now' or an ISO 8601 time"),
        (["--cluster", "blue", "--for", "2h", "--from", "2026-03-02T08:00"], "must say its time zone"),
        (["--cluster", "blue", "--for", "2h", "--from", "0001-01-01T00:00:00Z"], "a time from 1971 to 9997"),
    ],
)
def test_what_cannot_be_planned_is_refused_with_what_would_be_right(arguments, told, capsys):
    with pytest.raises(SystemExit) as ended:
        parsed("plan", *arguments)

    assert ended.value.code == 2
    assert told in capsys.readouterr().err


def test_storage_that_does_not_answer_is_told_in_one_line():
    errors = io.StringIO()
    nowhere = (
        f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={ACCOUNT_KEY};"
        f"TableEndpoint=http://127.0.0.1:{free_port()}/{ACCOUNT};"
    )

    status = execute(parsed("list"), storage=nowhere, errors=errors)

    assert status == 1
    assert errors.getvalue().startswith("maintenance: storage does not answer: ")
    assert errors.getvalue().count("\n") == 1
