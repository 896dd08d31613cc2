"""Every KQL file is legal in Azure, says Microsoft's parser, and runs on the local stand-in."""

import json
import subprocess
from pathlib import Path

import duckdb
import pytest

from local.log_analytics.kql_engine import KqlEngine, load_functions
from local.log_analytics.kql_extensions import create_macros
from local.log_analytics.schema import DUCKDB_TYPES, load_tables

ROOT = Path(__file__).parents[2]
QUERIES = ROOT / "infra/queries"
FUNCTIONS = QUERIES / "functions"
TABLES = ROOT / "infra/log_analytics/tables.json"
ASKED_BY_THE_APP = ROOT / "functions/queries"
EVERY_FILE = sorted([*QUERIES.rglob("*.kql"), *ASKED_BY_THE_APP.glob("*.kql")])

COLUMNS = {"TimeGenerated": "datetime", "Node": "string", "Revision": "long", "Cpu": "real", "Bag": "dynamic"}


def lint(tables, functions, *files):
    # A process this short is over before optimised code pays off.
    command = ["node", "--no-opt", "tools/kql_lint.js", "--tables", tables, "--functions", functions, *files]
    return subprocess.run(map(str, command), cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)


def test_every_query_and_function_is_legal_in_azure():
    assert len(EVERY_FILE) >= 4

    finished = lint(TABLES, FUNCTIONS, *EVERY_FILE)

    assert finished.returncode == 0, finished.stdout + finished.stderr


def test_every_query_and_function_runs_on_the_local_engine():
    tables = load_tables(TABLES)
    engine = KqlEngine(tables, load_functions(FUNCTIONS))
    with duckdb.connect() as connection:
        create_macros(connection)
        for table in tables.values():
            columns = ", ".join(f'"{name}" {DUCKDB_TYPES[kind]}' for name, kind in table.columns.items())
            connection.execute(f'CREATE TABLE "{table.name}" ({columns})')
        for path in EVERY_FILE:
            statement = engine.translate(path.read_text())
            connection.execute(statement.sql, dict(statement.parameters) or None)


@pytest.fixture(scope="module")
def findings(tmp_path_factory):
    """Lint one file per mistake, all in one process, and give the findings by file name."""
    folder = tmp_path_factory.mktemp("kql")
    (folder / "functions").mkdir()
    (folder / "functions" / "Things.kql").write_text("// docs\nThings_CL\n| summarize arg_max(Revision, *) by Node")
    (folder / "tables.json").write_text(json.dumps({"tables": {"Things_CL": COLUMNS, "Other_CL": COLUMNS}}))
    for name, query in MISTAKES.items():
        (folder / f"{name}.kql").write_text(query)

    finished = lint(folder / "tables.json", folder / "functions", *(folder / f"{name}.kql" for name in MISTAKES))

    assert finished.returncode == 1, finished.stderr
    return findings_by_file(finished.stdout, MISTAKES)


def findings_by_file(output, names):
    found = {name: [] for name in names}
    for line in output.splitlines()[:-1]:
        path, _, finding = line.partition(".kql:")
        found[Path(path).name].append(finding)
    return found


MISTAKES = {
    "clean": 'Things()\n| where TimeGenerated > ago(1h) and Node == "make-series" // search\n| project Node, Cpu, Bag',
    "raw_table_without_function": "Other_CL | take 1",
    "unknown_column": "Things()\n| where Nope > 1",
    "unknown_table": "Nope_CL | take 1",
    "unknown_function": "Nope() | take 1",
    "syntax": "Things() | wherex Node",
    "type": 'Things() | where Cpu > "x"',
    "raw_table": "Things_CL | take 1",
    "make_series": "Things() | make-series avg(Cpu) on TimeGenerated step 1m",
    "plugin": "Things() | evaluate bag_unpack(Bag)",
    "search": 'search in (Things_CL) "x"',
    "series": "print series_stats(dynamic([1, 2]))",
}


@pytest.mark.parametrize("name", ["clean", "raw_table_without_function"])
def test_good_query_has_no_findings(findings, name):
    assert findings[name] == []


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("unknown_column", "2:9: KS142: The name 'Nope'"),
        ("unknown_table", "1:1: KS204: The name 'Nope_CL'"),
        ("unknown_function", "'Nope'"),
        ("syntax", "Query operator expected"),
        ("type", "not defined for the operand types real and string"),
        ("raw_table", "1:1: LOCAL: read Things() instead of Things_CL"),
        ("make_series", "1:12: LOCAL: 'make-series' does not run"),
        ("plugin", "LOCAL: 'evaluate' does not run"),
        ("search", "LOCAL: 'search' does not run"),
        ("series", "LOCAL: 'series_stats' does not run"),
    ],
)
def test_mistake_is_found_with_its_place(findings, name, expected):
    assert expected in "\n".join(findings[name])


ALERTS = {
    "good": "Things_CL | where TimeGenerated > ago(5m) | count",
    "span": "let span = 5m; Things_CL | where TimeGenerated > ago(span) | count",
    "aggregated": "Things_CL | summarize AggregatedValue = count()",
}


@pytest.fixture(scope="module")
def alert_findings(tmp_path_factory):
    folder = tmp_path_factory.mktemp("alerts")
    (folder / "tables.json").write_text(json.dumps({"tables": {"Things_CL": COLUMNS}}))
    (folder / "functions").mkdir()
    (folder / "functions" / "Things.kql").write_text("Things_CL")
    for name, query in ALERTS.items():
        (folder / f"{name}.kql").write_text(query)

    files = [folder / f"{name}.kql" for name in ALERTS]
    finished = lint(folder / "tables.json", folder / "functions", "--alert", *files)

    assert finished.returncode == 1, finished.stderr
    return findings_by_file(finished.stdout, ALERTS)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("good", []),
        ("span", ["1:50: ALERT: ago() takes a literal in alert rules"]),
        ("aggregated", ["1:23: ALERT: 'AggregatedValue' is refused in alert rules"]),
    ],
)
def test_alert_queries_have_rules_of_their_own(alert_findings, name, expected):
    assert alert_findings[name] == expected


@pytest.mark.parametrize("arguments", [[], ["--tables", "x"], ["--unknown"]])
def test_wrong_usage_is_told_from_findings(arguments):
    finished = subprocess.run(
        ["node", "tools/kql_lint.js", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )

    assert finished.returncode == 2
    assert "usage:" in finished.stderr
