"""OpenTelemetry names become Prometheus names, and every family is one that Prometheus, promtool and people take."""

import re
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.agent_metrics import AGENT_FAMILIES, PREFIX
from telemetry.catalogue import CUSTOM, DEVICE_CLASSES, DISK, FILESYSTEM, NETWORK, NODE_METRICS, POD, Kind, Metric
from telemetry.prometheus import (
    Type,
    catalogue_families,
    device_labels,
    device_values,
    label_name,
    series_of,
)

FAMILIES = [*chain.from_iterable(catalogue_families().values()), *AGENT_FAMILIES]
BASE_UNITS = {"seconds", "bytes", "ratio", "celsius", ""}
TYPE_SUFFIXES = ("_total", "_created", "_count", "_sum", "_bucket", "_info")


def metric(name: str, unit: str, kind: Kind = Kind.GAUGE, key: str = "key", **attributes: str) -> Metric:
    return Metric(key, name, unit, "Column", "Things a second", attributes=attributes, kind=kind)


def family_of(name: str, unit: str, kind: Kind = Kind.GAUGE):
    return series_of([metric(name, unit, kind)])["key"].family


@pytest.mark.parametrize(
    ("name", "unit", "expected", "expected_unit"),
    [
        ("system.memory.usage", "By", "system_memory_usage_bytes", "bytes"),
        ("acme.cache.bytes.used", "By", "acme_cache_bytes_used", ""),
        ("system.memory.utilization", "1", "system_memory_utilization_ratio", "ratio"),
        ("acme.ratio.hit", "1", "acme_hit_ratio", "ratio"),
        ("system.uptime", "s", "system_uptime_seconds", "seconds"),
        ("hw.temperature", "Cel", "hw_temperature_celsius", "celsius"),
        ("acme.clock", "Hz", "acme_clock_hertz", "hertz"),
        ("acme.fill", "%", "acme_fill_percent", "percent"),
        ("acme.wait", "ms", "acme_wait_milliseconds", "milliseconds"),
        ("system.cpu.load_average.1m", "{thread}", "system_cpu_load_average_1m", ""),
        ("acme.speed", "m/s", "acme_speed_meters_per_second", "meters_per_second"),
        ("acme.flow", "{drop}/h", "acme_flow_per_hour", "per_hour"),
        ("acme.blades", "blades", "acme_blades", "blades"),
        ("acme.dose", "uSv", "acme_dose_uSv", "uSv"),
        ("acme.odd", "°F", "acme_odd_F", "F"),
        ("acme.odd", " =:, ", "acme_odd", ""),
        ("acme--gpu..fan__speed", "", "acme_gpu_fan_speed", ""),
        ("3com.ports", "{port}", "_3com_ports", ""),
        ("system.process.count", "{process}", "system_process", ""),
        ("acme.total", "{x}", "acme", ""),
        ("acme.disk.total", "By", "acme_disk_total_bytes", "bytes"),
        ("total", "{x}", "total", ""),
    ],
)
def test_a_gauge_gets_its_unit_and_no_suffix_of_another_type(name, unit, expected, expected_unit):
    family = family_of(name, unit)

    assert (family.name, family.series, family.unit, family.type) == (expected, expected, expected_unit, Type.GAUGE)


@pytest.mark.parametrize(
    ("name", "unit", "expected", "expected_unit"),
    [
        ("system.disk.io", "By/s", "system_disk_io_bytes_total", "bytes"),
        ("system.disk.operations", "{operation}/s", "system_disk_operations_total", ""),
        ("system.disk.operation_time", "s/s", "system_disk_operation_time_seconds_total", "seconds"),
        ("system.disk.io_time", "1", "system_disk_io_time_seconds_total", "seconds"),
        ("system.linux.pressure.io", "1", "system_linux_pressure_io_seconds_total", "seconds"),
        ("system.network.packet.count", "{packet}/s", "system_network_packet_count_total", ""),
        ("acme.total.hits", "{hit}/s", "acme_hits_total", ""),
        ("acme.jobs", "1/s", "acme_jobs_total", ""),
        ("total", "{x}/s", "total_total", ""),
    ],
)
def test_a_rate_becomes_the_counter_it_is_made_of(name, unit, expected, expected_unit):
    family = family_of(name, unit, Kind.RATE)

    assert (family.series, family.unit, family.type) == (expected, expected_unit, Type.COUNTER)
    assert family.name == expected.removesuffix("_total")


def test_help_of_a_counter_says_what_is_counted_and_not_its_rate():
    counters = [family for family in FAMILIES if family.type is Type.COUNTER]

    assert family_of("acme.things", "{thing}/s", Kind.RATE).help == "Things"
    assert family_of("acme.things", "{thing}").help == "Things a second"
    assert not [family.help for family in counters if "a second" in family.help or "Share" in family.help]


