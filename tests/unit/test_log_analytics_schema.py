import json

import pytest

from local.log_analytics.schema import SchemaError, load_rule, load_tables

TABLES = {"tables": {"T_CL": {"TimeGenerated": "datetime", "Node": "string"}}}


def rule(**changes):
    flow = {"streams": ["Custom-T_CL"], "transformKql": "source", "outputStream": "Custom-T_CL"}
    columns = [{"name": "TimeGenerated", "type": "datetime"}, {"name": "Node", "type": "string"}]
    properties = {
        "immutableId": "dcr-1",
        "streamDeclarations": {"Custom-T_CL": {"columns": columns}},
        "dataFlows": [flow],
    }
    return {"properties": properties | changes}


def write(path, document):
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return path


def test_tables_and_rule_are_read(tmp_path):
    tables = load_tables(write(tmp_path / "tables.json", TABLES))
    loaded = load_rule(write(tmp_path / "dcr.json", rule()), tables)

    stream = loaded.streams["Custom-T_CL"]
    assert loaded.immutable_id == "dcr-1"
    assert (stream.table, stream.passes_through) == ("T_CL", True)
    assert stream.columns == {"TimeGenerated": "datetime", "Node": "string"}


@pytest.mark.parametrize(
    ("document", "complaint"),
    [
        ("{", "not JSON"),
        ({}, "'tables' must be a dict"),
        ({"tables": {}}, "no tables"),
        ({"tables": {'T"; DROP': {"TimeGenerated": "datetime"}}}, "table name"),
        ({"tables": {"T": {"Node": "string"}}}, "needs the column TimeGenerated"),
        ({"tables": {"T": {"TimeGenerated": "datetime", "A": "text"}}}, "type 'text'"),
        ({"tables": {"T": {"TimeGenerated": "datetime", 'a"b': "string"}}}, "column name"),
        ({"tables": {"T": {"TimeGenerated": "datetime", "a": "string", "A": "string"}}}, "case only"),
    ],
)
def test_wrong_tables_file_is_refused_with_its_reason(tmp_path, document, complaint):
    with pytest.raises(SchemaError, match=complaint):
        load_tables(write(tmp_path / "tables.json", document))


def test_absent_file_is_refused_by_name(tmp_path):
    with pytest.raises(SchemaError, match=r"gone\.json"):
        load_tables(tmp_path / "gone.json")


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"immutableId": 1}, "immutableId"),
        ({"streamDeclarations": {}}, "not in streamDeclarations"),
        ({"dataFlows": [{"streams": ["Custom-T_CL"], "outputStream": "Custom-Other_CL"}]}, "names no table"),
        ({"dataFlows": [{"streams": ["../T"], "outputStream": "Custom-T_CL"}]}, "stream name"),
        ({"dataFlows": [{"streams": ["Custom-T_CL"] * 2, "outputStream": "Custom-T_CL"}]}, "two data flows"),
    ],
)
def test_wrong_rule_is_refused_with_its_reason(tmp_path, changes, complaint):
    tables = load_tables(write(tmp_path / "tables.json", TABLES))

    with pytest.raises(SchemaError, match=complaint):
        load_rule(write(tmp_path / "dcr.json", rule(**changes)), tables)
