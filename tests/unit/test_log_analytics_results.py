from datetime import timedelta

import duckdb
import orjson
import pytest

from local.log_analytics.results import encode_result, format_timespan


def encode(sql, **limits):
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        result = encode_result(connection.execute(sql), **limits)
    return result, orjson.loads(result.table)


@pytest.mark.parametrize(
    ("sql", "kind", "value"),
    [
        ("1::BIGINT", "long", 1),
        ("1::INTEGER", "int", 1),
        ("sum(1)", "long", 1),
        ("170141183460469231731687303715884105727::HUGEINT", "long", "170141183460469231731687303715884105727"),
        ("1.5::DOUBLE", "real", 1.5),
        ("'NaN'::DOUBLE", "real", "NaN"),
        ("'-Infinity'::DOUBLE", "real", "-Infinity"),
        ("1.50::DECIMAL(4,2)", "decimal", "1.50"),
        ("true", "bool", True),
        ("'text'", "string", "text"),
        ("TIMESTAMP '2026-11-01 01:02:03'", "datetime", "2026-11-01T01:02:03Z"),
        ("TIMESTAMP '2026-11-01 01:02:03.25'", "datetime", "2026-11-01T01:02:03.250000Z"),
        ("INTERVAL 90 SECOND", "timespan", "00:01:30"),
        ("""'{"a":1}'::JSON""", "dynamic", '{"a":1}'),
        ("""'"text"'::JSON""", "dynamic", "text"),
        ("[1, 2]", "dynamic", "[1,2]"),
        ("{'a': TIMESTAMP '2026-11-01'}", "dynamic", '{"a":"2026-11-01T00:00:00Z"}'),
        ("NULL::DOUBLE", "real", None),
        ("NULL::JSON", "dynamic", None),
    ],
)
def test_column_has_the_type_of_the_service_and_its_cell(sql, kind, value):
    _, table = encode(f"SELECT {sql} AS c")

    assert table == {"name": "PrimaryResult", "columns": [{"name": "c", "type": kind}], "rows": [[value]]}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (timedelta(0), "00:00:00"),
        (timedelta(days=1, hours=2, minutes=3, seconds=4, microseconds=500), "1.02:03:04.0005000"),
        (-timedelta(minutes=5), "-00:05:00"),
    ],
)
def test_timespan_is_written_as_kusto_does(value, text):
    assert format_timespan(value) == text


def test_result_without_rows_keeps_its_columns():
    result, table = encode("SELECT 1 AS a WHERE false")

    assert (result.row_count, table["rows"], table["columns"][0]["name"]) == (0, [], "a")


def test_too_many_rows_are_cut_and_said_to_be():
    result, table = encode("SELECT i FROM range(5000) t(i)", row_limit=3000)

    assert [row[0] for row in table["rows"]] == list(range(3000))
    assert result.partial["code"] == "PartialError"
    assert "3000 records" in result.partial["details"][0]["innererror"]["message"]


def test_as_many_rows_as_the_limit_are_a_whole_answer():
    result, table = encode("SELECT i FROM range(3000) t(i)", row_limit=3000)

    assert (len(table["rows"]), result.partial) == (3000, None)


def test_too_many_bytes_are_cut_and_said_to_be():
    result, table = encode("SELECT repeat('x', 100) FROM range(10000)", byte_limit=500_000)

    assert 0 < len(result.table) < 510_000
    assert len(table["rows"]) == result.row_count
    assert "500000 bytes" in result.partial["details"][0]["innererror"]["message"]
