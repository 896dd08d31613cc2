"""/metrics as text: what is read arrives at a strict parser as it was read, in both formats."""

import math
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from agent.collector import Reading
from agent.delivery_statistics import DeliveryStatistics
from agent.envelopes import Identity
from agent.manual_clock import ManualClock
from agent.observe.agent_metrics import AgentMetrics
from agent.observe.exposition import Format, head, negotiate, number, series, tail
from agent.observe.health import Health, Limits
from agent.observe.metrics import Metrics
from agent.observe.node_metrics import NodeMetrics
from agent.observe.sources import Sources
from agent.progress import ProgressReport
from agent.publisher.publisher import FailureReason
from agent.sampler import Sampler
from agent.spool.memory_spool import MemorySpool
from telemetry.agent_metrics import AGENT_FAMILIES
from telemetry.catalogue import CUSTOM, DEVICE_CLASSES, DISK, FILESYSTEM, NETWORK, NODE_METRICS, POD, Kind, Metric
from telemetry.prometheus import Family, Type, catalogue_families

PARSERS = {Format.OPENMETRICS: parse_openmetrics, Format.TEXT: parse_text}
OPENMETRICS, TEXT = Format.OPENMETRICS, Format.TEXT


class Fake:
    """A collector that delivers what it is told, or fails."""

    def __init__(self, name="fake", device_class=None, *readings: Reading) -> None:
        self.name, self.device_class = name, device_class
        self.readings: list[Reading] = list(readings)
        self.error: Exception | None = None

    def collect(self):
        if self.error:
            raise self.error
        return list(self.readings)


class Acme(Fake):
    """A plug-in with metrics of its own."""

    def __init__(self, *metrics: Metric, readings: list[Reading], name="acme") -> None:
        super().__init__(name, None, *readings)
        self.metrics = metrics


class Agent:
    """Everything /metrics is made of, with a clock that is moved by hand."""

    def __init__(self, *collectors) -> None:
        self.clock = ManualClock()
        self.sampler = Sampler(collectors, self.clock, 10.0)
        self.spool = MemorySpool(10**6, 3600, self.clock)
        self.statistics = DeliveryStatistics()
        self.report = ProgressReport(self.clock, self.spool, self.statistics)
        self.missed = 0
        sources = Sources(lambda: self.sampler.latest, lambda: self.report.latest, lambda: self.missed)
        health = Health(self.clock, sources, Limits.of(10.0, 30.0, 10.0))
        resource = {"hostname": "vm-1", "arch": "x86_64", "os": "linux", "kernel": "6.1.0-x", "cpus": 2, "pool": "user"}
        about = AgentMetrics(sources, Identity("dev", "node-1", "0123456789ab"), resource)
        self.metrics = Metrics(self.clock, health, NodeMetrics(collectors), about)

    def parsed(self, format_=OPENMETRICS):
        """Family name -> family, from the document."""
        return {family.name: family for family in PARSERS[format_](self.metrics.document(format_).decode())}

    def values(self, format_=OPENMETRICS):
        """(Series, sorted labels) -> value, from the document."""
        samples = [sample for family in self.parsed(format_).values() for sample in family.samples]
        found = {(sample.name, *sorted(sample.labels.items())): sample.value for sample in samples}
        assert len(found) == len(samples), "a series is there twice"
        return found


def node(*collectors) -> Agent:
    agent = Agent(*collectors)
    agent.sampler.sample()
    return agent


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (None, TEXT),
        ("", TEXT),
        ("*/*", TEXT),
        ("text/html", TEXT),
        ("text/plain;version=0.0.4", TEXT),
        ("application/openmetrics-text; version=1.0.0; charset=utf-8", OPENMETRICS),
        ("application/openmetrics-text", OPENMETRICS),
        ('Application/OpenMetrics-Text; Version="1.0.0"', OPENMETRICS),
        ("application/openmetrics-text;version=0.0.1", TEXT),
        ("application/openmetrics-text;version=2.0.0,text/plain;q=0.1", TEXT),
        ("application/openmetrics-text;q=0", TEXT),
        ("application/openmetrics-text;q=0.2,text/plain;q=0.9", TEXT),
        ("application/openmetrics-text;q=0.5,*/*;q=0.5", OPENMETRICS),
        ("application/openmetrics-text;q=many", TEXT),
        ("application/openmetrics-text;q=nan", TEXT),
        # Prometheus 2.42, and 3
        (
            "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
            "text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            OPENMETRICS,
        ),
        (
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,application/openmetrics-text;"
            "version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2",
            OPENMETRICS,
        ),
    ],
)
def test_the_format_is_the_one_asked_for(accept, expected):
    assert negotiate(accept) is expected


