from datetime import datetime, timedelta

import duckdb
import pytest

from local.log_analytics.columns import convert_rows
from local.log_analytics.kql_engine import KqlEngine
from local.log_analytics.schema import Rule, SchemaError, Stream, Table
from local.log_analytics.store import LogStore, StoreFull
from local.log_analytics.write_ahead_log import Generation

RECEIVED = datetime(2026, 11, 1, 12)
COLUMNS = {"TimeGenerated": "datetime", "Node": "string", "Value": "long", "Bag": "dynamic"}
TABLES = {"T_CL": Table("T_CL", COLUMNS)}


def stream_of(transform="source", columns=COLUMNS):
    return Stream("Custom-T_CL", columns, transform, "T_CL")


def open_store(folder, stream=None, tables=TABLES):
    stream = stream or stream_of()
    engine = KqlEngine(tables, {})
    return LogStore(folder, tables, Rule("dcr", {stream.name: stream}), threads=1, transforms=engine.transform)


def post(store, *rows, stream=None):
    stream = stream or stream_of()
    store.append(stream, convert_rows(rows, stream.columns, RECEIVED), RECEIVED)


def rows_of(store, columns="Node, Value"):
    with store.cursor() as cursor:
        return cursor.execute(f"SELECT {columns} FROM T_CL ORDER BY ALL").fetchall()


def die(store):
    """Leave the store as SIGKILL would: nothing flushed, nothing applied."""
    store._connection.close()


def test_appended_rows_are_there_after_apply(tmp_path):
    store = open_store(tmp_path)

    post(store, {"Node": "a", "Value": 1, "Bag": {"k": [1, "é\u0000"]}}, {"Node": 'b"\n', "Value": 2})
    waiting = store.pending_bytes
    store.apply_pending()

    assert waiting > 0
    assert store.pending_bytes == 0
    assert rows_of(store, "Node, Value, Bag, TimeGenerated") == [
        ("a", 1, '{"k":[1,"é\\u0000"]}', RECEIVED),
        ('b"\n', 2, None, RECEIVED),
    ]
    store.close()


def test_posted_time_in_range_is_kept(tmp_path):
    store = open_store(tmp_path)
    moment = RECEIVED - timedelta(hours=1)

    post(store, {"TimeGenerated": moment.isoformat()})
    store.apply_pending()

    assert rows_of(store, "TimeGenerated") == [(moment,)]
    store.close()


def test_rows_acknowledged_before_a_crash_are_there_after_it(tmp_path):
    store = open_store(tmp_path)
    post(store, {"Node": "a"})
    store.apply_pending()
    post(store, {"Node": "b"})
    die(store)

    store = open_store(tmp_path)

    assert rows_of(store) == [("a", None), ("b", None)]
    store.close()


def test_crash_between_commit_and_removal_does_not_apply_rows_twice(tmp_path, monkeypatch):
    store = open_store(tmp_path)
    post(store, {"Node": "a"})
    monkeypatch.setattr(Generation, "remove", lambda generation: None)
    store.apply_pending()
    monkeypatch.undo()
    die(store)
    assert list(tmp_path.glob("write-ahead-log/*/*.ndjson"))

    store = open_store(tmp_path)

    assert rows_of(store) == [("a", None)]
    assert not list(tmp_path.glob("write-ahead-log/*"))
    store.close()


def test_failed_apply_loses_nothing_and_the_next_one_stores_once(tmp_path, monkeypatch):
    store = open_store(tmp_path)
    post(store, {"Node": "a"})

    def fail(*_):
        raise duckdb.IOException("disk full")

    monkeypatch.setattr(store, "_insert", fail)
    with pytest.raises(duckdb.IOException):
        store.apply_pending()
    pending = store.pending_bytes
    monkeypatch.undo()
    post(store, {"Node": "b"})
    store.apply_pending()

    assert pending > 0
    assert rows_of(store) == [("a", None), ("b", None)]
    store.close()


def test_rows_are_refused_while_too_many_wait(tmp_path, monkeypatch):
    store = open_store(tmp_path)
    monkeypatch.setattr("local.log_analytics.store.PENDING_LIMIT_BYTES", 10)
    post(store, {"Node": "a" * 20})

    with pytest.raises(StoreFull, match="wait to be applied"):
        post(store, {"Node": "b"})

    store.apply_pending()
    post(store, {"Node": "c"})
    store.close()


