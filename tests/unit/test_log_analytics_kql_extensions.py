"""A right answer for each row that local/log_analytics/kql_extensions.py adds to duckdb-kql."""

from datetime import datetime, timedelta

import duckdb
import pytest

from local.log_analytics.errors import QueryError
from local.log_analytics.kql_engine import KqlEngine
from local.log_analytics.kql_extensions import create_macros
from local.log_analytics.schema import Table

ENGINE_TABLES = {"T": Table("T", {"TimeGenerated": "datetime", "n": "long", "x": "real", "d": "dynamic"})}
START = datetime(2026, 11, 1)


@pytest.fixture
def ask():
    engine = KqlEngine(ENGINE_TABLES, {})
    with duckdb.connect(config={"threads": 2}) as connection:
        connection.execute("SET GLOBAL TimeZone = 'UTC'")
        create_macros(connection)
        connection.execute(
            "CREATE TABLE T AS SELECT TIMESTAMP '2026-11-01' + INTERVAL 1 MINUTE * i AS TimeGenerated, "
            "i AS n, i * 1.0::DOUBLE AS x, json_object('k' || i, i) AS d FROM range(10) t(i)"
        )

        def ask(query):
            statement = engine.translate(query)
            return connection.execute(statement.sql, statement.bind(START) or None).fetchall()

        ask.connection = connection
        yield ask


def test_bin_of_a_timespan_is_a_timespan(ask):
    query = "T | extend age = datetime(2026-11-01 00:10) - TimeGenerated | summarize n = count() by bin(age, 5m)"

    assert sorted(ask(query)) == [(timedelta(0), 4), (timedelta(minutes=5), 5), (timedelta(minutes=10), 1)]


def test_bin_of_a_negative_timespan_goes_down(ask):
    assert ask("print bin(-1m, 5m)") == [(timedelta(minutes=-5),)]


def test_bin_of_a_datetime_counts_from_the_epoch(ask):
    assert ask("T | where n in (4, 5) | project bin(TimeGenerated, 7d), floor(TimeGenerated, 5m)") == [
        (datetime(2026, 10, 29), START),
        (datetime(2026, 10, 29), START + timedelta(minutes=5)),
    ]


def test_bin_of_a_number_is_as_before(ask):
    assert ask("T | where n == 7 | project bin(n, 5), bin(x, 2.5), bin(-n, 5)") == [(5, 5.0, -10)]


def test_bin_of_a_text_by_a_timespan_is_refused(ask):
    with pytest.raises(duckdb.BinderException):
        ask('T | project bin(strcat("a", "b"), 5m)')


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("bin_at(6.5, 2.5, 7.0)", 4.5),
        ("bin_at(7, 5, 3)", 3),
        ("bin_at(2, 5, 3)", -2),
        ("bin_at(datetime(2026-11-01 00:07), 5m, datetime(2026-11-01 00:03))", datetime(2026, 11, 1, 0, 3)),
        ("bin_at(datetime(2026-11-01 00:02), 5m, datetime(2026-11-01 00:03))", datetime(2026, 10, 31, 23, 58)),
        ("bin_at(50m, 1h, 30m)", timedelta(minutes=30)),
    ],
)
def test_bin_at_counts_from_its_origin(ask, expression, expected):
    assert ask(f"print {expression}") == [(expected,)]


def test_prev_and_next_look_along_the_sorted_rows(ask):
    rows = ask(
        "T | sort by n desc | extend a = prev(n), b = next(n), c = prev(n, 2, -1), d = next(n, 2)"
        " | project n, a, b, c, d"
    )

    assert rows[0] == (9, None, 8, -1, 7)
    assert rows[5] == (4, 5, 3, 6, 2)
    assert rows[-1] == (0, 1, None, 2, None)


def test_row_number_counts_along_the_sorted_rows_from_its_start(ask):
    rows = ask("T | sort by n desc | serialize r = row_number() | extend s = row_number(100) | project n, r, s")

    assert rows[0] == (9, 1, 100)
    assert rows[-1] == (0, 10, 109)


def test_order_holds_over_more_rows_than_one_thread_takes(ask):
    ask.connection.execute("INSERT INTO T (n) SELECT hash(i) % 1000000007 FROM range(300000) t(i)")

    broken = ask("T | sort by n asc | extend before = prev(n) | where before > n | count")

    assert broken == [(0,)]


@pytest.mark.parametrize("call", ["prev()", "prev(n, 1, 2, 3)", "row_number(1, 2)", "bin_at(n, 1)"])
def test_wrong_number_of_arguments_is_refused(ask, call):
    with pytest.raises(QueryError):
        ask(f"T | extend a = {call}")


def test_percentiles_gives_a_column_each_named_as_kusto_does(ask):
    rows = ask("T | summarize percentiles(x, 50, 95.5), n = count() by odd = n % 2 | order by odd asc")

    assert [column[0] for column in ask.connection.description] == ["odd", "percentile_x_50", "percentile_x_95_5", "n"]
    assert rows == [(0, 4.0, 8.0, 5), (1, 5.0, 9.0, 5)]


@pytest.mark.parametrize(
    "call", ["percentiles(x + 1, 50)", "p = percentiles(x, 50)", "percentiles(x)", "percentiles(x, n)"]
)
def test_percentiles_it_cannot_name_are_refused(ask, call):
    with pytest.raises(QueryError) as refused:
        ask(f"T | summarize {call}")

    assert "percentiles" in refused.value.inner[1]


def test_make_bag_merges_the_properties(ask):
    assert ask("T | where n < 3 | summarize make_bag(d)") == [('{"k0":0,"k1":1,"k2":2}',)]
    assert ask("T | where n > 100 | summarize make_bag(d)") == [("{}",)]