@given(st.text())
def test_whatever_is_accepted_one_format_is_chosen(accept):
    assert negotiate(accept) in Format


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (2**63, "9223372036854775808"),
        (0.1, "0.1"),
        (1e22, "1e+22"),
        (True, "1"),
        (math.inf, "+Inf"),
        (-math.inf, "-Inf"),
        (math.nan, "NaN"),
    ],
)
def test_numbers_are_written_as_both_formats_read_them(value, text):
    assert number(value) == text


def test_a_head_says_type_unit_and_meaning_as_each_format_has_it():
    family = Family("acme_io_bytes", Type.COUNTER, "bytes", 'All "I/O"\nin \\ out')

    assert head(family, OPENMETRICS) == (
        '# TYPE acme_io_bytes counter\n# UNIT acme_io_bytes bytes\n# HELP acme_io_bytes All \\"I/O\\"\\nin \\\\ out\n'
    )
    assert head(family, TEXT) == (
        '# HELP acme_io_bytes_total All "I/O"\\nin \\\\ out\n# TYPE acme_io_bytes_total counter\n'
    )
    assert "# TYPE acme_build info\n" in head(Family("acme_build", Type.INFO, "", "x"), OPENMETRICS)
    assert "# TYPE acme_build_info gauge\n" in head(Family("acme_build", Type.INFO, "", "x"), TEXT)
    assert (tail(OPENMETRICS), tail(TEXT)) == ("# EOF\n", "")


def test_a_label_without_a_value_is_left_out():
    assert series("x", {"a": "", "b": "1"}) == 'x{b="1"} '
    assert series("x", {"a": ""}) == "x "


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), st.sampled_from(Format))
@example('quote " backslash \\ newline \n return \r end', OPENMETRICS)
@example("\\n", TEXT)
def test_whatever_a_device_is_called_its_name_arrives(device, format_):
    agent = node(Fake("filesystem", FILESYSTEM, Reading("full", 0.5, device)))

    (sample,) = agent.parsed(format_)["system_filesystem_utilization_ratio"].samples

    assert (sample.labels, sample.value) == ({"system_filesystem_mountpoint": device}, 0.5)


def test_devices_whose_names_differ_in_bytes_that_are_no_utf8_stay_apart():
    names = [b"/mnt/\xff".decode("utf-8", "surrogateescape"), b"/mnt/\xfe".decode("utf-8", "surrogateescape")]
    agent = node(Fake("filesystem", FILESYSTEM, *(Reading("full", 0.5, name) for name in names)))

    assert len(agent.parsed()["system_filesystem_utilization_ratio"].samples) == 2


def test_counters_are_exposed_as_they_were_read_and_gauges_as_they_are_sent():
    cpu = Fake("cpu", None, Reading("cpu", 0.123456), Reading("cpu.switches", 2**53 - 1), Reading("psi.io", 12.345678))
    agent = node(cpu)

    values = agent.values()

    assert values[("system_cpu_busy_ratio",)] == 0.1235
    assert values[("system_cpu_context_switches_total",)] == 2**53 - 1
    assert values[("system_linux_pressure_io_seconds_total", ("pressure_scope", "some"))] == 12.345678


@pytest.mark.parametrize("value", [-1, math.nan, math.inf])
def test_a_counter_that_is_none_is_left_out(value):
    agent = node(Fake("cpu", None, Reading("cpu.switches", value), Reading("load.1m", 1.0)))

    assert "system_cpu_context_switches" not in agent.parsed()
    assert ("system_cpu_load_average_1m",) in agent.values()


