import argparse
import io
import json
from datetime import UTC, datetime, timedelta

import pytest

from local.kql import Answer, parse_timespan, print_csv, print_json, print_table

ANSWER = Answer(
    columns=["Node", "Count", "Share", "When", "Bag", "Ok", "Age"],
    types=["string", "long", "real", "datetime", "dynamic", "bool", "timespan"],
    rows=[
        ["a", 12, 0.123456789, datetime(2026, 11, 1, 1, 2, 3, 456, UTC), '{"k": [1, "é"]}', True, "00:05:00"],
        ["None [red]", None, None, None, "plain", False, "None"],
    ],
)


def printed(printer, answer=ANSWER, width=None, monkeypatch=None):
    output = io.StringIO()
    if monkeypatch:
        monkeypatch.setenv("COLUMNS", str(width))
    printer(answer, output)
    return output.getvalue()


def test_table_aligns_numbers_right_and_shortens_times_and_json(monkeypatch):
    text = printed(print_table, width=140, monkeypatch=monkeypatch)

    assert "│    12 │" in text
    assert "0.123457" in text
    assert "2026-11-01T01:02:03Z" in text
    assert '{"k":[1,"é"]}' in text
    assert "None [red]" in text
    assert text.rstrip().endswith("2 rows")


def test_table_never_exceeds_the_width(monkeypatch):
    long = Answer(["Text", "Number"], ["string", "long"], [["x" * 500, 1]])

    text = printed(print_table, long, 60, monkeypatch)

    assert max(map(len, text.splitlines())) <= 60
    assert "…" in text
    assert "1 row\n" in text


def test_answer_with_more_columns_than_fit_is_printed_row_by_row(monkeypatch):
    wide = Answer([f"Column{i}" for i in range(40)], ["long"] * 40, [list(range(40))])

    text = printed(print_table, wide, 80, monkeypatch)

    assert "row 1" in text
    assert "Column39  39" in text


def test_json_has_types_and_dynamic_columns_as_json():
    rows = json.loads(printed(print_json))

    assert rows[0]["Bag"] == {"k": [1, "é"]}
    assert rows[0]["When"] == "2026-11-01T01:02:03.000456Z"
    assert rows[1] == {
        "Node": "None [red]",
        "Count": None,
        "Share": None,
        "When": None,
        "Bag": "plain",
        "Ok": False,
        "Age": None,
    }


def test_csv_has_a_header_and_empty_fields_for_null():
    lines = printed(print_csv).splitlines()

    assert lines[0] == "Node,Count,Share,When,Bag,Ok,Age"
    assert lines[2] == "None [red],,,,plain,False,"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("30m", timedelta(minutes=30)),
        ("4h", timedelta(hours=4)),
        ("2d", timedelta(days=2)),
        ("5s", timedelta(seconds=5)),
    ],
)
def test_timespan_argument(text, expected):
    assert parse_timespan(text) == expected


@pytest.mark.parametrize("text", ["", "1", "h", "1w", "-1h", "1.5h"])
def test_wrong_timespan_argument_says_what_would_be_right(text):
    with pytest.raises(argparse.ArgumentTypeError, match="30m"):
        parse_timespan(text)
