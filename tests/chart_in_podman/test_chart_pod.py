"""The chart's pod, run by podman as the manifests say, against the broker of this repository."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import psutil
import pytest
from podman_pods import IMAGE, NODE, Podman, RunningPod, chart, connection_string, playing

from agent.service import STOP_WITHIN
from tests.eventually import eventually
from tests.functional.agent_process import BrokerProcess

Play = Callable[..., AbstractContextManager[RunningPod]]

pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # the SDK's sockets
    pytest.mark.timeout(180),
]


@pytest.fixture(scope="module")
def podman() -> Podman:
    engine = Podman()
    assert engine.has_image(IMAGE), f"podman has no image {IMAGE}; build it with `make image ENGINE=podman`"
    return engine


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[BrokerProcess]:
    running = BrokerProcess(tmp_path / "broker")
    yield running
    running.stop()


@pytest.fixture
def play(podman: Podman, tmp_path: Path) -> Play:
    """Runs the agent of the chart with changed values; with a hostPath its init container runs before."""

    def start(broker: BrokerProcess, **changes: Any) -> AbstractContextManager[RunningPod]:
        values = {"eventHubs": {"connectionString": connection_string(broker.port)}, **changes}
        manifests, pod = chart(**values)
        for container in pod["spec"].get("initContainers", []):
            once = {**pod, "spec": {**pod["spec"], "restartPolicy": "Never"}}
            with playing(podman, tmp_path, manifests, once, container) as init:
                assert eventually(lambda: init.exit_code is not None, "the end of the init container")
                assert init.exit_code == 0, init.log()
        return playing(podman, tmp_path, manifests, pod, pod["spec"]["containers"][0])

    return start


def answer(url: str) -> tuple[int, str]:
    """Status and body; 0 while nobody listens."""
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return 0, ""


def process_status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def test_the_pod_becomes_ready_and_its_envelopes_arrive_at_the_broker(play: Play, broker: BrokerProcess) -> None:
    with play(broker) as pod:
        eventually(lambda: answer(f"{pod.url}/healthz")[0] == 200, "a healthy pod")
        eventually(lambda: answer(f"{pod.url}/readyz")[0] == 200, "a ready pod")
        status, metrics = answer(f"{pod.url}/metrics")

    envelopes = broker.envelopes(lambda found: len(found) >= 1)
    resource = envelopes[0].resource
    assert {(each.cluster, each.node) for each in envelopes} == {("local-kubernetes", NODE)}
    assert resource is not None
    assert resource["memory"] == psutil.virtual_memory().total
    assert (status, "system_memory_usage_bytes" in metrics) == (200, True)


def test_the_pod_sees_the_interfaces_of_the_node_and_not_its_own(play: Play, broker: BrokerProcess) -> None:
    everything = {"agent": {"net": {"exclude": "^$"}}}
    with play(broker, **everything) as pod:
        own = {line.split(":")[0].strip() for line in Path(f"/proc/{pod.pid}/net/dev").read_text().splitlines()[2:]}
        (envelope, *_) = broker.envelopes(lambda found: len(found) >= 1)

    seen = {str(name) for name in envelope.devices["network"]["interface"]}
    assert own == {"lo", "tap0"}
    assert "tap0" not in seen
    assert {"lo"} < seen <= psutil.net_io_counters(pernic=True).keys()


def test_the_process_may_nothing_but_read(play: Play, broker: BrokerProcess) -> None:
    with play(broker) as pod:
        status = process_status(pod.pid)
        mounts = [line.split() for line in Path(f"/proc/{pod.pid}/mountinfo").read_text().splitlines()]
        namespace = Path(f"/proc/{pod.pid}/ns/pid").readlink()

    options = {fields[4]: fields[5].split(",") for fields in mounts}
    assert status["Uid"].split() == ["10001"] * 4
    assert status["Gid"].split() == ["10001"] * 4
    assert {status[each] for each in ("CapEff", "CapPrm", "CapBnd", "CapInh", "CapAmb")} == {"0" * 16}
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    assert [path for path in ("/", "/host/proc", "/host/sys", "/host/root") if "ro" not in options[path]] == []
    assert "rw" in options["/spool"]
    assert namespace != Path("/proc/self/ns/pid").readlink()


def test_an_order_to_stop_is_followed_in_time(play: Play, broker: BrokerProcess) -> None:
    with play(broker) as pod:
        eventually(lambda: answer(f"{pod.url}/readyz")[0] == 200, "a ready pod")

        pod.stop(int(STOP_WITHIN) + 5)

        assert pod.exit_code == 0
        assert pod.events()[-1] == "stopped"


def test_a_spool_on_the_node_outlives_the_pod(play: Play, broker: BrokerProcess, tmp_path: Path) -> None:
    directory = tmp_path / "node" / "spool"
    directory.mkdir(parents=True)  # as the kubelet makes it: for root
    spool = {"spool": {"type": "hostPath", "hostPath": {"path": str(directory)}}}
    broker.stop()
    with play(broker, **spool) as pod:
        eventually(lambda: len(list(directory.glob("*.envelope"))) >= 2, "envelopes that wait")
        assert answer(f"{pod.url}/healthz")[0] == 200
        assert answer(f"{pod.url}/readyz")[0] == 503
    left = len(list(directory.glob("*.envelope")))

    broker.start()
    with play(broker, **spool):
        envelopes = broker.envelopes(lambda found: len({each.instance for each in found}) == 2)

    instances = list(dict.fromkeys(each.instance for each in envelopes))
    of_first = sorted({each.seq for each in envelopes if each.instance == instances[0]})
    assert directory.stat().st_uid == 10001
    assert of_first == list(range(1, left + 1))


def test_helm_test_finds_usable_settings_and_reads_the_node(podman: Podman, tmp_path: Path) -> None:
    manifests, _ = chart(eventHubs={"connectionString": connection_string(1)})
    pod = next(each for each in manifests if each["kind"] == "Pod")
    said = []

    for container in (*pod["spec"]["initContainers"], *pod["spec"]["containers"]):
        with playing(podman, tmp_path, manifests, pod, container) as running:
            assert eventually(lambda: running.exit_code is not None, "its end")
            assert running.exit_code == 0, running.log()
            said.append(json.loads(running.output()))

    settings, envelope = said
    assert (settings["cluster"], settings["event_hub"]) == ("local-kubernetes", "telemetry")
    assert (envelope["node"], len(envelope["time"])) == (NODE, 2)


def test_helm_test_fails_where_the_settings_are_unusable(podman: Podman, tmp_path: Path) -> None:
    manifests, _ = chart(agent={"disk": {"include": "("}})
    pod = next(each for each in manifests if each["kind"] == "Pod")

    with playing(podman, tmp_path, manifests, pod, pod["spec"]["initContainers"][0]) as running:
        assert eventually(lambda: running.exit_code is not None, "its end")
        assert running.exit_code == 2
        assert "AGENT_DISK_INCLUDE must be a regular expression" in running.log()