def test_new_column_of_the_schema_is_added_to_existing_data(tmp_path):
    store = open_store(tmp_path)
    post(store, {"Node": "a"})
    store.close()

    wider = {"T_CL": Table("T_CL", COLUMNS | {"More": "real"})}
    store = open_store(tmp_path, stream_of(columns=COLUMNS | {"More": "real"}), wider)
    post(store, {"Node": "b", "More": 1.5}, stream=stream_of(columns=COLUMNS | {"More": "real"}))
    store.apply_pending()

    assert rows_of(store, "Node, More") == [("a", None), ("b", 1.5)]
    store.close()


def test_changed_column_type_is_refused(tmp_path):
    open_store(tmp_path).close()

    with pytest.raises(SchemaError, match="Value of T_CL is stored as BIGINT"):
        open_store(tmp_path, tables={"T_CL": Table("T_CL", COLUMNS | {"Value": "string"})})


RAW = {"Name": "string", "Number": "string"}
TRANSFORM = "source | where Name != 'skip' | project Node = strcat('n-', Name), Value = Number, Gone = 1"


def test_transformation_shapes_the_rows_and_what_does_not_convert_is_null(tmp_path):
    stream = stream_of(TRANSFORM, RAW)
    store = open_store(tmp_path, stream)

    post(store, {"Name": "a", "Number": "7"}, {"Name": "skip"}, {"Name": "b", "Number": "x"}, stream=stream)
    store.apply_pending()

    assert rows_of(store, "Node, Value, TimeGenerated") == [("n-a", 7, RECEIVED), ("n-b", None, RECEIVED)]
    store.close()


def test_time_made_by_a_transformation_is_bounded_too(tmp_path):
    columns = {"When": "datetime", "Node": "string"}
    stream = stream_of("source | project Node, TimeGenerated = When", columns)
    store = open_store(tmp_path, stream)
    recent = RECEIVED - timedelta(hours=1)

    post(store, {"Node": "a", "When": recent.isoformat()}, {"Node": "b", "When": "2020-01-01"}, stream=stream)
    store.apply_pending()

    assert rows_of(store, "Node, TimeGenerated") == [("a", recent), ("b", RECEIVED)]
    store.close()


def test_rows_a_transformation_cannot_take_do_not_block_the_others(tmp_path, capsys):
    failing = stream_of("source | extend Value = toscalar(source | project Value)")
    good = Stream("Custom-Good", COLUMNS, "source", "T_CL")
    engine = KqlEngine(TABLES, {})
    rule = Rule("dcr", {failing.name: failing, good.name: good})
    store = LogStore(tmp_path, TABLES, rule, threads=1, transforms=engine.transform)
    store._transforms[failing.name] = ("SELECT error('boom') AS Node FROM source", {})

    post(store, {"Node": "bad"}, stream=failing)
    post(store, {"Node": "good"}, stream=good)
    store.apply_pending()

    assert rows_of(store) == [("good", None)]
    assert "boom" in capsys.readouterr().err
    store.close()


@pytest.mark.parametrize(
    "transform", ["source | wherex", "source | where Nope > 1", "Other | take 1", "source | where now() > When"]
)
def test_wrong_transformation_is_refused_at_the_start(tmp_path, transform):
    with pytest.raises(SchemaError, match="transformKql of Custom-T_CL"):
        open_store(tmp_path, stream_of(transform, {"When": "datetime"}))


def test_queries_cannot_read_files_and_settings_cannot_be_changed(tmp_path):
    store = open_store(tmp_path / "data")
    secret = tmp_path / "secret.csv"
    secret.write_text("a\n1\n")

    with store.cursor() as cursor:
        with pytest.raises(duckdb.Error, match=r"does not exist|disabled by configuration"):
            cursor.execute(f"SELECT * FROM '{secret}'")
        with pytest.raises(duckdb.Error, match="disabled by configuration"):
            cursor.execute(f"SELECT * FROM read_csv('{secret}')")
        with pytest.raises(duckdb.Error, match="locked"):
            cursor.execute("SET enable_external_access = true")
    store.close()
