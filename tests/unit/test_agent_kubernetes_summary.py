"""What is read out of a kubelet's Summary, and what is refused."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.host.kubelet import KubeletError
from agent.host.kubelet_summary import Traffic, read_pods
from local.kubelet.node import SimulatedNode

AT = "2026-11-01T10:00:05Z"
GIB = 2**30


def pod(name="web-0", namespace="shop", uid="uid-1", **changes):
    """A pod with one container and all that the collector reads; ... takes a member away."""
    found = {
        "podRef": {"name": name, "namespace": namespace, "uid": uid},
        "startTime": "2026-11-01T09:00:00Z",
        "containers": [{"name": "main", "startTime": "2026-11-01T09:00:01Z"}],
        "cpu": {"time": AT, "usageNanoCores": 250_000_000, "usageCoreNanoSeconds": 10**12},
        "memory": {"time": AT, "workingSetBytes": 64 * 2**20, "usageBytes": 80 * 2**20},
        "network": interfaces(1_000, 500),
        "volume": [{"time": AT, "usedBytes": GIB, "capacityBytes": 4 * GIB, "availableBytes": 3 * GIB, "name": "tmp"}],
        "ephemeral-storage": {"time": AT, "usedBytes": 5_000, "capacityBytes": 100 * GIB, "availableBytes": GIB},
    }
    return {key: value for key, value in {**found, **changes}.items() if value is not ...}


def interfaces(received, sent, *names):
    first, *others = names or ("eth0",)
    default = {"name": first, "rxBytes": received, "rxErrors": 0, "txBytes": sent, "txErrors": 0}
    return {"time": AT, **default, "interfaces": [default, *({"name": name, "rxBytes": 7} for name in others)]}


def summary(*pods, **node):
    return {"node": {"nodeName": "n", **node}, "pods": list(pods)}


def only(document):
    (found,) = read_pods(document)
    return found


def refusal(document):
    with pytest.raises(KubeletError) as caught:
        read_pods(document)
    return str(caught.value)


def test_every_number_of_a_pod_is_read():
    found = only(summary(pod()))

    assert found.name == "shop/web-0"
    assert (found.uid, found.cpu, found.memory) == ("uid-1", 0.25, 64 * 2**20)
    assert found.traffic == Traffic(1_000, 500, datetime(2026, 11, 1, 10, 0, 5, tzinfo=UTC).timestamp())
    assert (found.volume, found.storage) == (0.25, 5_000)
    assert found.starts == {"main": "2026-11-01T09:00:01Z"}


@pytest.mark.parametrize("key", ["startTime", "containers", "cpu", "memory", "network", "volume", "ephemeral-storage"])
@pytest.mark.parametrize("gone", [..., None])
def test_what_a_kubelet_leaves_out_is_left_out(key, gone):
    complete, found = only(summary(pod())), only(summary(pod(**{key: gone})))

    lost = {"startTime": set(), "containers": {"starts"}, "network": {"traffic"}, "ephemeral-storage": {"storage"}}
    expected = lost.get(key, {key})
    assert {field for field in complete._fields if getattr(found, field) != getattr(complete, field)} == expected
    assert all(getattr(found, field) in (None, {}) for field in expected)


@pytest.mark.parametrize("document", [{}, {"pods": None}, {"node": None, "pods": []}, summary()])
def test_a_node_without_pods_has_none(document):
    assert read_pods(document) == []


def test_a_pod_of_nothing_but_a_name_is_known_by_it():
    assert only(summary({"podRef": {"name": "a", "namespace": "b"}}))[:5] == ("b/a", "", None, None, None)


def test_a_container_that_has_just_started_has_no_cpu_window_yet():
    assert only(summary(pod(cpu={"time": AT, "usageCoreNanoSeconds": 5}))).cpu is None


def test_a_kubelet_without_numbers_of_pods_has_those_of_all_containers_summed():
    containers = [
        {"name": name, "cpu": {"usageNanoCores": 10**8}, "memory": {"workingSetBytes": 100}} for name in ("a", "b")
    ]

    found = only(summary(pod(cpu=..., memory=..., containers=containers)))

    assert (found.cpu, found.memory) == (0.2, 200)


def test_a_sum_that_lacks_a_container_is_none():
    containers = [{"name": "a", "cpu": {"usageNanoCores": 10**8}}, {"name": "b"}]

    assert only(summary(pod(cpu=..., containers=containers))).cpu is None


def test_pods_come_in_the_order_of_their_names_whatever_the_kubelets():
    names = [each.name for each in read_pods(summary(pod("b"), pod("a"), pod("z", "a")))]

    assert names == ["a/z", "shop/a", "shop/b"]


@pytest.mark.parametrize("order", [1, -1])
def test_of_two_pods_of_one_name_the_younger_is_taken(order):
    old, young = pod(uid="old"), pod(uid="young", startTime="2026-11-01T09:30:00Z")

    assert only(summary(*(old, young)[::order])).uid == "young"


@pytest.mark.parametrize("order", [1, -1])
def test_of_two_containers_of_one_name_the_younger_is_taken(order):
    containers = [{"name": "main", "startTime": f"2026-11-01T09:0{minute}:00Z"} for minute in (1, 2)]

    assert only(summary(pod(containers=containers[::order]))).starts == {"main": "2026-11-01T09:02:00Z"}


class TestVolumes:
    def fullness(self, *volumes):
        return only(summary(pod(volume=list(volumes)))).volume

    def test_the_fullest_counts(self):
        half = {"name": "b", "usedBytes": 50, "capacityBytes": 100}

        assert self.fullness({"name": "a", "usedBytes": 1, "capacityBytes": 100}, half) == 0.5

    def test_a_claimed_volume_is_full_when_nobody_but_root_can_write(self):
        claim = {"usedBytes": 95, "capacityBytes": 100, "availableBytes": 0, "pvcRef": {"name": "c", "namespace": "n"}}

        assert self.fullness(claim) == 1.0

    def test_a_directory_on_the_nodes_disk_is_not_full_because_the_disk_is(self):
        assert self.fullness({"usedBytes": 1, "capacityBytes": 100, "availableBytes": 0}) == 0.01

    @pytest.mark.parametrize(
        "volume",
        [
            {},
            {"usedBytes": 0, "capacityBytes": 0},
            {"capacityBytes": 100},
            {"usedBytes": 0, "capacityBytes": 100, "pvcRef": {}},
            {"usedBytes": 0, "availableBytes": 0, "pvcRef": {}},
        ],
    )
    def test_one_without_a_size_has_no_fullness(self, volume):
        assert self.fullness(volume) is None


class TestTraffic:
    def received(self, network, node_network):
        traffic = only(summary(pod(network=network), network=node_network)).traffic
        return None if traffic is None else traffic.received

    def test_a_pod_on_the_hosts_network_is_not_given_the_nodes_traffic(self):
        ends = ("eth0", "azv1", "azv2")

        assert self.received(interfaces(900, 90, *ends), interfaces(10**9, 10**8, *reversed(ends))) is None

    def test_interfaces_that_the_kernel_puts_everywhere_do_not_make_a_host_network(self):
        own, nodes = interfaces(900, 90, "eth0", "sit0", "tunl0"), interfaces(10**9, 10**8, "eth0", "tunl0", "sit0")

        assert self.received(own, nodes) == 900

    @pytest.mark.parametrize(("received", "expected"), [(999_000, None), (1_000, 1_000)])
    def test_of_single_interfaces_the_counters_tell(self, received, expected):
        assert self.received(interfaces(received, 5_000), interfaces(1_000_000, 5_000)) == expected

    def test_a_node_without_network_numbers_hides_nobodys(self):
        assert self.received(interfaces(900, 90), None) == 900

    def test_a_kubelet_that_lists_no_interfaces_is_judged_by_its_default_one(self):
        bare = {"time": AT, "rxBytes": 1_000, "txBytes": 500}

        assert self.received(bare, bare) == 1_000, "without any name nothing is known"
        assert self.received({**bare, "name": "eth0"}, {**bare, "name": "eth0"}) is None

    def test_other_interfaces_than_the_default_one_are_not_added(self):
        assert self.received(interfaces(900, 90, "eth0", "net1"), interfaces(10**9, 10**8)) == 900


WRONG = [
    ([], "the document must be an object, got []"),
    ("text", "the document must be an object, got 'text'"),
    ({"pods": {}}, "pods must be a list of objects, got {}"),
    ({"pods": [1]}, "pods must be a list of objects, got [1]"),
    ({"pods": [{}]}, "pods[0].podRef must be a namespace and a name, got {}"),
    ({"pods": [{"podRef": {"name": "a"}}]}, "pods[0].podRef must be a namespace and a name, got {'name': 'a'}"),
    ({"node": 1}, "node must be an object, got 1"),
    (summary(network={"rxBytes": -1}), "node.network.rxBytes must be a number from 0 to 2^64, got -1"),
    (summary(pod(), pod(cpu=3)), "pods[1].cpu must be an object, got 3"),
    (summary(pod(cpu={"usageNanoCores": "1"})), "pods[0].cpu.usageNanoCores must be a number from 0 to 2^64, got '1'"),
    (
        summary(pod(cpu={"usageNanoCores": True})),
        "pods[0].cpu.usageNanoCores must be a number from 0 to 2^64, got True",
    ),
    (summary(pod(memory={"workingSetBytes": 2**64})), "pods[0].memory.workingSetBytes must be a number from 0 to 2^64"),
    (summary(pod(memory={"workingSetBytes": float("nan")})), "must be a number from 0 to 2^64, got nan"),
    (summary(pod(network={"time": "today"})), "pods[0].network.time must be a time with its zone"),
    (summary(pod(network={"time": "2026-11-01T00:00:00"})), "pods[0].network.time must be a time with its zone"),
    (summary(pod(network={"interfaces": "eth0"})), "pods[0].network.interfaces must be a list of objects, got 'eth0'"),
    (summary(pod(volume=[{"usedBytes": []}])), "pods[0].volume.usedBytes must be a number from 0 to 2^64, got []"),
    (summary(pod(containers=[{"name": 5}])), "pods[0].containers.name must be a text, got 5"),
    (summary(pod(startTime=5)), "pods[0].startTime must be a text, got 5"),
    (summary(pod(uid=5)), "pods[0].podRef.uid must be a text, got 5"),
]


@pytest.mark.parametrize(("document", "expected"), WRONG, ids=range(len(WRONG)))
def test_what_is_of_the_wrong_kind_is_named_with_its_place_and_value(document, expected):
    assert expected in refusal(document)


def test_a_long_wrong_value_is_cut():
    assert len(refusal({"pods": "x" * 10_000})) < 200


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(st.data())
def test_whatever_stands_in_a_summary_it_is_read_or_refused(data):
    document = json.loads(json.dumps(summary(pod(), pod("b"), network=interfaces(5, 5))))
    here = document
    while True:
        key = data.draw(st.sampled_from(sorted(here)) if isinstance(here, dict) else st.integers(0, len(here) - 1))
        inside = here[key]
        if not inside or not isinstance(inside, (dict, list)) or data.draw(st.booleans()):
            break
        here = inside
    here[key] = data.draw(json_values)

    try:
        found = read_pods(document)
    except KubeletError as error:
        assert len(str(error)) < 300
    else:
        assert all(isinstance(each.name, str) for each in found)


@pytest.mark.parametrize("number", [0, 1, 30, 250])
def test_the_stand_ins_node_is_read_whole(number):
    found = read_pods(SimulatedNode(number, started=1.8e9).summary(1.8e9 + 60))

    assert len(found) == number
    assert all(each.cpu and each.memory and each.volume is not None and each.storage for each in found)
    assert sum(each.traffic is None for each in found) == (number + 9) // 10, "those of the host's network"