def test_a_gauge_outside_its_range_is_left_out_and_counted():
    agent = node(Fake("memory", None, Reading("mem", 1.5)))

    values = agent.values()

    assert ("system_memory_utilization_ratio",) not in values
    assert values[("devops_monitor_agent_collector_refused_values_total", ("collector", "memory"))] == 1


def test_pods_have_their_namespace_as_a_label():
    agent = node(Fake("kubernetes", POD, Reading("cpu", 0.25, "kube-system/coredns-0"), Reading("cpu", 1.0, "lonely")))

    labels = [sample.labels for sample in agent.parsed()["k8s_pod_cpu_usage"].samples]

    assert labels == [
        {"k8s_namespace_name": "kube-system", "k8s_pod_name": "coredns-0"},
        {"k8s_pod_name": "lonely"},
    ]


def test_a_reading_that_comes_twice_is_one_series():
    agent = node(Fake("network", NETWORK, Reading("rx", 1, "eth0"), Reading("rx", 2, "eth0")))

    (sample,) = agent.parsed()["system_network_io_bytes"].samples

    assert sample.value == 2


def test_a_device_that_is_gone_and_a_collector_that_fails_are_gone_from_the_next_document():
    disk = Fake("disk", DISK, Reading("read", 1, "sda"), Reading("read", 2, "sdb"))
    network = Fake("network", NETWORK, Reading("rx", 1, "eth0"))
    agent = node(disk, network)
    assert len(agent.parsed()["system_disk_io_bytes"].samples) == 2
    assert "system_network_io_bytes" in agent.parsed()
    agent.clock.advance(10)
    disk.readings.pop()
    network.error = OSError("gone")

    agent.sampler.sample()

    assert [sample.labels["system_device"] for sample in agent.parsed()["system_disk_io_bytes"].samples] == ["sda"]
    assert "system_network_io_bytes" not in agent.parsed()
    values = agent.values()
    assert values[("devops_monitor_agent_collector_up", ("collector", "network"))] == 0
    assert values[("devops_monitor_agent_collector_failures_total", ("collector", "network"))] == 1
    assert values[("devops_monitor_agent_collector_up", ("collector", "disk"))] == 1


def test_series_of_devices_that_come_and_go_fill_no_memory():
    fake = Fake("network", NETWORK)
    agent = node(fake)
    rendered = agent.metrics._node
    for round_ in range(50):
        fake.readings = [Reading("rx", 1, f"veth{round_}")]
        agent.clock.advance(10)
        agent.sampler.sample()
        agent.metrics.document(OPENMETRICS)

    assert len(rendered._lines) == 1


GPU = Metric("gpu", "acme.gpu.utilization", "1", "AcmeGpu", "Share of the GPU in use", upper=1.0, digits=4)
HITS = Metric("hits", "acme.hits", "{hit}/s", "AcmeHits", "Hits a second", kind=Kind.RATE)


def test_metrics_of_a_plug_in_have_their_own_names_units_and_devices():
    agent = node(Acme(GPU, HITS, readings=[Reading("gpu", 0.5, "0"), Reading("gpu", 0.25, "1"), Reading("hits", 7)]))

    families, values = agent.parsed(), agent.values()

    assert families["acme_gpu_utilization_ratio"].unit == "ratio"
    assert values[("acme_gpu_utilization_ratio", ("device", "0"))] == 0.5
    assert values[("acme_gpu_utilization_ratio", ("device", "1"))] == 0.25
    assert (families["acme_hits"].type, families["acme_hits"].documentation) == ("counter", "Hits")
    assert values[("acme_hits_total",)] == 7
    assert not [name for name in families if name.startswith("devops_monitor_custom")]


