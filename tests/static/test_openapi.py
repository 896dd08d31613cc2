"""functions/bindings/openapi.json: valid OpenAPI 3.1, and about exactly the routes the app has."""

import json
import re
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from functions.bindings import capacity, dead_letters, forecast, health, ingest, nodes, openapi, sweep
from functions.bindings.nodes import MAX_POOL
from functions.core.forecast.capacity import MOST_HOURS
from telemetry.rules import NAME_PATTERN

ROOT = Path(__file__).parents[2]
DOCUMENT = json.loads((ROOT / "functions" / "bindings" / "openapi.json").read_text())
OPENAPI_SCHEMA = json.loads((Path(__file__).with_name("openapi_3_1_schema.json")).read_text())
OPERATIONS = {
    (method, path): operation for path, item in DOCUMENT["paths"].items() for method, operation in item.items()
}


def app_routes():
    """Method and path of every HTTP function; a catch-all parameter is written as OpenAPI can."""
    found = {}
    for module in (ingest, sweep, forecast, nodes, capacity, dead_letters, health, openapi):
        for builder in module.blueprint._function_builders:
            function = builder._function
            trigger = function.get_trigger()
            if trigger.get_binding_name() == "httpTrigger":
                for method in trigger.methods:
                    found[method.value.lower(), "/" + trigger.route.replace("{*", "{")] = function.get_user_function()
    return found


def all_of(document, key):
    """Every value under a key, however deep."""
    if isinstance(document, dict):
        if key in document:
            yield document[key]
        for value in document.values():
            yield from all_of(value, key)
    elif isinstance(document, list):
        for value in document:
            yield from all_of(value, key)


def parameters(operation, place):
    return {parameter["name"]: parameter for parameter in operation.get("parameters", []) if parameter["in"] == place}


def test_document_is_valid_openapi():
    Draft202012Validator.check_schema(OPENAPI_SCHEMA)

    problems = [error.message for error in Draft202012Validator(OPENAPI_SCHEMA).iter_errors(DOCUMENT)]

    assert problems == []
    assert DOCUMENT["openapi"].startswith("3.1.")


def test_the_check_finds_what_is_wrong():
    broken = {**DOCUMENT, "paths": {"nodes": {}}}

    assert list(Draft202012Validator(OPENAPI_SCHEMA).iter_errors(broken))


@pytest.mark.parametrize("schema", [*all_of(DOCUMENT, "schema"), *DOCUMENT["components"]["schemas"].values()])
def test_every_schema_is_valid_json_schema(schema):
    Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("reference", sorted(set(all_of(DOCUMENT, "$ref"))))
def test_every_reference_leads_somewhere(reference):
    assert reference.startswith("#/")
    found = DOCUMENT
    for name in reference[2:].split("/"):
        found = found[name]

    assert found


def test_routes_of_the_document_are_the_routes_of_the_app():
    assert OPERATIONS.keys() == app_routes().keys()


def test_operations_have_names_of_their_own():
    names = [operation["operationId"] for operation in OPERATIONS.values()]

    assert len(names) == len(set(names))


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_parameters_of_a_path_are_described_and_no_others(method, path):
    described = parameters(OPERATIONS[method, path], "path")

    assert set(described) == set(re.findall(r"\{(\w+)\}", path))
    assert all(parameter["required"] for parameter in described.values())


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_operations_behind_a_key_say_so_and_announce_its_refusal(method, path):
    operation = OPERATIONS[method, path]
    behind_a_key = operation.get("security", DOCUMENT["security"]) != []

    assert behind_a_key == (path not in ("/health", "/openapi.json"))
    assert ("401" in operation["responses"]) == behind_a_key


@pytest.mark.parametrize(("method", "path"), [key for key in OPERATIONS if key[1] != "/health"])
def test_errors_are_problem_documents(method, path):
    for status, response in OPERATIONS[method, path]["responses"].items():
        if status >= "400":
            (content,) = response["content"].items()
            assert content == ("application/problem+json", {"schema": {"$ref": "#/components/schemas/Problem"}})


def test_names_and_limits_of_the_document_are_those_of_the_code():
    node = parameters(OPERATIONS["get", "/nodes/{cluster}/{node}"], "path")
    query = parameters(OPERATIONS["get", "/nodes"], "query")

    assert {parameter["schema"]["pattern"] for parameter in node.values()} == {NAME_PATTERN}
    assert query["cluster"]["schema"]["pattern"] == NAME_PATTERN
    assert query["pool"]["schema"]["maxLength"] == MAX_POOL
    assert set(query) == {*nodes._FILTERS, "limit", "continuation"}


def test_limits_of_capacity_are_those_of_the_code():
    query = parameters(OPERATIONS["get", "/capacity"], "query")
    limits = {name: (given["schema"].get("minimum"), given["schema"].get("maximum")) for name, given in query.items()}

    assert query["cluster"]["schema"]["pattern"] == NAME_PATTERN
    assert query["pool"]["schema"]["maxLength"] == MAX_POOL
    assert limits["hours"] == (1, MOST_HOURS)
    assert limits["target"] == (capacity.LEAST_TARGET, 1)
    assert limits["min"] == limits["max"] == (0, capacity.MOST_NODES)
    assert query["hours"]["schema"]["default"] == capacity.DEFAULT_HOURS
    assert query["target"]["schema"]["default"] == capacity.DEFAULT_TARGET
    assert [name for name, given in query.items() if given["required"]] == ["cluster", "pool"]
