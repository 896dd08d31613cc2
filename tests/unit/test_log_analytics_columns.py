from datetime import datetime, timedelta

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.log_analytics.columns import convert_rows

RECEIVED = datetime(2026, 11, 1, 12)

TYPES = ["string", "int", "long", "real", "boolean", "dynamic", "datetime"]


def convert(value, kind):
    row = convert_rows([{"C": value}], {"C": kind}, RECEIVED)[0]
    return orjson.loads(orjson.dumps(row)).get("C")


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("string", "text", "text"),
        ("string", 1.5, "1.5"),
        ("string", True, "true"),
        ("string", {"a": [1]}, '{"a":[1]}'),
        ("int", 7, 7),
        ("int", "7", 7),
        ("int", 7.9, 7),
        ("int", 2**31, None),
        ("int", "seven", None),
        ("int", [7], None),
        ("long", 2**31, 2**31),
        ("long", 2**63, None),
        ("long", -(2**63), -(2**63)),
        ("long", "1_000", None),
        ("long", 1e300, None),
        ("real", "1.5", 1.5),
        ("real", "NaN", None),
        ("real", "9" * 400, None),
        ("real", {}, None),
        ("boolean", "TRUE", True),
        ("boolean", 0, False),
        ("boolean", "yes", None),
        ("boolean", [], None),
        ("dynamic", {"a": [1, None]}, {"a": [1, None]}),
        ("dynamic", "text", "text"),
        ("datetime", "2026-11-01T02:00:00+02:00", "2026-11-01T00:00:00"),
        ("datetime", "2026-11-01T00:00:00.1234567Z", "2026-11-01T00:00:00.123456"),
        ("datetime", "2026-11-01", "2026-11-01T00:00:00"),
        ("datetime", "0001-01-01T00:00:00+02:00", None),
        ("datetime", "yesterday", None),
        ("datetime", 1700000000, None),
    ],
)
def test_value_becomes_the_declared_type_or_null(kind, value, expected):
    assert convert(value, kind) == expected


def test_undeclared_column_is_dropped():
    rows = convert_rows([{"Known": "a", "Other": "b"}], {"Known": "string"}, RECEIVED)

    assert rows == [{"Known": "a"}]


def test_long_text_is_cut_at_64_kb_between_characters():
    text = "é" * 40_000

    kept = convert_rows([{"C": text + "x"}], {"C": "string"}, RECEIVED)[0]["C"]

    assert kept == text[: 32 * 1024]


def test_long_dynamic_becomes_a_text_of_64_kb():
    kept = convert({"a": ["x" * 70_000]}, "dynamic")

    assert kept == ('{"a":["' + "x" * 70_000)[: 64 * 1024]


@pytest.mark.parametrize(
    ("offset", "kept"),
    [
        (-timedelta(days=2), True),
        (-timedelta(days=2, microseconds=1), False),
        (timedelta(days=1), True),
        (timedelta(days=1, microseconds=1), False),
    ],
)
def test_time_generated_is_kept_only_in_range(offset, kept):
    moment = RECEIVED + offset
    columns = {"TimeGenerated": "datetime"}

    row = convert_rows([{"TimeGenerated": moment.isoformat()}], columns, RECEIVED)[0]

    assert row == ({"TimeGenerated": moment} if kept else {})


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=5), children, max_size=3),
    max_leaves=8,
)


@given(value=json_values, kind=st.sampled_from(TYPES))
def test_whatever_is_posted_converts_to_something_that_can_be_written(value, kind):
    posted = orjson.loads(orjson.dumps(value))

    rows = convert_rows([{"C": posted}], {"C": kind}, RECEIVED)

    assert orjson.dumps(rows)
