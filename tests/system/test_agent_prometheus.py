"""The agent as a process, scraped by a real Prometheus, probed, and attacked."""

import contextlib
import errno
import http.client
import itertools
import json
import random
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics

from telemetry.agent_metrics import AGENT_FAMILIES
from telemetry.envelope import Envelope
from telemetry.prometheus import catalogue_families
from tests.eventually import eventually
from tests.functional.agent_process import AgentProcess, BrokerProcess
from tests.system.prometheus_process import PrometheusProcess

OPENMETRICS = {"Accept": "application/openmetrics-text; version=1.0.0"}
DOCUMENT = Path(__file__).parents[2] / "docs/prometheus.md"
SAMPLES = 12
"""How many Prometheus should have seen before anything is compared."""
MOST_RSS = 40 * 2**20
PATIENCE = 15.0
INSTANT = {"AGENT_PUBLISH_SPREAD": "0", "AGENT_CLUSTER": "dev", "EVENTHUB_NAME": "telemetry"}


class ServingAgent(AgentProcess):
    """An agent that serves HTTP on a free port."""

    def __init__(self, directory: Path, broker: str, **environment: str) -> None:
        settings = {"AGENT_HTTP_LISTEN": "127.0.0.1:0", "EVENTHUB_CONNECTION_STRING": broker, **INSTANT, **environment}
        super().__init__(directory, **settings)
        listening = eventually(
            lambda: [line for line in self.log() if line["event"] == "http_listening"], "a listening agent"
        )
        self.address = listening[0]["address"]

    def get(self, path: str, headers: dict[str, str] | None = None) -> tuple[http.client.HTTPResponse, str]:
        client = http.client.HTTPConnection(self.address, timeout=PATIENCE)
        try:
            client.request("GET", path, headers=headers or {})
            response = client.getresponse()
            return response, response.read().decode()
        finally:
            client.close()

    def judged(self, path: str) -> tuple[int, list[str]]:
        response, body = self.get(path)
        return response.status, json.loads(body).get("reasons", [])

    def values(self) -> dict[str, float]:
        """Series without labels -> value."""
        families = parse_openmetrics(self.get("/metrics", OPENMETRICS)[1])
        return {each.name: each.value for family in families for each in family.samples if not each.labels}

    def connect(self) -> socket.socket:
        host, _, port = self.address.rpartition(":")
        return socket.create_connection((host, int(port)), timeout=PATIENCE)


@pytest.fixture(scope="module")
def broker(tmp_path_factory) -> Iterator[BrokerProcess]:
    running = BrokerProcess(tmp_path_factory.mktemp("broker"))
    yield running
    running.stop()


@pytest.fixture(scope="module")
def agent(broker, tmp_path_factory) -> Iterator[ServingAgent]:
    running = ServingAgent(
        tmp_path_factory.mktemp("agent"),
        broker.connection_string,
        AGENT_SAMPLE_INTERVAL="1",
        AGENT_PUBLISH_INTERVAL="2",
        AGENT_POOL="user",
    )
    yield running
    running.stop()


@pytest.fixture(scope="module")
def prometheus(agent, tmp_path_factory) -> Iterator[PrometheusProcess]:
    """Prometheus, after it has seen the agent for a while."""
    running = PrometheusProcess(tmp_path_factory.mktemp("prometheus") / "data", agent.address, every="500ms")
    try:
        eventually(
            lambda: running.query(f"devops_monitor_agent_collector_runs_total{{collector='cpu'}} > {SAMPLES}"),
            "a dozen samples in Prometheus",
        )
        yield running
    finally:
        running.stop()


def proc(path: str) -> str:
    return Path("/proc", path).read_text()


def meminfo() -> dict[str, int]:
    return {line.split()[0].rstrip(":"): int(line.split()[1]) * 1024 for line in proc("meminfo").splitlines()}


def disks() -> dict[str, list[int]]:
    return {line.split()[2]: [int(text) for text in line.split()[3:]] for line in proc("diskstats").splitlines()}


def interfaces() -> dict[str, list[int]]:
    lines = (line.partition(":") for line in proc("1/net/dev").splitlines()[2:])
    return {name.strip(): [int(text) for text in rest.split()] for name, _, rest in lines}


