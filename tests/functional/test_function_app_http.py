"""The app's HTTP functions through the functions host, on data that came through Event Hubs.

Every answer is held against functions/bindings/openapi.json.
"""

import json
import re
import time
from urllib.parse import quote, urlsplit

import pytest
from function_app_stack import FIRST_KEY, SECOND_KEY, running_stack
from functions_host_process import REPOSITORY
from jsonschema import Draft202012Validator

from functions.core.snapshot import metric_name
from telemetry.catalogue import DEVICE_CLASSES, NODE_METRICS
from tests.builders import devices, envelope
from tests.eventually import eventually

OPENAPI = json.loads((REPOSITORY / "functions" / "bindings" / "openapi.json").read_text())
NOW = int(time.time() // 60) * 60_000
POISON = [b"", b"\x00\xff not json", b'{"version": 99}', b"\x1f\x8bnot gzip"]
BLUE, GREEN = [f"node-{index}" for index in range(7)], ["Node_1.x", "b"]
PROBLEM = {"type", "title", "status", "detail", "instance"}


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    with running_stack(tmp_path_factory.mktemp("stack")) as stack:
        stack.publish(
            *(envelope(cluster="blue", node=node, start=NOW - 90_000, resource={"pool": "p'1"}) for node in BLUE),
            *POISON,
            envelope(
                cluster="green",
                node="b",
                start=NOW - 90_000,
                metrics={"cpu": [0.1, 0.2, 0.3], "mem": [0.4, None, None]},
                devices=devices(3, 0.75, disk=("sda", "nvme0n1")),
                resource={"pool": "other", "cpus": 8},
            ),
            envelope(cluster="green", node="Node_1.x", start=NOW - 90_000),
        )
        eventually(lambda: stack.snapshot("green", "Node_1.x"), "the last node's snapshot")
        yield stack


def template_of(path):
    """The path template of the description that a path belongs to, the most literal one first."""
    for template in sorted(OPENAPI["paths"], key=lambda text: text.count("{")):
        pattern = re.sub(r"\{name\}", ".+", template)  # a dead letter's name holds slashes
        if re.fullmatch(re.sub(r"\{[a-z]+\}", "[^/]+", pattern), path):
            return template
    raise AssertionError(f"no path of openapi.json is like {path}")


def check(response):
    """The answer, if it is one that openapi.json announces."""
    template = template_of(urlsplit(response.url).path.removeprefix("/api"))
    described = OPENAPI["paths"][template]["get"]["responses"]
    assert str(response.status_code) in described, f"{template} does not announce {response.status_code}"
    content = described[str(response.status_code)].get("content", {})
    media_type = response.headers.get("Content-Type", "").split(";")[0]
    if content:
        assert media_type in content
        schema = {**content[media_type].get("schema", {}), "components": OPENAPI["components"]}
        if "json" in media_type:
            Draft202012Validator(schema).validate(response.json())
    else:
        assert response.content == b""
    return response


def check_problem(response, status):
    """The problem document of an error answer."""
    check(response)
    assert response.status_code == status
    assert response.headers["Content-Type"] == "application/problem+json"
    problem = response.json()
    assert problem.keys() == PROBLEM
    assert problem["status"] == status
    assert problem["detail"] and len(problem["detail"]) < 400
    return problem


def test_health_passes_without_a_key(stack):
    response = check(stack.get("/api/health", key=None))

    assert response.status_code == 200
    assert response.json()["status"] == "pass"
    assert set(response.json()["checks"].values()) == {"pass"}


def test_description_of_the_interface_is_served_without_a_key(stack):
    response = check(stack.get("/api/openapi.json", key=None))

    assert response.json() == OPENAPI


def test_nodes_of_all_clusters_are_listed_with_the_way_to_their_snapshots(stack):
    body = check(stack.get("/api/nodes")).json()

    assert [(n["cluster"], n["node"]) for n in body["nodes"]] == [
        *(("blue", node) for node in BLUE),
        *(("green", node) for node in GREEN),
    ]
    assert body["next"] is None
    for line in body["nodes"]:
        snapshot = check(stack.get(line["snapshot"])).json()
        assert {
            name: snapshot[name]
            for name in ("cluster", "node", "pool", "status", "anomaly", "incident", "receivedTime")
        } == {name: value for name, value in line.items() if name != "snapshot"}


@pytest.mark.parametrize("limit", [1, 3, 9, 10])
def test_following_next_gives_every_node_once(stack, limit):
    path, seen = f"/api/nodes?limit={limit}", []
    for _ in range(12):
        body = check(stack.get(path)).json()
        seen += [(node["cluster"], node["node"]) for node in body["nodes"]]
        assert len(body["nodes"]) <= limit
        path = body["next"]
        if path is None:
            break

    assert seen == [*(("blue", node) for node in BLUE), *(("green", node) for node in GREEN)]


def test_next_keeps_the_filters(stack):
    first = check(stack.get("/api/nodes", params={"cluster": "blue", "pool": "p'1", "limit": 5})).json()
    second = check(stack.get(first["next"])).json()

    assert [node["node"] for node in first["nodes"] + second["nodes"]] == BLUE
    assert second["next"] is None


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({"cluster": "green"}, 2),
        ({"cluster": "yellow"}, 0),
        ({"pool": "p'1"}, 7),
        ({"pool": "x' or 1 eq 1"}, 0),
        ({"status": "live"}, 9),
        ({"status": "silent"}, 0),
        ({"cluster": "green", "pool": "other", "status": "live"}, 1),
    ],
)
def test_filters_narrow_the_list(stack, filters, found):
    assert len(check(stack.get("/api/nodes", params=filters)).json()["nodes"]) == found


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=1001",
        "limit=-1",
        "limit=1.0",
        "limit=x",
        "limit=%D9%A1",
        "limit=" + "9" * 5000,
        "limit=1&limit=2",
        "clusters=blue",
        "%00=1",
        "%F0%9F%98%80=1",
        "Cluster=blue",
        "status=dead",
        "status=live%27%20or%20true",
        "cluster=x%27%20or%201%20eq%201",
        "cluster=%00",
        "cluster=%ff",
        "cluster=blue%0A",
        "pool=%00",
        "pool=%0D%0AX:1",
        "pool=" + "p" * 129,
        "continuation=x",
        "continuation=e30%3D",
        "continuation=W10%3D",
        "continuation=eyJQYXJ0aXRpb25LZXkiOiAiXHVkODAwIiwgIlJvd0tleSI6ICJ4In0%3D",
        "continuation=" + "W1tb" * 1900,
    ],
)
def test_bad_parameters_of_the_list_of_nodes_are_problems(stack, query):
    check_problem(stack.get(f"/api/nodes?{query}"), 400)


