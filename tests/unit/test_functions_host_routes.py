"""ASP.NET route templates, access levels and log lines of the functions host."""

import json
import logging
import re
import sys

import pytest

from local.functions_host.function_keys import AccessLevel, FunctionKeys
from local.functions_host.route_template import RouteTemplate
from local.json_lines import JsonLines


@pytest.mark.parametrize(
    ("template", "path", "parameters"),
    [
        ("api/items", "/api/items", {}),
        ("api/items", "/API/Items/", {}),
        ("items/{id}", "/items/a%20b", {"id": "a b"}),
        ("items/{id}", "/items/a%2Fb", {"id": "a/b"}),
        ("items/{id:int}", "/items/-5", {"id": "-5"}),
        ("items/{id:int:length(2,3)}", "/items/12", {"id": "12"}),
        ("items/{id?}", "/items", {}),
        ("items/{id=all}", "/items", {"id": "all"}),
        ("items/{id=all}", "/items/one", {"id": "one"}),
        ("files/{*path}", "/files/a/b/c", {"path": "a/b/c"}),
        ("files/{**path}", "/files", {}),
        ("r-{year:int}-{kind}.json", "/r-2026-cpu.json", {"year": "2026", "kind": "cpu"}),
        ("g/{id:guid}", "/g/00000000-0000-0000-0000-00000000000a", {"id": "00000000-0000-0000-0000-00000000000a"}),
        ("v/{v:regex(^v\\d+$)}", "/v/v12", {"v": "v12"}),
        ("b/{b:bool}", "/b/TRUE", {"b": "TRUE"}),
        ("d/{d:datetime}", "/d/2026-01-31", {"d": "2026-01-31"}),
    ],
)
def test_path_matches_and_gives_its_parameters(template: str, path: str, parameters: dict[str, str]) -> None:
    assert RouteTemplate(template).match(path) == parameters


@pytest.mark.parametrize(
    ("template", "path"),
    [
        ("api/items", "/api"),
        ("api/items", "/api/items/5"),
        ("items/{id}", "/items"),
        ("items/{id:int}", "/items/5x"),
        ("items/{id:int:length(2,3)}", "/items/1234"),
        ("items/{id:alpha}", "/items/a1"),
        ("items/{id:maxlength(2)}", "/items/abc"),
        ("items/{id:minlength(2)}", "/items/a"),
        ("items/{id?}", "/items/1/2"),
        ("a.c", "/abc"),
        ("v/{v:regex(^v\\d+$)}", "/v/12"),
    ],
)
def test_path_outside_the_template_does_not_match(template: str, path: str) -> None:
    assert RouteTemplate(template).match(path) is None


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("items/{id", "is no ASP.NET route template"),
        ("items/{}", "is no ASP.NET route template"),
        ("{*rest}/more", "a catch-all parameter must come last"),
        ("items/{id:odd}", "constraint 'odd' in route 'items/{id:odd}' is not supported here; use one of int"),
        ("items/{id:length(two)}", "constraint 'length'"),
    ],
)
def test_template_that_is_not_understood_is_refused(template: str, problem: str) -> None:
    with pytest.raises(ValueError, match=re.escape(problem)):
        RouteTemplate(template)


def test_literal_routes_win_over_constrained_over_plain_over_catch_all() -> None:
    templates = ["x/{*rest}", "x/{id}", "x/{id:int}", "x/new"]

    in_order = sorted((RouteTemplate(template) for template in templates), key=lambda route: route.precedence)

    assert [route.template for route in in_order] == ["x/new", "x/{id:int}", "x/{id}", "x/{*rest}"]


@pytest.mark.parametrize(
    ("key", "level"),
    [
        (None, AccessLevel.ANONYMOUS),
        ("", AccessLevel.ANONYMOUS),
        ("wrong", AccessLevel.ANONYMOUS),
        ("schlüssel", AccessLevel.ANONYMOUS),
        ("second", AccessLevel.FUNCTION),
        ("master", AccessLevel.ADMIN),
    ],
)
def test_key_gives_its_level(key: str | None, level: AccessLevel) -> None:
    assert FunctionKeys("master", ["first", "second"]).level(key) is level


def test_log_record_becomes_one_line_of_json_with_its_fields() -> None:
    try:
        raise ValueError("bad\nvalue")
    except ValueError:
        record = logging.LogRecord("app", logging.WARNING, "", 0, "it %s", ("failed",), sys.exc_info())
    record.partition = "3"

    text = JsonLines().format(record)

    line = json.loads(text)
    assert "\n" not in text
    assert (line["level"], line["logger"], line["message"], line["partition"]) == ("warning", "app", "it failed", "3")
    assert "ValueError: bad\nvalue" in line["exception"]
    assert line["time"].endswith("+00:00")