def test_prometheus_scrapes_without_errors(prometheus, agent):
    (target,) = prometheus.ask("targets", state="active")["activeTargets"]

    assert (target["health"], target["lastError"]) == ("up", "")
    assert prometheus.value("up") == 1
    assert prometheus.value("avg_over_time(up[1h])") > 0.9
    assert prometheus.value("scrape_samples_scraped") == prometheus.value("scrape_samples_post_metric_relabeling") > 80
    assert not [
        line for line in prometheus.log.read_text().splitlines() if "level=warn" in line or "level=error" in line
    ]


def test_prometheus_knows_type_unit_and_meaning_of_every_family(prometheus, agent):
    metadata = {each["metric"]: each for each in prometheus.ask("targets/metadata", match_target='{job="agent"}')}
    families = {
        family.name: family
        for family in (*(each for group in catalogue_families().values() for each in group), *AGENT_FAMILIES)
    }

    exposed = {family.name for family in parse_openmetrics(agent.get("/metrics", OPENMETRICS)[1])}
    assert set(metadata) == exposed <= set(families)
    for name, each in metadata.items():
        family = families[name]
        assert (each["type"], each["unit"], each["help"]) == (family.type, family.unit, family.help)


def test_memory_is_what_proc_says(prometheus):
    total, slack = meminfo()["MemTotal"], 0.05 * meminfo()["MemTotal"]

    assert prometheus.value("sum(system_memory_usage_bytes)") == total
    available = prometheus.value("system_linux_memory_available_bytes")
    assert available == pytest.approx(meminfo()["MemAvailable"], abs=slack)
    assert prometheus.value("system_memory_utilization_ratio") == pytest.approx(1 - available / total, abs=0.0001)


def test_shares_of_cpu_time_add_up_and_load_is_what_proc_says(prometheus):
    busy = prometheus.value("system_cpu_busy_ratio")
    modes = prometheus.value("sum(system_cpu_utilization_ratio{cpu_mode!='iowait'})")

    assert 0 <= busy <= 1
    assert modes == pytest.approx(busy, abs=0.001)
    assert prometheus.value("system_cpu_load_average_15m") == pytest.approx(float(proc("loadavg").split()[2]), abs=0.5)
    assert prometheus.value("system_uptime_seconds") == pytest.approx(float(proc("uptime").split()[0]), abs=5)


def test_counters_are_the_kernel_s_own(prometheus, agent):
    """What Prometheus has of a counter lies between what /proc said before and says after the sample."""
    before_disks, before_interfaces = disks(), interfaces()
    before_switches = int(proc("stat").partition("\nctxt ")[2].split()[0])
    runs = prometheus.value("devops_monitor_agent_collector_runs_total{collector='disk'}")
    eventually(
        lambda: prometheus.query(f"devops_monitor_agent_collector_runs_total{{collector='disk'}} > {runs + 1}"),
        "two more samples",
    )
    read = dict_of(prometheus, "system_disk_io_bytes_total{disk_io_direction='read'}", "system_device")
    written = dict_of(prometheus, "system_disk_operations_total{disk_io_direction='write'}", "system_device")
    received = dict_of(
        prometheus, "system_network_io_bytes_total{network_io_direction='receive'}", "network_interface_name"
    )
    switches = prometheus.value("system_cpu_context_switches_total")
    after_disks, after_interfaces = disks(), interfaces()
    after_switches = int(proc("stat").partition("\nctxt ")[2].split()[0])

    assert read
    assert received
    for disk, value in read.items():
        assert before_disks[disk][2] * 512 <= value <= after_disks[disk][2] * 512
        assert before_disks[disk][4] <= written[disk] <= after_disks[disk][4]
    for interface, value in received.items():
        assert before_interfaces[interface][0] <= value <= after_interfaces[interface][0]
    assert before_switches < switches < after_switches


def dict_of(prometheus, promql: str, label: str) -> dict[str, float]:
    return {labels[label]: value for labels, value in prometheus.query(promql)}