def test_metrics_of_one_name_are_one_family_and_told_apart_by_their_attributes():
    read, write = (metric("acme.io", "By/s", Kind.RATE, key, **{"io.direction": key}) for key in ("read", "write"))

    series = series_of([read, write], ("device",))

    assert series["read"].family is series["write"].family
    assert series["read"].family.labels == ("device", "io_direction")
    assert series["read"].labels == {"io_direction": "read"}
    assert series["read"].family.help == "io_direction=read: Things; io_direction=write: Things"


@pytest.mark.parametrize(
    "other",
    [
        metric("acme.io", "By", key="other", direction="write"),
        metric("acme.io", "{x}/s", Kind.RATE, "other", direction="write"),
        metric("acme.io", "By/s", Kind.RATE, "other"),
        metric("acme.io", "By/s", Kind.RATE, "other", mode="write"),
        metric("acme.io", "By/s", Kind.RATE, "other", direction="read"),
    ],
    ids=["another kind", "another unit", "no attribute", "another attribute", "the same attribute"],
)
def test_what_cannot_be_one_family_is_refused_or_another_family(other):
    first = metric("acme.io", "By/s", Kind.RATE, direction="read")

    try:
        series = series_of([first, other])
    except ValueError as error:
        assert "key, other must have the same kind, unit and attributes" in str(error)
    else:
        assert series["key"].family.name != series["other"].family.name


def test_a_name_without_letters_is_refused():
    with pytest.raises(ValueError, match=r"must have a letter or a digit, got '\.\.\.'"):
        family_of("...", "By")


def test_no_family_of_the_catalogue_mixes_series_with_and_without_a_label():
    groups = [NODE_METRICS, *(each.metrics for each in DEVICE_CLASSES)]
    seen: dict[str, set[frozenset[str]]] = {}
    for group in groups:
        for each in series_of(group).values():
            seen.setdefault(each.family.series, set()).add(frozenset(each.labels))

    assert {name: labels for name, labels in seen.items() if len(labels) > 1} == {}


def test_every_metric_is_a_series_of_its_own():
    groups = [(NODE_METRICS, ()), *((each.metrics, device_labels(each)) for each in DEVICE_CLASSES)]
    series = [
        (each.family.series, each.family.labels, tuple(each.labels.items()))
        for metrics, labels in groups
        for each in series_of(metrics, labels).values()
    ]

    assert len(set(series)) == len(series) == sum(len(metrics) for metrics, _ in groups)


def test_no_two_families_share_a_name_or_a_series():
    names = [family.name for family in FAMILIES]
    histograms = [family.name for family in FAMILIES if family.type is Type.HISTOGRAM]
    series = [family.series for family in FAMILIES]
    series += [name + suffix for name in histograms for suffix in ("_bucket", "_sum", "_count")]

    assert len(set(names)) == len(names)
    assert len(set(series)) == len(series)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_every_family_is_well_formed(family):
    assert re.fullmatch(r"[a-z_][a-z0-9_]*", family.name)
    assert family.unit in BASE_UNITS
    assert family.name.endswith(f"_{family.unit}" if family.unit else family.name)
    assert family.unit or not family.name.endswith(tuple(f"_{unit}" for unit in BASE_UNITS - {""}))
    assert family.help.strip() == family.help != ""
    assert len(set(family.labels)) == len(family.labels)
    assert all(re.fullmatch(r"[a-z_][a-z0-9_]*", label) for label in family.labels)
    if family.type is Type.GAUGE:
        assert not family.name.endswith(TYPE_SUFFIXES)


def test_what_the_agent_tells_about_itself_has_one_prefix():
    assert [family.name for family in AGENT_FAMILIES if not family.name.startswith(PREFIX)] == ["target"]


def test_devices_are_told_apart_by_their_opentelemetry_attribute():
    assert device_labels(DISK) == ("system_device",)
    assert device_labels(FILESYSTEM) == ("system_filesystem_mountpoint",)
    assert device_labels(NETWORK) == ("network_interface_name",)
    assert device_labels(POD) == ("k8s_namespace_name", "k8s_pod_name")
    assert device_values("/var/lib", device_labels(FILESYSTEM)) == ("/var/lib",)
    assert device_values("kube-system/coredns-0", device_labels(POD)) == ("kube-system", "coredns-0")


def test_what_plug_ins_measure_is_no_family_of_the_catalogue():
    assert set(catalogue_families()) == {"node", *(each.key for each in DEVICE_CLASSES)} - {CUSTOM.key}


@given(st.text(min_size=1))
def test_whatever_the_attribute_its_label_is_one(attribute):
    assert re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", label_name(attribute))


@given(st.text(), st.text(), st.sampled_from(Kind))
def test_whatever_the_name_and_unit_the_family_is_well_formed_or_refused(name, unit, kind):
    try:
        family = family_of(name, unit, kind)
    except ValueError:
        assert not re.search(r"[A-Za-z0-9]", name)
        return

    assert re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", family.name)
    assert family.name.endswith(f"_{family.unit}" if family.unit else "")