def test_a_plug_in_s_metric_that_has_a_taken_name_is_left_out_and_logged_once(caplog):
    mine = Metric("mine", "system.disk.io", "By/s", "Mine", "Mine", kind=Kind.RATE)
    agent = node(
        Fake("disk", DISK, Reading("read", 1, "sda")),
        Acme(mine, GPU, readings=[Reading("mine", 5), Reading("gpu", 0.5)]),
        Acme(GPU, readings=[Reading("gpu", 0.75)], name="other"),
    )

    values = agent.values()

    assert values[("system_disk_io_bytes_total", ("disk_io_direction", "read"), ("system_device", "sda"))] == 1
    assert ("system_disk_io_bytes_total",) not in values
    assert values[("acme_gpu_utilization_ratio",)] == 0.5
    lines = [(record.getMessage(), record.collector, record.problem) for record in caplog.records]
    assert lines == [
        ("metrics_not_exposed", "acme", "system_disk_io_bytes has a meaning already"),
        ("metrics_not_exposed", "other", "acme_gpu_utilization_ratio has a meaning already"),
    ]


def test_a_plug_in_s_metrics_that_cannot_be_families_cost_nobody_else(caplog):
    one = Metric("one", "acme.x", "By", "One", "One")
    two = Metric("two", "acme.x", "By", "Two", "Two")
    agent = node(Acme(one, two, readings=[Reading("one", 1)]), Fake("cpu", None, Reading("load.1m", 1.0)))

    assert ("system_cpu_load_average_1m",) in agent.values()
    assert "acme_x" not in str(agent.parsed())
    assert [record.getMessage() for record in caplog.records] == ["metrics_not_exposed"]


def full() -> Agent:
    """An agent with every metric of the catalogue and every number about itself."""
    agent = node(
        Fake("node", None, *(Reading(metric.key, 0.5) for metric in NODE_METRICS)),
        *(
            Fake(each.key, each, *(Reading(metric.key, 0.5, f"{each.key}/0") for metric in each.metrics))
            for each in DEVICE_CLASSES
            if each is not CUSTOM
        ),
    )
    agent.spool.append(b"12345")
    agent.statistics.last_publish_ms = agent.clock.epoch_ms()
    agent.report.built(1)
    return agent


@pytest.mark.parametrize("format_", Format)
def test_every_family_of_the_catalogue_and_of_the_agent_is_there_and_parsed(format_):
    families = full().parsed(format_)

    expected = [*(family for group in catalogue_families().values() for family in group), *AGENT_FAMILIES]
    own = {Type.INFO: "gauge"} if format_ is TEXT else {}
    for family in expected:
        name = family.series if family.type is Type.INFO and format_ is TEXT else family.name
        assert families[name].type == own.get(family.type, family.type)
        assert families[name].documentation == family.help
        assert families[name].unit == (family.unit if format_ is OPENMETRICS else "")
        labels = {label for sample in families[name].samples for label in sample.labels} - {"le"}
        assert labels <= set(family.labels)
        assert labels == set(family.labels) or name.startswith("target")
    assert len(families) == len(expected)


def test_both_formats_say_the_same():
    agent = full()
    varying = {"devops_monitor_agent_process_cpu_seconds_total", "devops_monitor_agent_process_resident_memory_bytes"}

    openmetrics, text = agent.values(OPENMETRICS), agent.values(TEXT)

    assert {key: value for key, value in openmetrics.items() if key[0] not in varying} == {
        key: value for key, value in text.items() if key[0] not in varying
    }


def test_before_the_first_sample_there_is_no_node_but_an_agent():
    agent = Agent(Fake("cpu", None, Reading("load.1m", 1.0)))

    families = agent.parsed()

    assert not [name for name in families if name.startswith("system")]
    assert "devops_monitor_agent_last_sample_timestamp_seconds" not in families
    assert families["devops_monitor_agent_build"].type == "info"


def test_a_sample_that_is_too_old_is_left_out_and_what_the_agent_knows_of_itself_is_not():
    agent = node(Fake("cpu", None, Reading("load.1m", 1.0)))

    agent.clock.advance(60)
    just = agent.parsed()
    agent.clock.advance(1)
    late = agent.parsed()

    assert "system_cpu_load_average_1m" in just
    assert "system_cpu_load_average_1m" not in late
    assert "devops_monitor_agent_last_sample_timestamp_seconds" in late
    assert "devops_monitor_agent_collector_up" in late


