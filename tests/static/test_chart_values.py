"""The chart's values, schema, templates and the agent's settings agree; known from the files, without Helm."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from agent.settings import read_settings
from telemetry.errors import SettingsError

CHART = Path(__file__).resolve().parents[2] / "helm/devops-monitor"
VALUES = yaml.safe_load((CHART / "values.yaml").read_text())
SCHEMA = json.loads((CHART / "values.schema.json").read_text())
TEMPLATES = {
    str(path.relative_to(CHART)): path.read_text()
    for path in sorted((CHART / "templates").rglob("*"))
    if path.suffix in (".yaml", ".tpl", ".txt")
}

OPEN_OBJECTS = {
    "/global": "Helm gives it to every chart that is part of another",
    "/networkPolicy/ingressFrom/[]/podSelector": "Kubernetes' own",
    "/networkPolicy/ingressFrom/[]/namespaceSelector": "Kubernetes' own",
    "/networkPolicy/ingressFrom/[]/ipBlock": "Kubernetes' own",
}
"""Objects that take anything, and why."""

_ALIAS = re.compile(r"(\$\w+) := (?:\$\w+|)?\.Values((?:\.\w+)*)")
_USE = re.compile(r"(?:\.Values|(\$\w+))((?:\.[a-z]\w*)+)")


def paths_used(template: str) -> set[str]:
    """Paths below .Values that a template names, also by a variable that stands for a part of them."""
    aliases = dict(_ALIAS.findall(template))
    used = {path.removeprefix(".") for path in aliases.values()}
    for variable, path in _USE.findall(template):
        if not variable:
            used.add(path.removeprefix("."))
        elif variable in aliases:
            used.add((aliases[variable] + path).removeprefix("."))
    return used - {""}


def exists(path: str) -> bool:
    value: Any = VALUES
    for key in path.split("."):
        if not isinstance(value, dict) or key not in value:
            return False
        value = value[key]
    return True


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    return SCHEMA["definitions"][schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema


def objects(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema of an object, by where it applies."""
    schema = resolved(schema)
    if schema.get("type") == "object":
        yield path, schema
    for key, member in schema.get("properties", {}).items():
        yield from objects(member, f"{path}/{key}")
    if "items" in schema:
        yield from objects(schema["items"], f"{path}/[]")


def at(*path: str) -> dict[str, Any]:
    """The schema of one value."""
    schema = SCHEMA
    for key in path:
        schema = resolved(schema["properties"][key])
    return schema


def agent_takes(**variables: str) -> bool:
    environ = {"AGENT_CLUSTER": "c", "EVENTHUB_FULLY_QUALIFIED_NAMESPACE": "a.b", "EVENTHUB_NAME": "h"}
    try:
        read_settings(environ | variables, publishing=True)
    except SettingsError:
        return False
    return True


@pytest.mark.parametrize("name", TEMPLATES)
def test_templates_name_only_values_that_exist(name: str) -> None:
    assert [path for path in sorted(paths_used(TEMPLATES[name])) if not exists(path)] == []


def test_unknown_values_in_templates_are_found() -> None:
    template = "{{ $hub := .Values.eventHubs }}{{ $hub.nmae }}{{ .Values.agnet.cluster }}{{ $root.Values.image.tga }}"

    assert {path for path in paths_used(template) if not exists(path)} == {
        "eventHubs.nmae",
        "agnet.cluster",
        "image.tga",
    }


def test_defaults_fit_the_schema() -> None:
    jsonschema.Draft7Validator.check_schema(SCHEMA)

    assert [error.message for error in jsonschema.Draft7Validator(SCHEMA).iter_errors(VALUES)] == []


