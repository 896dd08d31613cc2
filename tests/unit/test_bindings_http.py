"""What all HTTP functions share, without a host: problems, keys, parameters, ETags."""

import json
from types import SimpleNamespace

import azure.functions as func
import pytest

from functions.bindings import http
from functions.bindings.http import Problem, answer, guarded, integer, is_unchanged, only, public
from telemetry.errors import SettingsError, StoreUnavailable

KEYS = ("the-first-api-key", "the-second-api-key")


@pytest.fixture(autouse=True)
def two_keys(monkeypatch):
    settings = SimpleNamespace(api_keys=KEYS)
    monkeypatch.setattr(http, "services", lambda: SimpleNamespace(settings=settings))


def request(params=None, headers=None, url="http://app/api/nodes?code=secret"):
    return func.HttpRequest("GET", url, params=params or {}, headers=headers or {}, body=b"")


def fine(req):
    return answer({"fine": True})


def raising(error):
    def handler(req):
        raise error

    return handler


def problem(response):
    assert response.mimetype == "application/problem+json"
    document = json.loads(response.get_body())
    assert document["status"] == response.status_code
    assert document["type"] == "about:blank"
    return document


@pytest.mark.parametrize("key", KEYS)
def test_each_key_opens_in_the_header_and_in_the_parameter(key):
    assert guarded(fine)(request(headers={"x-functions-key": key})).status_code == 200
    assert guarded(fine)(request(headers={"X-Functions-Key": key})).status_code == 200
    assert guarded(fine)(request(params={"code": key})).status_code == 200


@pytest.mark.parametrize(
    "key", ["", " ", "wrong", "the-first-api-ke", "the-first-api-key ", "é", "\udcff\udcfe", "\ud800"]
)
def test_any_other_text_is_a_problem_401(key):
    assert problem(guarded(fine)(request(headers={"x-functions-key": key})))["status"] == 401
    assert problem(guarded(fine)(request(params={"code": key})))["status"] == 401


def test_wrong_header_is_not_mended_by_a_right_parameter():
    response = guarded(fine)(request(params={"code": KEYS[0]}, headers={"x-functions-key": "wrong"}))

    assert problem(response)["detail"] == "the key in the header x-functions-key is wrong"


def test_handler_without_a_right_key_never_runs():
    response = guarded(raising(AssertionError("it ran")))(request())

    assert problem(response)["status"] == 401


def test_public_function_needs_no_key():
    assert public(fine)(request()).status_code == 200


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Problem(404, "Unknown", "there is none"), 404),
        (StoreUnavailable("storage is down"), 503),
        (SettingsError(["a secret detail"]), 500),
        (RuntimeError("a secret detail"), 500),
    ],
)
def test_whatever_a_handler_raises_is_a_problem(error, status):
    response = public(raising(error))(request())

    document = problem(response)
    assert document["status"] == status
    assert "a secret detail" not in json.dumps(document)
    assert ("Retry-After" in response.headers) == (status == 503)


def test_problem_names_the_path_without_the_key():
    document = problem(public(raising(Problem(400, "Bad", "bad")))(request()))

    assert document["instance"] == "http://app/api/nodes"


@pytest.mark.parametrize("text", ["1", "100", "1000", "0001"])
def test_whole_number_within_bounds_is_taken(text):
    assert integer(request({"limit": text}), "limit", 7, 1, 1000) == int(text)


def test_missing_number_is_the_default():
    assert integer(request(), "limit", 7, 1, 1000) == 7


@pytest.mark.parametrize(
    "text", ["", " 1", "0", "1001", "-1", "+1", "1.0", "1e2", "٣", "²", "0x1", "1_0", "9" * 10_000]
)
def test_anything_else_is_a_problem_400(text):
    with pytest.raises(Problem) as refused:
        integer(request({"limit": text}), "limit", 7, 1, 1000)

    assert refused.value.status == 400
    assert len(refused.value.detail) < 200


def test_unknown_parameter_is_a_problem_that_names_the_known_ones():
    only(request({"limit": "1", "code": "x"}), "limit", "cluster")
    with pytest.raises(Problem, match="'Limit' is unknown; known are limit, cluster"):
        only(request({"Limit": "1"}), "limit", "cluster")
    with pytest.raises(Problem, match="known are none"):
        only(request({"x" * 5000: "1"}))


@pytest.mark.parametrize(
    ("given", "unchanged"),
    [
        ('"a"', True),
        ('W/"a"', True),
        ('"b", "a"', True),
        ('"b",W/"a"', True),
        ("*", True),
        ('"b"', False),
        ("a", False),
        ("", False),
        ('"a', False),
        ('"b", *', False),
        ('w/"a"', False),
    ],
)
def test_if_none_match_is_compared_weakly(given, unchanged):
    assert is_unchanged(request(headers={"If-None-Match": given}), '"a"') is unchanged


def test_no_if_none_match_is_no_match():
    assert not is_unchanged(request(), '"a"')