def test_the_target_says_which_node_it_is():
    (sample,) = full().parsed()["target"].samples

    assert sample.name == "target_info"
    assert sample.labels == {
        "k8s_cluster_name": "dev",
        "k8s_node_name": "node-1",
        "k8s_nodepool_name": "user",
        "host_name": "vm-1",
        "host_arch": "x86_64",
        "os_type": "linux",
        "os_kernel_release": "6.1.0-x",
        "service_instance_id": "0123456789ab",
        "service_name": "devops-monitor-agent",
    }


def test_what_delivery_and_spool_have_counted_is_exposed():
    agent = Agent()
    for body in (b"x" * 600_000, b"y" * 600_000):
        agent.spool.append(body)
    agent.clock.advance(7)
    agent.statistics.published = 3
    agent.statistics.too_large = 2
    agent.statistics.retried[FailureReason.THROTTLED] = 5
    agent.statistics.last_publish_ms = 1_792_000_000_500
    for seconds in (0.004, 0.3, 60.0):
        agent.statistics.latencies.observe(seconds)
    agent.missed = 4
    agent.report.built(9)

    values = {name.removeprefix("devops_monitor_agent_"): value for (name, *_), value in agent.values().items()}
    by_label = {key[1:]: value for key, value in agent.values().items() if len(key) > 1}

    assert (values["spool_envelopes"], values["spool_bytes"]) == (1, 600_000)
    assert values["spool_oldest_age_seconds"] == 7
    assert values["spool_disk_failing"] == 0
    assert (values["envelopes_built_total"], values["envelopes_published_total"]) == (9, 3)
    assert values["last_publish_timestamp_seconds"] == 1_792_000_000.5
    assert values["ticks_missed_total"] == 4
    assert by_label[(("reason", "over_bytes"),)] == 1
    assert by_label[(("reason", "too_large"),)] == 2
    assert by_label[(("reason", "throttled"),)] == 5
    assert [by_label[(("le", bound),)] for bound in ("0.005", "0.25", "0.5", "30.0", "+Inf")] == [1, 1, 2, 2, 3]
    assert (values["publish_duration_seconds_count"], values["publish_duration_seconds_sum"]) == (3, 60.304)


def test_the_agent_s_own_process_is_measured():
    agent = Agent()
    began = time.process_time()

    values = {name: value for (name, *_), value in agent.values().items()}

    assert began <= values["devops_monitor_agent_process_cpu_seconds_total"] <= time.process_time()
    assert 10 * 2**20 < values["devops_monitor_agent_process_resident_memory_bytes"] < 2**31
    assert values["devops_monitor_agent_process_threads"] >= 1


def test_a_document_is_given_again_for_a_second_but_never_after_a_new_sample():
    agent = node(Fake("cpu", None, Reading("load.1m", 1.0)))

    first = agent.metrics.document(OPENMETRICS)
    agent.clock.advance(0.9)
    again = agent.metrics.document(OPENMETRICS)
    agent.sampler.sample()
    sampled = agent.metrics.document(OPENMETRICS)
    agent.clock.advance(1.1)
    later = agent.metrics.document(OPENMETRICS)

    assert again is first
    assert sampled is not first
    assert later is not sampled


def test_rates_on_the_wire_are_those_that_the_counters_give():
    """What Prometheus' rate() computes of two scrapes is what the envelope says of the two samples."""
    clock = ManualClock()
    fake = Fake("disk", DISK)
    sampler = Sampler([fake], clock, 10.0)
    rendered = NodeMetrics([fake])
    totals, sample = [], None
    for total in (10_000_000, 10_712_345):
        clock.advance(10)
        fake.readings = [Reading("read", total, "sda"), Reading("busy", total / 1e6, "sda")]
        sample = sampler.sample()
        families = {each.name: each for each in parse_text(rendered.render(sampler.latest, TEXT))}
        totals.append([families[f"system_disk_io{name}"].samples[0].value for name in ("_bytes", "_time_seconds")])

    read, busy = ((after - before) / 10 for before, after in zip(*totals, strict=True))

    assert sample.devices["disk"]["sda"]["read"] == pytest.approx(read, rel=0.0005)
    assert sample.devices["disk"]["sda"]["busy"] == pytest.approx(busy, abs=0.00005)
