"""The agent in a container, with real namespaces: it sees the node, by the node's names, and nothing of its own."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from node_namespaces import REPOSITORY, Node

from telemetry.envelope import decode

PROBE = """
import json, sys
from agent.registry import make_collectors
from agent.resource import node_resource
from agent.settings import read_settings
import os

settings = read_settings(os.environ, publishing=False)
collectors = make_collectors(settings.collectors, settings.host)
for line in sys.stdin:
    found = {}
    for collector in collectors:
        try:
            found[collector.name] = [[r.key, r.device, r.value] for r in collector.collect()]
        except OSError as error:
            found[collector.name] = str(error)
    found["resource"] = node_resource(settings.host, settings.node)
    print(json.dumps(found), flush=True)
"""
IN_POD = {
    "PYTHONPATH": str(REPOSITORY),
    "NODE_NAME": "node-1",
    "AGENT_PROCFS": "/host/proc",
    "AGENT_SYSFS": "/host/sys",
    "AGENT_ROOTFS": "/host/root",
}
ON_NODE = {"PYTHONPATH": str(REPOSITORY), "NODE_NAME": "node-1"}


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    with Node() as node:
        yield node


class Probe:
    """The agent's collectors as a process that reads once for every line it gets."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [*command, sys.executable, "-c", PROBE],
            env=environment,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def __enter__(self) -> "Probe":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=20)

    def read(self) -> dict:
        """Everything that is read now, by collector: a list of readings or what is wrong."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, f"the probe ended: {self._process.wait(20)}"
        return json.loads(line)


@pytest.fixture(scope="module")
def pod(node) -> Iterator[Probe]:
    with Probe(node.in_pod(), IN_POD) as probe:
        probe.read()
        yield probe


@pytest.fixture(scope="module")
def host(node) -> Iterator[Probe]:
    """The same on the node itself, with all privileges."""
    with Probe(node.inside.command(), ON_NODE) as probe:
        probe.read()
        yield probe


def values(found: dict, collector: str, device: str | None = None) -> dict[str, float]:
    assert isinstance(found[collector], list), found[collector]
    return {key: value for key, of, value in found[collector] if of == device}


def devices(found: dict, collector: str) -> set[str]:
    assert isinstance(found[collector], list), found[collector]
    return {device for _, device, _ in found[collector]}


def test_no_collector_fails_without_privileges(pod):
    assert {name: said for name, said in pod.read().items() if isinstance(said, str)} == {}


def test_interfaces_and_their_counters_are_the_nodes(node, pod):
    before = values(pod.read(), "network", "eth0")
    node.sh("for i in {1..25}; do echo hello > /dev/udp/10.9.0.2/9; done")
    node.pod.sh("ping -c 1 -W 1 10.8.0.1 || true; for i in {1..3}; do echo hello > /dev/udp/10.8.0.9/9 || true; done")
    found = pod.read()
    plain = next(line.split() for line in node.sh("cat /proc/net/dev").splitlines() if "eth0:" in line)
    of_pod = next(line.split() for line in node.pod.sh("cat /proc/net/dev").splitlines() if "eth0:" in line)

    assert devices(found, "network") == {"eth0", "wire"}
    after = values(found, "network", "eth0")
    assert [after["rx"], after["tx"], after["tx_packets"]] == [int(plain[1]), int(plain[9]), int(plain[10])]
    assert after["tx_packets"] == before["tx_packets"] + 25
    assert after["tx"] != int(of_pod[9])


def test_sockets_are_the_nodes(node, pod):
    script = (
        "import socket; s = [socket.create_server(('127.0.0.1', 0)) for _ in range(20)]; print(flush=True); input()"
    )
    before = values(pod.read(), "sockets")
    listening = subprocess.Popen(
        node.inside.command(sys.executable, "-c", script), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert listening.stdout and listening.stdout.readline()
        after = values(pod.read(), "sockets")
    finally:
        listening.communicate(b"\n", timeout=20)

    assert after["tcp"] == before["tcp"] + 20
    assert after["sockets"] >= before["sockets"] + 20


def test_file_systems_are_the_nodes_by_its_names_each_once(node, pod, host):
    inside, outside = pod.read(), host.read()
    data = f"{node.directory}/data"
    plain = node.sh("stat -f -c '%b %f %S' data").split()

    assert devices(inside, "filesystem") == devices(outside, "filesystem") >= {data}
    own = {"/etc/hosts", "/spool", "/usr", str(REPOSITORY), f"{node.directory}/bind"}
    assert not own & devices(inside, "filesystem")
    blocks, free, size = (int(text) for text in plain)
    assert values(inside, "filesystem", data)["used"] == (blocks - free) * size
    for mountpoint in devices(inside, "filesystem"):
        here, there = values(inside, "filesystem", mountpoint), values(outside, "filesystem", mountpoint)
        assert here["full"] == pytest.approx(there["full"], abs=0.01)


def test_what_is_mounted_on_the_node_later_is_seen_and_gone_when_unmounted(node, pod):
    later = f"{node.directory}/later"
    assert later not in devices(pod.read(), "filesystem")

    node.sh("mount -o loop disk-2 later")
    assert later in devices(pod.read(), "filesystem")

    node.sh("umount later")
    assert later not in devices(pod.read(), "filesystem")


def test_counts_and_memory_are_what_the_node_says(pod, host):
    inside, outside = pod.read(), host.read()

    assert values(inside, "memory").keys() == values(outside, "memory").keys()
    total = sum(values(inside, "memory")[key] for key in ("mem.used", "mem.free", "mem.cached"))
    assert total == sum(values(outside, "memory")[key] for key in ("mem.used", "mem.free", "mem.cached"))
    assert values(inside, "system")["uptime"] == pytest.approx(values(outside, "system")["uptime"], abs=20)
    assert values(inside, "files")["fds"] == pytest.approx(values(outside, "files")["fds"], rel=0.5)
    assert values(inside, "cpu")["procs"] == pytest.approx(values(outside, "cpu")["procs"], abs=50)
    assert values(inside, "cpu")["procs.created"] == pytest.approx(values(outside, "cpu")["procs.created"], abs=500)
    assert devices(inside, "disk") == devices(outside, "disk")
    assert values(inside, "pressure").keys() == values(outside, "pressure").keys()


def test_constants_are_the_nodes_and_not_the_pods(node, host):
    name = Path("/etc/hostname")
    with Probe(node.in_pod("taskset", "1"), IN_POD) as pod:
        inside, outside = pod.read()["resource"], host.read()["resource"]

    assert outside["hostname"] == "the-node"
    assert inside.pop("hostname") == (name.read_text().strip() if name.exists() else "node-1")
    assert inside == {key: value for key, value in outside.items() if key != "hostname"}


def test_a_proc_that_hides_process_one_is_named_and_the_rest_is_read(node):
    hidden = f"/host/root{node.directory}/hidden"
    with Probe(node.in_pod(), IN_POD | {"AGENT_PROCFS": hidden}) as pod:
        found = pod.read()

    failed = {name: said for name, said in found.items() if isinstance(said, str)}
    assert failed.keys() == {"network", "sockets"}
    assert "without hidepid" in failed["network"] and f"{hidden}/1/net/dev" in failed["network"]
    assert values(found, "memory") and devices(found, "filesystem")


def test_the_agent_itself_runs_there(node):
    command = node.in_pod(sys.executable, "-m", "agent", "--once")
    done = subprocess.run(command, env=IN_POD, capture_output=True, timeout=60)

    envelope = decode(done.stdout)

    assert (done.returncode, done.stderr) == (0, b"")
    assert envelope.node == "node-1"
    assert set(envelope.devices["network"]["interface"]) == {"eth0", "wire"}
    assert f"{node.directory}/data" in envelope.devices["filesystem"]["mountpoint"]
    assert 0 < envelope.metrics["mem"][0] < 1 and envelope.metrics["uptime"][0] > 0


@pytest.mark.parametrize("path", ["/", "/host/root"])
def test_not_even_root_could_write_in_this_pod(node, path):
    """So that what is shown here holds for the hardened container too."""
    done = subprocess.run(node.pod.command("touch", f"{path}/x"), capture_output=True, text=True, timeout=20)

    assert "Read-only file system" in done.stderr
