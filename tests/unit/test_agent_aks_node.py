"""A whole sample of a busy AKS node as its container sees it: what is there, what is not, and at what price."""

import psutil
import pytest

from agent.collector import Host
from agent.envelopes import EnvelopeBuilder, Identity
from agent.host import procfs
from agent.manual_clock import ManualClock
from agent.registry import enabled_by_default, make_collectors
from agent.sampler import Sample, Sampler
from telemetry.catalogue import NODE_KEYS
from telemetry.envelope import encode
from telemetry.validation import validate
from tests.node_tree import NodeTree, aks_node

PROCESSES = 120


@pytest.fixture
def tree(tmp_path, monkeypatch) -> NodeTree:
    monkeypatch.setattr(psutil, "PROCFS_PATH", psutil.PROCFS_PATH)  # the node's constants set it
    return aks_node(tmp_path, pods=30, processes=PROCESSES)


def sampler_of(host: Host, clock: ManualClock) -> Sampler:
    return Sampler(make_collectors(enabled_by_default(), host), clock, 10.0)


def second_sample(tree: NodeTree, host: Host) -> Sample:
    clock = ManualClock()
    sampler = sampler_of(host, clock)
    sampler.sample()
    clock.advance(10)
    tree.interfaces({"eth0": 7_005_000, "enP41344s1": 6_905_000, "azv1c0ffee": 2_000})
    tree.disks(dict.fromkeys(("sda", "sda1", "sdb", "sdc", "nvme0n1"), 1020))
    tree.write("stat", (tree.proc / "stat").read_text().replace("cpu  100 50 50 900", "cpu  150 50 100 1000"))
    sample = sampler.sample()
    assert {name: each.problem for name, each in sampler.statistics.items() if each.problem} == {}
    assert sum(each.refused for each in sampler.statistics.values()) == 0
    return sample


def test_devices_are_the_nodes_each_once(tree):
    sample = second_sample(tree, tree.host())

    assert {name: set(found) for name, found in sample.devices.items()} == {
        "disk": {"sda", "sdb", "sdc", "nvme0n1"},
        "filesystem": {"/", "/boot/efi", "/mnt"},
        "network": {"eth0"},
    }
    assert sample.devices["network"]["eth0"]["rx"] == 500.0
    assert sample.devices["disk"]["sda"]["read"] == 20 * 512 / 10


def test_everything_about_the_node_is_there_but_a_temperature(tree):
    sample = second_sample(tree, tree.host())

    assert set(NODE_KEYS) - set(sample.metrics) == {"temperature"}
    assert {key: sample.metrics[key] for key in ("cpu", "procs", "fds", "sockets", "tcp", "uptime", "mem")} == {
        "cpu": 0.5,
        "procs": PROCESSES,
        "fds": 4096,
        "sockets": 310,
        "tcp": 42,
        "uptime": 86400,
        "mem": 0.25,
    }


def test_bare_metal_has_a_temperature_too(tree):
    tree.sensor("hwmon/hwmon2/temp1_input", "48250")

    assert second_sample(tree, tree.host()).metrics["temperature"] == 48.2


def test_receivers_accept_the_nodes_envelope(tree):
    clock, host = ManualClock(), tree.host()
    sampler = sampler_of(host, clock)
    builder = EnvelopeBuilder(
        Identity("aks", "node-1", "0123456789ab"), lambda: {}, samples_per_envelope=2, publish_interval=30
    )
    builder.add(sampler.sample())
    clock.advance(10)
    (envelope,) = builder.add(sampler.sample())

    frame = validate(encode(envelope), envelope.time[-1])

    assert frame.seq == 1


def test_what_is_chosen_by_the_settings_is_all_that_is_read(tree):
    from agent.selection import Selection

    host = tree.host(interfaces=Selection("", include="^azv[12]c"), mounts=Selection("^/(mnt|boot)"))
    sample = second_sample(tree, host)

    assert set(sample.devices["network"]) == {"azv1c0ffee"}
    assert "/mnt" not in sample.devices["filesystem"] and "/" in sample.devices["filesystem"]


def test_a_sample_reads_few_files_however_many_processes_and_mounts_there_are(tree, monkeypatch):
    read, opened = procfs.read, []
    monkeypatch.setattr(procfs, "read", lambda path: opened.append(path.removeprefix(f"{tree.proc}/")) or read(path))
    sampler = sampler_of(tree.host(), ManualClock())
    sampler.sample()
    opened.clear()

    sampler.sample()

    assert sorted(opened) == [
        *("1/net/dev", "1/net/sockstat", "1/net/sockstat6", "diskstats", "loadavg", "meminfo", "pressure/cpu"),
        *("pressure/io", "pressure/memory", "stat", "sys/fs/file-nr", "uptime", "vmstat"),
    ]


def test_devices_and_mounts_that_vanish_are_no_error(tree):
    sampler = sampler_of(tree.host(), clock := ManualClock())
    sampler.sample()
    clock.advance(10)
    tree.interfaces({"lo": 1})
    tree.disks({})
    (tree.root / "mnt").rmdir()

    sample = sampler.sample()

    assert {name: each.problem for name, each in sampler.statistics.items() if each.problem} == {}
    assert {name: set(found) for name, found in sample.devices.items()} == {"filesystem": {"/", "/boot/efi"}}


@pytest.mark.parametrize(
    "name", ["stat", "meminfo", "vmstat", "loadavg", "uptime", "sys/fs/file-nr", "1/net/dev", "1/net/sockstat"]
)
@pytest.mark.parametrize("damage", ["missing", "truncated", "rubbish"])
def test_a_damaged_file_costs_one_collector_and_is_named(tree, caplog, name, damage):
    sampler = sampler_of(tree.host(), clock := ManualClock())
    healthy = set(sampler.sample().metrics)
    clock.advance(10)
    path = tree.proc / name
    if damage == "missing":
        path.unlink()
    elif damage == "truncated":
        path.write_text(path.read_text()[:5])
    else:
        path.write_text("\N{PILE OF POO} \x00\n" * 3)

    damaged = sampler.sample()

    failed = [statistics for statistics in sampler.statistics.values() if statistics.problem]
    assert len(failed) <= 1
    assert failed or (name, damage) in LOOKS_HEALTHY
    assert len([record for record in caplog.records if record.getMessage() == "collector_failed"]) == len(failed)
    assert len(healthy - set(damaged.metrics)) < len(healthy)


LOOKS_HEALTHY = {("vmstat", "rubbish"), ("vmstat", "truncated")}
"""No counter in it: kernels can be built so."""
