from datetime import datetime

import duckdb
import pytest

from local.log_analytics.errors import QueryError
from local.log_analytics.kql_engine import KqlEngine, load_functions
from local.log_analytics.kql_extensions import create_macros
from local.log_analytics.schema import SchemaError, Table

NOW = datetime(2026, 11, 1, 1)
TABLES = {"T_CL": Table("T_CL", {"TimeGenerated": "datetime", "Node": "string", "Revision": "long", "Bag": "dynamic"})}
FUNCTIONS = {
    "Latest": "// the highest revision\nT_CL\n| summarize arg_max(Revision, *) by Node",
    "Busy": "Latest()\n| where Revision > 1 // a comment at the end",
    "Chicken": "Egg()",
    "Egg": "Chicken()",
}


@pytest.fixture(scope="module")
def engine():
    return KqlEngine(TABLES, FUNCTIONS)


@pytest.fixture
def connection():
    with duckdb.connect() as connection:
        connection.execute("SET GLOBAL TimeZone = 'UTC'")
        create_macros(connection)
        connection.execute("CREATE TABLE T_CL (TimeGenerated TIMESTAMP, Node VARCHAR, Revision BIGINT, Bag JSON)")
        connection.execute(
            """INSERT INTO T_CL VALUES ('2026-11-01 00:00', 'a', 1, '{"v": 1}'),
                                       ('2026-11-01 00:10', 'a', 2, '{"v": 2}'),
                                       ('2026-11-01 00:59', 'b', 1, '{"v": 3}')"""
        )
        yield connection


def run(engine, connection, query, now=NOW):
    statement = engine.translate(query)
    return connection.execute(statement.sql, statement.bind(now) or None).fetchall()


def test_saved_function_is_expanded_where_it_is_called(engine, connection):
    assert run(engine, connection, "Latest() | project Node, Revision | order by Node asc") == [("a", 2), ("b", 1)]


def test_saved_function_may_call_another(engine, connection):
    assert run(engine, connection, "Busy() | project Node") == [("a",)]


def test_functions_that_call_each_other_in_a_circle_are_refused(engine):
    with pytest.raises(QueryError) as refused:
        engine.translate("Chicken()")

    assert "recursive" in refused.value.inner[1]


def test_arg_max_gives_the_keys_first_and_then_every_other_column(engine, connection):
    run(engine, connection, "Latest()")

    assert [column[0] for column in connection.description] == ["Node", "Revision", "TimeGenerated", "Bag"]


def test_now_is_the_time_of_the_run_not_of_the_translation(engine, connection):
    query = "T_CL | where TimeGenerated > ago(5m) | project Node"

    assert run(engine, connection, query) == [("b",)]
    assert run(engine, connection, query, now=datetime(2026, 11, 1, 2)) == []


def test_names_of_a_let_statement_may_hide_tables(engine, connection):
    assert run(engine, connection, "let sqlite_master = T_CL; sqlite_master | count") == [(3,)]


@pytest.mark.parametrize(
    ("query", "kind", "message"),
    [
        (".show tables", "SyntaxError", "management commands"),
        ("  // innocent\n\n .drop table T_CL", "SyntaxError", "management commands"),
        (".set-or-append T_CL <| T_CL", "SyntaxError", "management commands"),
        ("T_CL | wherex Node", "SyntaxError", "could not parse"),
        ("T_CL |", "SyntaxError", "could not parse"),
        ("Other_CL | take 1", "SemanticError", "Failed to resolve table or column expression named 'Other_CL'"),
        ("union T_CL, (Other_CL)", "SemanticError", "Other_CL"),
        ("T_CL | where Node in (Other_CL | project Node)", "SemanticError", "Other_CL"),
        ("T_CL | join kind=inner (Other_CL) on Node", "SemanticError", "Other_CL"),
        ("print toscalar(Other_CL | count)", "SemanticError", "Other_CL"),
        ("sqlite_master", "SemanticError", "sqlite_master"),
        ("duckdb_settings", "SemanticError", "duckdb_settings"),
        ("['/etc/passwd']", "SemanticError", "/etc/passwd"),
        ("['workspace.internal.applied']", "SemanticError", "internal"),
        ("database('internal').applied", "SemanticError", "applied"),
        ("read_csv('/etc/passwd')", "SemanticError", "read_csv"),
        ("T_CL | extend x = read_text('/etc/passwd')", "SemanticError", "read_text"),
        ("T_CL | extend x = getenv('HOME')", "SemanticError", "getenv"),
        ("externaldata(a:string)['https://example.org/a.csv']", "SemanticError", "unsupported"),
        ("T_CL | make-series count() on TimeGenerated step 1m", "SemanticError", "unsupported"),
        ("Unknown()", "SemanticError", "Unknown"),
        ("declare query_parameters(n:long); T_CL | where Revision > n", "SemanticError", "without a value: n"),
        ("(" * 5000, "SyntaxError", ""),
    ],
)
def test_query_that_is_wrong_or_not_allowed_is_refused(engine, query, kind, message):
    with pytest.raises(QueryError) as refused:
        engine.translate(query)

    assert refused.value.status == 400
    assert refused.value.inner[0] == kind
    assert message in refused.value.inner[1]


def test_syntax_error_does_not_list_the_whole_language(engine):
    with pytest.raises(QueryError) as refused:
        engine.translate("| take 1")

    assert len(refused.value.inner[1]) < 200


def test_text_in_a_query_stays_text(engine, connection):
    query = """T_CL | where Node == "a' OR 1=1; DROP TABLE T_CL; --" | count"""

    assert run(engine, connection, query) == [(0,)]


def test_functions_are_read_from_a_folder_by_file_name(tmp_path):
    (tmp_path / "Latest.kql").write_text("T_CL | take 1")
    (tmp_path / "README.md").write_text("not one")

    assert load_functions(tmp_path) == {"Latest": "T_CL | take 1"}


def test_function_file_with_an_impossible_name_is_refused(tmp_path):
    (tmp_path / "not-a-name.kql").write_text("T_CL")

    with pytest.raises(SchemaError, match="not-a-name"):
        load_functions(tmp_path)


def test_function_that_is_not_kql_is_refused_at_the_start():
    with pytest.raises(SchemaError, match="saved function"):
        KqlEngine(TABLES, {"Broken": "T_CL | | take"})