def test_rates_of_prometheus_are_the_rates_on_the_wire(prometheus, agent, broker):
    """Of every sample that Prometheus has seen the counter's increase is the envelope's rate; rate() is their mean."""
    envelopes = broker.envelopes(lambda found: sum(len(each.time) for each in found) >= SAMPLES)
    on_the_wire = context_switches(envelopes)
    stamps = dict(prometheus.scraped("devops_monitor_agent_last_sample_timestamp_seconds"))
    totals = dict(prometheus.scraped("system_cpu_context_switches_total"))
    seen = sorted({round(stamp * 1000): totals[when] for when, stamp in stamps.items() if when in totals}.items())
    steps = [
        ((after - before) / 1000, total_after - total_before, on_the_wire[after])
        for (before, total_before), (after, total_after) in itertools.pairwise(seen)
        if after in on_the_wire
    ]

    assert len(steps) >= SAMPLES / 2
    for seconds, increase, rate in steps:
        assert rate == pytest.approx(increase / seconds, rel=0.3)  # a stamp is given a little before counters are read
    seconds, increase = sum(step[0] for step in steps), sum(step[1] for step in steps)
    assert sum(rate * seconds for seconds, _, rate in steps) == pytest.approx(increase, rel=0.05)
    query = f"rate(system_cpu_context_switches_total[{round(seconds)}s])"
    (series,) = prometheus.ask("query", query=query, time=str(max(on_the_wire) / 1000 + 0.5))["result"]
    assert float(series["value"][1]) == pytest.approx(increase / seconds, rel=0.2)


def context_switches(envelopes: list[Envelope]) -> dict[int, float]:
    """Stamp of a sample -> its rate."""
    return {
        stamp: rate
        for envelope in envelopes
        for stamp, rate in zip(envelope.time, envelope.metrics.get("cpu.switches", ()), strict=True)
        if rate is not None
    }


def test_series_can_be_joined_with_the_node_they_are_of(prometheus):
    joined = prometheus.query(
        "system_cpu_busy_ratio * on(instance) "
        "group_left(k8s_cluster_name, k8s_node_name, k8s_nodepool_name) target_info"
    )

    ((labels, _),) = joined
    assert labels == {"k8s_cluster_name": "dev", "k8s_node_name": "node-1", "k8s_nodepool_name": "user"}


def test_the_agent_tells_how_it_does(prometheus, agent):
    assert prometheus.query("devops_monitor_agent_collector_up == 0") == []
    assert prometheus.value("devops_monitor_agent_envelopes_published_total") >= 3
    assert prometheus.value("sum(devops_monitor_agent_envelopes_dropped_total)") == 0
    assert 0 < prometheus.value("histogram_quantile(0.5, devops_monitor_agent_publish_duration_seconds_bucket)") < 10
    assert prometheus.value("time() - devops_monitor_agent_last_publish_timestamp_seconds") < 10
    process = psutil.Process(agent.process.pid)
    used = prometheus.value("devops_monitor_agent_process_resident_memory_bytes")
    assert used == pytest.approx(process.memory_info().rss, rel=0.05)
    assert 0 < prometheus.value("devops_monitor_agent_process_cpu_seconds_total") <= sum(process.cpu_times()[:2]) + 0.02


