"""What the agent reads in a container without a network and with a root of its own is what the node's /proc says."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.eventually import eventually
from tests.image.host_recorder import HostRecorder, Reading, disk, interface, line, memory, read_node
from tests.image.image_container import Container

REPOSITORY = Path(__file__).parents[2]
MIB = 1024 * 1024
SECTOR = 512
HTTP = 9464
COUNTERS = {
    r"system_cpu_context_switches_total": lambda: line("stat", "ctxt", 1),
    r"system_process_created_total": lambda: line("stat", "processes", 1),
    r'system_network_io_bytes_total\{network_interface_name="(.+)",network_io_direction="receive"\}': (
        lambda name: interface(name, 0)
    ),
    r'system_network_io_bytes_total\{network_interface_name="(.+)",network_io_direction="transmit"\}': (
        lambda name: interface(name, 8)
    ),
    r'system_disk_operations_total\{system_device="(.+)",disk_io_direction="read"\}': lambda name: disk(name, 3),
    r'system_disk_operations_total\{system_device="(.+)",disk_io_direction="write"\}': lambda name: disk(name, 7),
}
"""Series of /metrics, and the counter of the node each is."""


class Observed:
    """One envelope of `--once` in the container, one taken on the node, and what /proc said meanwhile."""

    def __init__(self, in_container: dict, on_node: dict, recorder: HostRecorder) -> None:
        self.document = in_container
        self.on_node = on_node
        self.recorder = recorder
        self.first, self.second = (milliseconds / 1000 for milliseconds in in_container["time"])
        self._columns = dict(zip(in_container["keys"], in_container["values"], strict=True))

    def value(self, key: str) -> float:
        """A metric of the second sample."""
        return self._columns[key][1]

    def device(self, device_class: str, key: str) -> dict[str, float]:
        """A metric of the second sample, by device."""
        columns = self._columns[f"{device_class}.{key}"]
        return {name: column[1] for name, column in zip(self.devices(device_class), columns, strict=True)}

    def devices(self, device_class: str) -> list[str]:
        return self.document["devices"][device_class]


@pytest.fixture(scope="module")
def observed(engine, image_name) -> Iterator[Observed]:
    with HostRecorder() as recorder:
        time.sleep(0.5)
        container = Container(engine, image_name, ["--once"])
        code = container.wait()
    ended = subprocess.run(
        [sys.executable, "-m", "agent", "--once"],
        cwd=REPOSITORY,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        timeout=30,
        check=True,
    )
    try:
        assert code == 0, container.log()
        assert [entry for entry in container.log() if entry["level"] in ("warning", "error", "critical")] == []
        yield Observed(json.loads(container.output()), json.loads(ended.stdout), recorder)
    finally:
        container.remove()


def parse(exposition: str) -> dict[str, float]:
    """The series of a scrape; nothing before the first sample."""
    lines = [each for each in exposition.splitlines() if not each.startswith("#")]
    series = {name: float(value) for name, _, value in (each.rpartition(" ") for each in lines)}
    return series if "system_cpu_context_switches_total" in series else {}


def within(value: float, bounds: tuple[float, float], slack: float = 0.0) -> bool:
    return bounds[0] - slack <= value <= bounds[1] + slack


def test_it_has_the_same_metrics_as_the_agent_on_the_node_itself(observed):
    assert set(observed.document["keys"]) == set(observed.on_node["keys"])
    assert observed.document["devices"] == observed.on_node["devices"]


def test_the_nodes_constants_are_the_nodes(observed):
    told = observed.document["resource"]

    assert told["cpus"] == os.cpu_count()
    assert told["memory"] == memory("MemTotal")(read_node())
    assert told["kernel"] == os.uname().release
    assert told["boot_time"] == pytest.approx(line("stat", "btime", 1)(read_node()), abs=1)


def test_memory_is_the_nodes_and_not_the_containers_128_mib(observed):
    for key, name in (("mem.available", "MemAvailable"), ("mem.free", "MemFree")):
        bounds = observed.recorder.range(memory(name), observed.second)

        assert within(observed.value(key), bounds, 8 * MIB), key
        assert observed.value(key) > 128 * MIB


def test_load_is_the_nodes(observed):
    for column, key in enumerate(("load.1m", "load.5m", "load.15m")):
        bounds = observed.recorder.range(
            lambda each, c=column: float(each.files["loadavg"].split()[c]), observed.second
        )

        assert within(observed.value(key), bounds, 0.011), key


def test_processes_are_the_nodes_and_not_the_containers_one(observed):
    bounds = observed.recorder.range(lambda each: each.processes, observed.second)

    assert within(observed.value("procs"), bounds, 3)
    assert observed.value("procs") > 3


def test_open_files_and_sockets_are_the_nodes(observed):
    files = observed.recorder.range(lambda each: float(each.files["sys/fs/file-nr"].split()[0]), observed.second)
    sockets = observed.recorder.range(line("1/net/sockstat", "sockets:", 2), observed.second)

    assert within(observed.value("fds"), files, 64)
    assert within(observed.value("sockets"), sockets, 8)


def test_cpu_time_is_the_nodes(observed):
    def busy(reading: Reading) -> float:
        user, nice, system, _, _, irq, softirq, steal = map(int, reading.files["stat"].splitlines()[0].split()[1:9])
        return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK") / (os.cpu_count() or 1)

    assert within(observed.value("cpu"), observed.recorder.rates(busy, observed.first, observed.second), 0.02)


def test_context_switches_are_the_nodes(observed):
    bounds = observed.recorder.rates(line("stat", "ctxt", 1), observed.first, observed.second)

    assert bounds[0] > 0
    assert within(observed.value("cpu.switches"), bounds)


def test_disk_counters_are_the_nodes(observed):
    written = observed.device("disk", "write")

    for name, value in written.items():
        bounds = observed.recorder.rates(
            lambda each, n=name: disk(n, 9)(each) * SECTOR, observed.first, observed.second
        )
        assert within(value, bounds, 1), name
    assert sum(written.values()) > 0, "the recorder writes"


def test_network_counters_are_the_nodes_although_the_container_has_no_network(observed):
    sent = observed.device("network", "tx")

    assert "lo" not in sent
    for key, column in (("rx", 0), ("tx", 8)):
        for name, value in observed.device("network", key).items():
            bounds = observed.recorder.rates(interface(name, column), observed.first, observed.second)
            assert within(value, bounds, 1), (name, key)
    assert sum(sent.values()) > 0, "the recorder sends"


def test_file_systems_are_the_nodes_by_their_paths_there(observed):
    used, full = observed.device("filesystem", "used"), observed.device("filesystem", "full")

    assert "/" in used
    for path in used:
        plain = os.statvfs(path)
        plain_used = (plain.f_blocks - plain.f_bfree) * plain.f_frsize
        assert used[path] == pytest.approx(plain_used, rel=0.01, abs=64 * MIB), path
        assert full[path] == pytest.approx(plain_used / (plain_used + plain.f_bavail * plain.f_frsize), abs=0.01), path


def test_pressure_is_the_nodes(observed):
    assert ("psi.cpu" in observed.document["keys"]) == Path("/proc/pressure/cpu").exists()


def test_counters_that_prometheus_scrapes_are_the_nodes(start):
    settings = {
        "AGENT_SAMPLE_INTERVAL": "0.5",
        "AGENT_HTTP_LISTEN": f"0.0.0.0:{HTTP}",
        "EVENTHUB_FULLY_QUALIFIED_NAMESPACE": "unreachable.devops-monitor.test",
        "EVENTHUB_NAME": "telemetry",
    }
    before = read_node()
    container = start(settings=settings)
    container.when_listening(HTTP)

    scraped = eventually(lambda: parse(container.get(HTTP, "/metrics")[1]), "a first sample")

    after = read_node()
    checked = 0
    for series, value in scraped.items():
        for pattern, read in COUNTERS.items():
            if found := re.fullmatch(pattern, series):
                counter = read(*found.groups())
                assert counter(before) <= value <= counter(after), series
                checked += 1
    assert checked >= len(COUNTERS)
