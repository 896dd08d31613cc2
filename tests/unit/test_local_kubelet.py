"""The stand-in kubelet's made-up node, its access and its faults."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.kubelet.access import Access, Denied
from local.kubelet.faults import Fault, FaultOrder
from local.kubelet.node import SimulatedNode

START = 1_800_000_000.0
times = st.floats(START, START + 100_000)


def node(**changes):
    return SimulatedNode(12, started=START, **changes)


def counters(pod):
    yield pod["cpu"]["usageCoreNanoSeconds"]
    yield pod["network"]["rxBytes"]
    yield pod["network"]["txBytes"]


@given(times, st.floats(0, 10_000))
def test_counters_never_fall_while_a_pod_lives(at, later):
    for before, after in zip(node().summary(at)["pods"], node().summary(at + later)["pods"], strict=True):
        assert before["podRef"] == after["podRef"]
        assert all(one <= other for one, other in zip(counters(before), counters(after), strict=True))


@given(times)
def test_usage_is_what_the_counter_grew_by_in_the_kubelets_window(at):
    before, after = node().summary(at), node().summary(at + 10)

    for one, other in zip(before["pods"], after["pods"], strict=True):
        grown = other["cpu"]["usageCoreNanoSeconds"] - one["cpu"]["usageCoreNanoSeconds"]
        assert other["cpu"]["usageNanoCores"] == pytest.approx(grown / 10, rel=0.01)


def test_a_pod_is_read_every_ten_seconds_at_a_moment_of_its_own():
    seen = [node().summary(START + second)["pods"] for second in range(60)]

    for pod in range(12):
        assert 6 <= len({pods[pod]["network"]["time"] for pods in seen}) <= 7
    moments = [[pods[pod]["network"]["time"] for pods in seen] for pod in range(12)]
    assert len({tuple(times) for times in moments}) > 3


def test_churn_gives_a_statefulsets_pod_a_successor_that_counts_anew():
    churning = node(churn=100)
    before, after = (churning.summary(START + second)["pods"][1] for second in (0, 100))

    assert (before["podRef"]["name"], before["podRef"]["namespace"]) == (
        after["podRef"]["name"],
        after["podRef"]["namespace"],
    )
    assert before["podRef"]["uid"] != after["podRef"]["uid"]
    assert after["network"]["rxBytes"] < 100 * 200_000


def test_a_crashing_pods_container_has_another_start_time():
    crashing = node(crash_every=100)
    starts = [crashing.summary(START + second)["pods"][2]["containers"][0]["startTime"] for second in (0, 99, 100)]

    assert starts[0] == starts[1] != starts[2]


def test_nodes_of_one_seed_are_one_node_and_others_are_others():
    assert node(seed=1).summary(START) == node(seed=1).summary(START)
    assert node(seed=1).summary(START) != node(seed=2).summary(START)


class TestAccess:
    @pytest.mark.parametrize("header", ["", "Bearer", "Bearer other", "Basic good", "bearer good"])
    def test_what_is_no_known_token_is_unauthorized(self, tmp_path, header):
        path = tmp_path / "tokens.json"
        path.write_text(json.dumps({"good": ["nodes/stats"]}))

        with pytest.raises(Denied, match="Unauthorized") as denied:
            Access(path).check(header)

        assert denied.value.status == 401

    def test_a_token_without_the_right_is_forbidden(self, tmp_path):
        path = tmp_path / "tokens.json"
        path.write_text(json.dumps({"good": ["nodes/proxy"]}))

        with pytest.raises(Denied, match="Forbidden") as denied:
            Access(path).check("Bearer good")

        assert denied.value.status == 403

    def test_the_first_start_makes_a_token_and_later_ones_keep_it(self, tmp_path):
        path, token = tmp_path / "tokens.json", tmp_path / "token"

        Access.make(path, token).check(f"Bearer {token.read_text()}")
        made = token.read_text()
        Access.make(path, token).check(f"Bearer {made}")

        assert token.read_text() == made


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ([], "must be a JSON object"),
        ({"fault": "nap"}, "fault must be one of none, slow"),
        ({"fault": []}, "fault must be one of"),
        ({"speed": 1}, "unknown: speed; known: fault, seconds, mebibytes, status"),
        ({"seconds": -1}, "seconds must be a number from 0 to 600, got -1"),
        ({"seconds": True}, "seconds must be a number"),
        ({"mebibytes": 1.5}, "mebibytes must be a number from 1 to 256, got 1.5"),
        ({"mebibytes": 0}, "mebibytes must be a number from 1 to 256"),
        ({"status": 200}, "status must be a number from 400 to 599, got 200"),
    ],
)
def test_a_wrong_order_is_refused_with_what_would_be_right(document, expected):
    with pytest.raises(ValueError, match=expected):
        FaultOrder.parse(document)


def test_an_order_has_defaults():
    assert FaultOrder.parse({}) == FaultOrder()
    assert FaultOrder.parse({"fault": "huge"}) == FaultOrder(Fault.HUGE, mebibytes=20)