def test_promtool_finds_nothing_to_say(agent):
    assert shutil.which("promtool"), "promtool is missing; as root: apt-get install prometheus"
    _, text = agent.get("/metrics")

    for arguments in ([], ["--extended"]):
        done = subprocess.run(
            ["promtool", "check", "metrics", *arguments], input=text, capture_output=True, text=True, timeout=60
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == "" or arguments


def documented(language: str) -> list[str]:
    """The blocks of a language in docs/prometheus.md."""
    return re.findall(rf"^```{language}\n(.*?)^```$", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)


def test_the_documented_queries_have_results(prometheus):
    queries = "".join(documented("promql")).splitlines()

    assert len(queries) >= 6
    assert [query for query in queries if not prometheus.query(query)] == []


def test_the_documented_configurations_are_valid(tmp_path):
    configurations = documented("yaml")

    assert len(configurations) == 2
    for configuration in configurations:
        # Debian builds Prometheus without the discovery of pods; what is done with them is checked.
        known = configuration.replace("kubernetes_sd_configs:\n      - role: pod\n", "static_configs: []\n")
        (tmp_path / "prometheus.yml").write_text(known)
        done = subprocess.run(
            ["promtool", "check", "config", str(tmp_path / "prometheus.yml")],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr


def test_the_strict_parser_takes_what_this_machine_has(agent):
    response, text = agent.get("/metrics", OPENMETRICS)

    families = {family.name for family in parse_openmetrics(text)}

    assert response.getheader("Content-Type").startswith("application/openmetrics-text; version=1.0.0")
    assert {"system_cpu_busy_ratio", "system_memory_usage_bytes", "system_uptime_seconds", "target"} <= families


def test_nonsense_and_crowds_neither_stop_samples_nor_grow_the_agent(agent):
    chance = random.Random(20_261_123)
    agent.wait_for_status(lambda status: status["published"] >= 2, "the libraries that publish to be loaded")
    for _ in range(50):
        agent.get("/metrics", OPENMETRICS)
    process = psutil.Process(agent.process.pid)
    before, missed = process.memory_info().rss, agent.values()["devops_monitor_agent_ticks_missed_total"]

    with contextlib.ExitStack() as stack:
        for _ in range(100):  # slowloris
            stack.enter_context(agent.connect()).sendall(b"GET /metrics HTTP/1.1\r\nX-Slow: ")
        for _ in range(150):
            nonsense(agent, chance.randbytes(chance.randrange(1, 300)))
        for size in (8_000, 100_000, 1_000_000):
            nonsense(agent, b"GET /metrics HTTP/1.1\r\nX: " + b"a" * size)
        with ThreadPoolExecutor(100) as pool:
            answers = list(pool.map(lambda _: agent.get("/metrics")[0].status, range(100)))
    runs = agent.status()["seq"]

    assert answers == [200] * 100
    assert agent.judged("/healthz") == (200, [])
    agent.wait_for_status(lambda status: status["seq"] >= runs + 2, "two more envelopes")
    assert agent.values()["devops_monitor_agent_ticks_missed_total"] <= missed + 1
    assert process.memory_info().rss - before < 3 * 2**20
    assert process.memory_info().rss < MOST_RSS
    assert process.num_threads() < 10
    assert not {"http_answer_failed", "http_crashed", "crashed"} & set(agent.events())


def nonsense(agent, request: bytes) -> None:
    with agent.connect() as client, contextlib.suppress(ConnectionError):
        client.sendall(request)
        try:
            client.shutdown(socket.SHUT_WR)
        except OSError as error:
            assert error.errno == errno.ENOTCONN  # it has said no and closed already
            return
        answer = client.recv(1000)
        assert answer == b"" or answer.startswith((b"HTTP/1.1 4", b"HTTP/1.1 200"))


def test_a_pod_is_ready_when_its_event_hub_is_there_and_alive_when_not(tmp_path):
    broker = BrokerProcess(tmp_path / "broker")
    broker.stop()
    agent = ServingAgent(tmp_path / "agent", broker.connection_string)
    try:
        (reason,) = eventually(
            lambda: (found := agent.judged("/readyz")[1]) and "unreachable" in found[0] and found, "a reason"
        )
        assert reason.startswith("nothing has been acknowledged since the start: failed attempts: ")
        assert agent.judged("/healthz") == (200, [])

        broker.start()
        eventually(lambda: agent.judged("/readyz") == (200, []), "a ready agent")
    finally:
        agent.stop()
        broker.stop()


def test_a_port_that_is_taken_is_refused_at_the_start(agent, broker, tmp_path):
    second = AgentProcess(
        tmp_path,
        AGENT_HTTP_LISTEN=agent.address,
        EVENTHUB_CONNECTION_STRING=broker.connection_string,
        **INSTANT,
    )

    assert second.process.wait(PATIENCE) == 2
    (line,) = second.log()
    assert line["event"] == "settings_unusable"
    assert line["problems"] == [
        "AGENT_HTTP_LISTEN must be an address of this machine and a port that nobody listens on, "
        f"got {agent.address}: Address already in use"
    ]


def test_without_the_setting_nothing_listens(broker, tmp_path):
    agent = AgentProcess(tmp_path, EVENTHUB_CONNECTION_STRING=broker.connection_string, **INSTANT)
    try:
        agent.wait_for_status(lambda status: status.get("published"), "an acknowledgement")

        assert [each for each in psutil.Process(agent.process.pid).net_connections() if each.status == "LISTEN"] == []
        assert "http_listening" not in agent.events()
    finally:
        agent.stop()


def test_clients_that_dawdle_do_not_keep_the_agent_from_ending(broker, tmp_path):
    agent = ServingAgent(tmp_path, broker.connection_string)
    with agent.connect() as silent, agent.connect() as slow:
        slow.sendall(b"GET /metrics HTTP/1.1\r\n")
        agent.wait_for_status(lambda status: status.get("published"), "an acknowledgement")
        began = time.monotonic()

        code = agent.stop(signal.SIGTERM)

        assert silent.recv(1) == b""
    assert code == 0
    assert time.monotonic() - began < 6
