"""HTTP functions, the admin interface and managed identity of the functions host, as a client sees them."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from functions_host_process import HOST_KEY, MASTER_KEY, Host

from tests.eventually import eventually


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    with Host(tmp_path_factory.mktemp("http"), only=(), LOCAL_IDENTITY_TOKEN="the-token") as running:
        yield running.started()


def test_request_reaches_the_function_whole(host: Host) -> None:
    response = requests.post(
        f"{host.url}/api/open/7/a%20b/c%2Fd",
        params=[("one", "1"), ("two", "2"), ("two", "3"), ("empty", "")],
        headers={"X-Custom": "yes"},
        data=b"body",
        timeout=10,
    )

    seen = response.json()
    assert response.status_code == 201
    assert seen["method"] == "POST"
    assert seen["params"] == {"id": "7", "rest": "a b/c/d"}
    assert seen["query"] == {"one": "1", "two": "2,3"}
    assert seen["headers"]["x-custom"] == "yes"
    assert seen["body"] == "body"


def test_response_reaches_the_client_whole(host: Host) -> None:
    response = requests.get(f"{host.url}/api/open/7", timeout=10)

    cookies = {cookie.name: cookie for cookie in response.cookies}
    assert response.headers["content-type"] == "application/json"
    assert response.headers["X-App"] == "yes"
    assert response.headers["X-Served-By"] == "functions-host"
    assert cookies["first"].value == "1"
    assert cookies["first"].has_nonstandard_attr("HttpOnly")
    assert cookies["second"].get_nonstandard_attr("SameSite") == "Lax"


@pytest.mark.parametrize("path", ["/api/open/seven", "/api/open", "/open/7", "/api", "/api/nothing"])
def test_path_that_no_route_matches_is_404(host: Host, path: str) -> None:
    assert requests.get(host.url + path, timeout=10).status_code == 404


@pytest.mark.parametrize("method", ["PUT", "DELETE", "HEAD", "OPTIONS"])
def test_method_that_the_function_does_not_take_is_404_as_in_the_real_host(host: Host, method: str) -> None:
    assert requests.request(method, f"{host.url}/api/open/7", timeout=10).status_code == 404


def test_function_without_methods_takes_every_method_and_head_has_no_body(host: Host) -> None:
    responses = [requests.request(m, f"{host.url}/api/log", timeout=10) for m in ("GET", "PATCH", "OPTIONS", "HEAD")]

    assert [response.status_code for response in responses] == [200, 200, 200, 200]
    assert [response.content for response in responses] == [b"logged", b"logged", b"logged", b""]


@pytest.mark.parametrize(
    ("path", "key", "status"),
    [
        ("keyed", None, 401),
        ("keyed", "wrong", 401),
        ("keyed", HOST_KEY, 200),
        ("keyed", MASTER_KEY, 200),
        ("admins", None, 401),
        ("admins", HOST_KEY, 401),
        ("admins", MASTER_KEY, 200),
    ],
)
def test_key_opens_what_its_level_allows(host: Host, path: str, key: str | None, status: int) -> None:
    by_header = requests.get(f"{host.url}/api/{path}", headers={"x-functions-key": key} if key else {}, timeout=10)
    by_query = requests.get(f"{host.url}/api/{path}", params={"code": key} if key else {}, timeout=10)

    assert by_header.status_code == by_query.status_code == status
    if status == 401:
        assert by_header.content == b""


def test_key_in_the_header_beats_the_one_in_the_query(host: Host) -> None:
    wrong_header = requests.get(
        f"{host.url}/api/keyed", params={"code": HOST_KEY}, headers={"x-functions-key": "wrong"}, timeout=10
    )
    right_header = requests.get(
        f"{host.url}/api/keyed", params={"code": "wrong"}, headers={"x-functions-key": HOST_KEY}, timeout=10
    )

    assert wrong_header.status_code == 401
    assert right_header.status_code == 200


def test_disabled_function_is_404(host: Host) -> None:
    assert requests.get(f"{host.url}/api/switched-off", timeout=10).status_code == 404


@pytest.mark.parametrize("call", ["broken", "broken?how=exit", "broken?how=interrupt", "broken?how=none", "cancelled"])
def test_failing_function_is_500_without_detail_and_the_host_lives_on(host: Host, call: str) -> None:
    failed = requests.get(f"{host.url}/api/{call}", timeout=10)
    after = requests.get(f"{host.url}/api/log", timeout=10)

    assert failed.status_code == 500
    assert failed.content == b""
    assert after.status_code == 200


def test_failure_is_logged_with_function_attempt_and_error(host: Host) -> None:
    requests.get(f"{host.url}/api/broken", timeout=10)

    def failures() -> list[dict]:
        return [line for line in host.log() if line.get("error") == "RuntimeError: told to break"]

    line = eventually(failures, "the failure in the log")[-1]
    assert (line["level"], line["function"], line["attempt"]) == ("warning", "broken", 1)


def test_logging_of_the_app_passes_through_as_json_lines(host: Host) -> None:
    requests.get(f"{host.url}/api/log", timeout=10)

    line = eventually(lambda: [x for x in host.log() if x["message"] == "said by the app"], "the app's line")[-1]
    assert (line["logger"], line["level"], line["answer"]) == ("app", "info", 42)


def test_body_of_100_mib_passes_and_one_more_byte_is_413(host: Host) -> None:
    limit = 100 * 1024 * 1024

    whole = requests.post(f"{host.url}/api/size", data=bytes(limit), timeout=60)
    too_much = requests.post(f"{host.url}/api/size", data=bytes(limit + 1), timeout=60)

    assert (whole.status_code, whole.text) == (200, str(limit))
    assert too_much.status_code == 413


def test_blocked_function_does_not_hold_up_others(host: Host) -> None:
    with pytest.raises(requests.Timeout):
        requests.get(f"{host.url}/api/broken", params={"how": "sleep", "seconds": "6"}, timeout=0.3)

    assert requests.get(f"{host.url}/api/log", timeout=4).status_code == 200


def test_unmodified_managed_identity_credential_gets_the_token(host: Host) -> None:
    assert requests.get(f"{host.url}/api/token", timeout=10).text == "the-token"


def test_ping_is_open_and_the_rest_of_admin_wants_the_master_key(host: Host) -> None:
    paths = ["/admin/host/status", "/admin/functions", "/admin/functions/keyed", "/admin/nothing", "/admin"]

    assert requests.get(f"{host.url}/admin/host/ping", timeout=10).status_code == 200
    for path in paths:
        assert requests.get(host.url + path, timeout=10).status_code == 401, path
        with_host_key = requests.get(host.url + path, headers={"x-functions-key": HOST_KEY}, timeout=10)
        assert with_host_key.status_code == 401, path


def admin(host: Host, method: str, path: str, **options: object) -> requests.Response:
    return requests.request(
        method, f"{host.url}/admin{path}", headers={"x-functions-key": MASTER_KEY}, timeout=10, **options
    )


def test_functions_are_listed_with_their_bindings(host: Host) -> None:
    listed = {entry["name"]: entry for entry in admin(host, "GET", "/functions").json()}

    assert listed["switched_off"]["isDisabled"] is True
    assert listed["keyed"]["isDisabled"] is False
    assert listed["retried"]["config"]["bindings"][0]["type"] == "eventHubTrigger"
    assert admin(host, "GET", "/functions/keyed").json() == listed["keyed"]
    assert admin(host, "GET", "/functions/nobody").status_code == 404


@pytest.mark.parametrize("function", ["retried", "single"])
def test_manual_run_hands_the_input_to_an_event_hub_function(host: Host, function: str) -> None:
    response = admin(host, "POST", f"/functions/{function}", json={"input": '{"id": "by hand"}'})

    assert response.status_code == 202
    assert eventually(lambda: host.bodies(function), "the run") == [{"id": "by hand"}]


def test_manual_run_starts_a_timer_function(host: Host) -> None:
    response = admin(host, "POST", "/functions/timed", json={})

    assert response.status_code == 202
    assert eventually(lambda: host.records("timed"), "the run")[0]["past_due"] is False


def test_manual_run_calls_an_http_function(host: Host) -> None:
    before = host.status()["functions"]["size"]["succeeded"]

    response = admin(host, "POST", "/functions/size", json={"input": "abc"})

    assert response.status_code == 202
    eventually(lambda: host.status()["functions"]["size"]["succeeded"] == before + 1, "the run")


@pytest.mark.parametrize("body", [b"{", b"[]", b'"text"', b'{"input": 5}'])
def test_manual_run_with_a_malformed_body_is_refused(host: Host, body: bytes) -> None:
    response = admin(host, "POST", "/functions/size", data=body)

    assert response.status_code == 400
    assert "input" in response.text


def test_manual_run_of_an_unknown_function_is_404(host: Host) -> None:
    assert admin(host, "POST", "/functions/nobody", json={}).status_code == 404


def test_function_that_overruns_the_time_limit_ends_the_host(tmp_path: Path) -> None:
    with Host(tmp_path, only=(), AzureFunctionsJobHost__functionTimeout="00:00:01") as host:
        host.started()
        with pytest.raises(requests.RequestException):
            response = requests.get(f"{host.url}/api/broken", params={"how": "sleep", "seconds": "9"}, timeout=8)
            assert response.status_code == 500
            raise requests.ConnectionError  # the answer may or may not get out before the process ends
        exit_code = host.process.wait(10)

        errors = [line for line in host.log() if line["level"] == "error"]
    assert exit_code == 1
    assert [(line["message"], line["function"]) for line in errors] == [("functionTimeout exceeded", "broken")]


def test_route_prefix_can_be_overridden_by_a_setting(tmp_path: Path) -> None:
    with Host(tmp_path, only=(), AzureFunctionsJobHost__extensions__http__routePrefix="v1") as host:
        host.started()

        assert requests.get(f"{host.url}/v1/log", timeout=10).status_code == 200
        assert requests.get(f"{host.url}/api/log", timeout=10).status_code == 404