def test_snapshot_is_the_newest_sample_as_it_was_published(stack):
    snapshot = check(stack.get("/api/nodes/green/b")).json()

    newest = NOW - 90_000 + 2 * 10_000
    cpu, memory = (metric_name(metric) for metric in NODE_METRICS if metric.key in ("cpu", "mem"))
    assert (snapshot["cluster"], snapshot["node"], snapshot["pool"]) == ("green", "b", "other")
    assert snapshot["status"] == "live"
    assert snapshot["sampleTime"] == time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(newest / 1000))
    assert snapshot["resource"] == {"pool": "other", "cpus": 8}
    assert snapshot["metrics"][cpu] == 0.3
    assert snapshot["metrics"][memory] is None
    assert snapshot["metrics"].keys() == {metric_name(metric) for metric in NODE_METRICS}
    disk = next(device_class for device_class in DEVICE_CLASSES if device_class.key == "disk")
    readings = {metric_name(metric): 0.75 for metric in disk.metrics}
    assert snapshot["devices"]["disk"] == {"sda": readings, "nvme0n1": readings}


def test_unchanged_snapshot_is_not_sent_again(stack):
    first = check(stack.get("/api/nodes/blue/node-0"))
    tag = first.headers["ETag"]

    for value in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        again = check(stack.get("/api/nodes/blue/node-0", headers={"If-None-Match": value}))
        assert again.status_code == 304
        assert again.headers["ETag"] == tag
        assert again.headers["Cache-Control"] == first.headers["Cache-Control"]
    for value in ('"other"', tag[:-2] + '"', ""):
        assert stack.get("/api/nodes/blue/node-0", headers={"If-None-Match": value}).status_code == 200


def test_changed_snapshot_is_sent_again_under_another_tag(stack):
    tag = check(stack.get("/api/nodes/blue/node-6")).headers["ETag"]
    stack.publish(envelope(2, cluster="blue", node="node-6", start=NOW - 60_000, resource={"pool": "p'1"}))

    def changed():
        response = check(stack.get("/api/nodes/blue/node-6", headers={"If-None-Match": tag}))
        return response if response.status_code == 200 else None

    assert eventually(changed, "another snapshot").headers["ETag"] != tag


@pytest.mark.parametrize("path", ["blue/unknown", "unknown/node-0", "BLUE/node-0", "blue/NODE-0", "blue/" + "n" * 128])
def test_node_never_heard_of_is_a_problem_404(stack, path):
    check_problem(stack.get(f"/api/nodes/{path}"), 404)


