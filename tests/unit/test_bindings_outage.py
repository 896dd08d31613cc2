"""What clients are told while storage is away: 503 in the form the description announces, and which part it is."""

import json
from types import SimpleNamespace

import azure.functions as func
import pytest

from functions.adapters.continuation import BadContinuation
from functions.bindings import dead_letters, health, http, nodes
from telemetry.errors import SettingsError, SinkUnavailable, StoreUnavailable

KEY = "the-first-api-key"
DOWN = StoreUnavailable("cannot reach it")


class Answering:
    """A directory or a place of dead letters that gives the same outcome to everybody."""

    def __init__(self, outcome):
        self.outcome = outcome

    def _give(self, *_, **__):
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome

    page = state = raw = _give


@pytest.fixture
def serve(monkeypatch):
    """Lets the functions find services with these outcomes, or fail to."""

    def set_up(*, directory=([], None), letters=([], None), failure=None):
        shared = SimpleNamespace(
            settings=SimpleNamespace(api_keys=(KEY,)),
            directory=Answering(directory),
            dead_letters=Answering(letters),
            fleet_model=SimpleNamespace(state="suspended"),
        )

        def services():
            if failure:
                raise failure
            return shared

        for module in (health, http, nodes, dead_letters):
            monkeypatch.setattr(module, "services", services)

    return set_up


def ask(function, **changes):
    fields = {"params": {}, "route_params": {}, "headers": {"x-functions-key": KEY}, "body": b""} | changes
    response = function(func.HttpRequest("GET", "http://app/api/x", **fields))
    return response, json.loads(response.get_body())


FUNCTIONS = {
    "nodes": (nodes.nodes, {}),
    "node": (nodes.node, {"route_params": {"cluster": "aks", "node": "node-1"}}),
    "dead_letters": (dead_letters.dead_letters, {}),
    "dead_letter": (dead_letters.dead_letter, {"route_params": {"name": "0000000000000/hub/0/1"}}),
}


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("outage", [{"directory": DOWN, "letters": DOWN}, {"failure": DOWN}])
def test_storage_that_is_down_is_a_problem_503_that_says_when_to_come_back(serve, name, outage):
    serve(**outage)
    function, request = FUNCTIONS[name]

    response, document = ask(function, **request)

    assert (response.status_code, response.mimetype) == (503, "application/problem+json")
    assert document["status"] == 503
    assert response.headers["Retry-After"] == "5"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_unusable_settings_are_a_problem_500_that_shows_nothing_of_them(serve, name):
    serve(failure=SettingsError(["LOGS_INGESTION_ENDPOINT must begin with https://, got 'internal'"]))
    function, request = FUNCTIONS[name]

    response, document = ask(function, **request)

    assert (response.status_code, document["status"]) == (500, 500)
    assert "internal'" not in json.dumps(document)


@pytest.mark.parametrize("name", ["nodes", "dead_letters"])
def test_token_the_service_refuses_is_a_problem_400(serve, name):
    serve(directory=BadContinuation("made up"), letters=BadContinuation("made up"))
    function, request = FUNCTIONS[name]

    response, document = ask(function, **request, params={"continuation": "made up"})

    assert (response.status_code, document["status"]) == (400, 400)
    assert "made up" in document["detail"]


@pytest.mark.parametrize("name", ["node-1\n", "\nnode-1", "node-1\x00", "", "a" * 129])
@pytest.mark.parametrize("part", ["cluster", "node"])
def test_name_with_anything_around_it_is_a_problem_400(serve, part, name):
    serve(directory=AssertionError("storage was asked"))
    route = {"cluster": "aks", "node": "node-1"} | {part: name}

    response, _ = ask(nodes.node, route_params=route)

    assert response.status_code == 400


@pytest.mark.parametrize(
    "name", ["0000000000000/hub/0/1\n", "\u0660000000000000/hub/0/1", "0000000000000/h\nb/0/1", ""]
)
def test_name_of_a_dead_letter_with_anything_around_it_is_a_problem_400(serve, name):
    serve(letters=AssertionError("storage was asked"))

    response, _ = ask(dead_letters.dead_letter, route_params={"name": name})

    assert response.status_code == 400


@pytest.mark.parametrize(
    ("outage", "checks"),
    [
        ({"failure": SettingsError(["bad"])}, ["start"]),
        ({"failure": DOWN}, ["start"]),
        ({"directory": DOWN}, ["start", "stateStorage"]),
        ({"letters": SinkUnavailable("down")}, ["start", "stateStorage", "deadLetters"]),
    ],
)
def test_health_says_what_fails_and_what_passed_before(serve, outage, checks):
    serve(**outage)

    response, document = ask(health.health, headers={})

    assert (response.status_code, document["status"]) == (503, "fail")
    assert list(document["checks"]) == checks
    *passed, failed = document["checks"].values()
    assert set(passed) <= {"pass"} and failed == "fail"


def test_health_passes_when_all_checks_do(serve):
    serve()

    response, document = ask(health.health, headers={})

    assert (response.status_code, document["status"]) == (200, "pass")
    assert set(document["checks"].values()) == {"pass"}
    assert document["fleetModel"] == "suspended"