def test_schema_and_values_have_the_same_members() -> None:
    def members(values: Any, schema: dict[str, Any], path: str = "") -> Iterator[str]:
        schema = resolved(schema)
        named = {key for key in schema.get("properties", {}) if "const" not in schema["properties"][key]}
        if path == "/resources/requests" or path == "/resources/limits" or not named:
            return
        yield from (f"{path}/{key}" for key in named ^ set(values) if f"{path}/{key}" not in OPEN_OBJECTS)
        for key in named & set(values):
            if isinstance(values[key], dict):
                yield from members(values[key], schema["properties"][key], f"{path}/{key}")

    assert list(members(VALUES, SCHEMA)) == []


def test_no_object_takes_what_it_does_not_know() -> None:
    found = list(objects(SCHEMA))
    open_ones = {path for path, schema in found if schema.get("additionalProperties", True) is True}

    assert len(found) > 30
    assert open_ones == OPEN_OBJECTS.keys()


def test_no_value_of_the_chart_can_be_taken_away() -> None:
    free_to_leave_out = {"/resources", "/resources/requests", "/resources/limits"}
    for path, schema in objects(SCHEMA):
        if "[]" not in path and path not in free_to_leave_out | OPEN_OBJECTS.keys():
            named = {key for key, member in schema.get("properties", {}).items() if "const" not in member}
            assert (path, set(schema.get("required", []))) == (path, named - {"global"})


@pytest.mark.parametrize(
    ("path", "variable"),
    [
        (("agent", "sampleInterval"), "AGENT_SAMPLE_INTERVAL"),
        (("agent", "publishInterval"), "AGENT_PUBLISH_INTERVAL"),
        (("agent", "publishSpread"), "AGENT_PUBLISH_SPREAD"),
        (("spool", "maxBytes"), "AGENT_SPOOL_MAX_BYTES"),
        (("spool", "maxAge"), "AGENT_SPOOL_MAX_AGE"),
    ],
    ids=lambda value: value if isinstance(value, str) else ".".join(value),
)
def test_numbers_have_the_agents_bounds(path: tuple[str, ...], variable: str) -> None:
    low, high = at(*path)["minimum"], at(*path)["maximum"]
    step = 0.01 if at(*path)["type"] == "number" else 1

    def takes(value: float) -> bool:
        others = {
            "AGENT_SAMPLE_INTERVAL": {"AGENT_PUBLISH_INTERVAL": str(max(value, 0.1))},
            "AGENT_PUBLISH_INTERVAL": {"AGENT_SAMPLE_INTERVAL": "0.1" if value < 60 else "60"},
        }
        return agent_takes(**{variable: str(value)} | others.get(variable, {}))

    assert [takes(low), takes(high)] == [True, True]
    assert [takes(low - step), takes(high + step)] == [False, False]


@pytest.mark.parametrize(
    ("path", "variable"),
    [
        (("agent", "cluster"), "AGENT_CLUSTER"),
        (("eventHubs", "name"), "EVENTHUB_NAME"),
        (("eventHubs", "fullyQualifiedNamespace"), "EVENTHUB_FULLY_QUALIFIED_NAMESPACE"),
    ],
    ids=lambda value: value if isinstance(value, str) else ".".join(value),
)
@pytest.mark.parametrize(
    "text",
    ["a", "a.b", "a-b.c", "A1_b", "-a", "a-", ".a.b", "a b", "a/b", "ä", "a" * 128, "a" * 129, "a.b:5671", "a..b"],
)
def test_names_have_the_agents_form(path: tuple[str, ...], variable: str, text: str) -> None:
    assert (re.search(at(*path)["pattern"], text) is not None) == agent_takes(**{variable: text})


def test_log_levels_are_the_agents() -> None:
    from agent.settings import LOG_LEVELS

    assert tuple(at("agent", "logLevel")["enum"]) == LOG_LEVELS


def test_names_of_collectors_can_be_written() -> None:
    from agent.registry import built_in

    pattern = at("agent", "collectors")["items"]["pattern"]

    assert [name for name in ("default", *built_in()) if not re.search(pattern, name)] == []