@pytest.mark.parametrize(
    "path",
    [
        "blue/%00",
        "blue/node-0%00",
        "blue/%ff",
        "blue/%E2%98%83",
        "blue/a%2Fb",
        "a%2F..%2Fb/node-0",
        "blue/node-0%2F",
        "%2E%2E%2F/node-0",
        "blue/-node",
        "blue/node-",
        "blue/node%20x",
        "blue/x' or '1' eq '1",
        "blue/node-0%23",
        "blue/node-0%3Fx",
        "blue/$metadata",
        "blue/(PartitionKey='blue',RowKey='node-0')",
        "blue/" + "n" * 129,
        "blue/" + "n" * 7000,
        "blue/node-0?x=1",
    ],
)
def test_names_that_cannot_be_are_problems_400(stack, path):
    check_problem(stack.get(f"/api/nodes/{path}"), 400)


def test_path_longer_than_the_host_takes_is_refused_and_the_host_lives(stack):
    assert stack.get("/api/nodes/blue/" + "n" * 10_000).status_code in (400, 414)

    assert stack.get("/api/health").status_code == 200


def test_dead_letters_are_listed_and_raw_bytes_are_exactly_what_was_sent(stack):
    letters = check(stack.get("/api/dead-letters")).json()["deadLetters"]

    letters.sort(key=lambda letter: letter["sequenceNumber"])
    assert [letter["sizeBytes"] for letter in letters] == [len(raw) for raw in POISON]
    assert [letter["reason"] for letter in letters] == [
        "not_json",
        "not_json",
        "unsupported_version",
        "bad_compression",
    ]
    for letter, raw in zip(letters, POISON, strict=True):
        response = check(stack.get(letter["raw"]))
        assert response.content == raw
        assert response.headers["Content-Type"] == "application/octet-stream"
        assert response.headers["Content-Disposition"] == "attachment"
        assert response.headers["X-Content-Type-Options"] == "nosniff"


def test_pages_of_dead_letters_give_each_once(stack):
    path, seen = "/api/dead-letters?limit=1", []
    for _ in range(len(POISON) + 1):
        body = check(stack.get(path)).json()
        seen += [letter["sequenceNumber"] for letter in body["deadLetters"]]
        path = body["next"]
        if path is None:
            break

    assert path is None
    assert len(seen) == len(set(seen)) == len(POISON)


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=x",
        "cluster=blue",
        "continuation=zzz",
        "continuation=%00",
        "continuation=eyJNYXJrZXIiOiAiXHUwMDAwIn0%3D",
    ],
)
def test_bad_parameters_of_the_list_of_dead_letters_are_problems(stack, query):
    check_problem(stack.get(f"/api/dead-letters?{query}"), 400)


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("0000000000000/telemetry/0/1", 404),
        ("0000000000000/telemetry/0/99999999999999999999", 400),
        ("x", 400),
        ("0000000000000/%2E%2E/0/1", 400),
        ("0000000000000/a%2Fb/0/1", 400),
        ("0000000000000/a%00b/0/1", 400),
        ("0000000000000/telemetry/0/1%3Fcomp=list", 400),
        ("0000000000000/%E2%98%83/0/1", 400),
        ("%D9%A0000000000000/telemetry/0/1", 400),
        ("0000000000000/telemetry/0/1?x=1", 404),
        ("0" * 7000, 400),
    ],
)
def test_dead_letter_that_cannot_be_or_is_not_is_a_problem(stack, name, status):
    check_problem(stack.get(f"/api/dead-letters/{name}"), status)


PROTECTED = [
    "/api/nodes",
    "/api/nodes/blue/node-0",
    "/api/dead-letters",
    "/api/dead-letters/0000000000000/telemetry/0/1",
]


@pytest.mark.parametrize("path", PROTECTED)
@pytest.mark.parametrize("key", [None, "wrong", FIRST_KEY[:-1], FIRST_KEY + "x", f"{FIRST_KEY}, {SECOND_KEY}", ","])
def test_request_without_a_right_key_is_a_problem_401(stack, path, key):
    problem = check_problem(stack.get(path, key=key), 401)

    assert ("missing" in problem["detail"]) == (key is None)
    assert FIRST_KEY not in problem["detail"]


def test_key_is_asked_for_before_anything_else(stack):
    check_problem(stack.get("/api/nodes?limit=x", key="wrong"), 401)
    check_problem(stack.get("/api/nodes/blue/unknown", key=None), 401)


@pytest.mark.parametrize("key", [FIRST_KEY, SECOND_KEY])
def test_either_key_opens_as_header_and_as_parameter(stack, key):
    assert check(stack.get("/api/nodes", key=key)).status_code == 200
    assert check(stack.get(f"/api/nodes?code={quote(key)}", key=None)).status_code == 200
    check_problem(stack.get(f"/api/nodes?code={quote(key)}", key="wrong"), 401)


def test_key_in_a_parameter_is_not_handed_on(stack):
    response = check(stack.get(f"/api/nodes?limit=1&code={FIRST_KEY}", key=None))
    problem = check_problem(stack.get(f"/api/nodes?limit=0&code={FIRST_KEY}", key=None), 400)

    assert FIRST_KEY not in response.text
    assert FIRST_KEY not in json.dumps(problem)
