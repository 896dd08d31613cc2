"""The real collectors on this machine, compared with /proc read in the plainest way."""

import time
from pathlib import Path

import psutil
import pytest

from agent.clock import SystemClock
from agent.host import mounts
from agent.registry import make_collectors
from agent.sampler import Sample, Sampler
from agent.settings import read_settings

PROC = Path("/proc")


@pytest.fixture(scope="module")
def sampler() -> Sampler:
    settings = read_settings({}, publishing=False)
    sampler = Sampler(make_collectors(settings.collectors, settings.host), SystemClock(), 10.0)
    sampler.sample()
    time.sleep(0.3)
    return sampler


@pytest.fixture(scope="module")
def sample(sampler) -> Sample:
    return sampler.sample()


def meminfo() -> dict[str, int]:
    lines = (line.split() for line in (PROC / "meminfo").read_text().splitlines())
    return {name.rstrip(":"): int(value) * 1024 for name, value, *_ in lines}


def test_no_collector_fails_here(sampler, sample):
    assert {name: statistics.problem for name, statistics in sampler.statistics.items()} == dict.fromkeys(
        ("cpu", "memory", "disk", "filesystem", "network", "pressure", "files", "sockets", "system", "temperature")
    )
    assert not any(statistics.refused for statistics in sampler.statistics.values())


def test_shares_of_cpu_time_make_sense(sample):
    modes = sum(value for key, value in sample.metrics.items() if key.startswith("cpu.") and key != "cpu.switches")

    assert 0 <= sample.metrics["cpu"] <= 1
    assert modes - sample.metrics["cpu.iowait"] == pytest.approx(sample.metrics["cpu"], abs=0.001)


def test_load_is_what_proc_says(sample):
    one, five, fifteen = (float(text) for text in (PROC / "loadavg").read_text().split()[:3])

    assert sample.metrics["load.15m"] == pytest.approx(fifteen, abs=0.5)
    assert sample.metrics["load.5m"] == pytest.approx(five, abs=1)
    assert sample.metrics["load.1m"] == pytest.approx(one, abs=3)


def test_as_many_processes_are_counted_as_proc_lists(sample):
    listed = sum(path.name.isdigit() for path in PROC.iterdir())

    assert sample.metrics["procs"] == pytest.approx(listed, abs=max(20, listed // 4))


def test_memory_is_what_proc_says(sample):
    plain = meminfo()
    slack = 0.05 * plain["MemTotal"]

    assert sample.metrics["mem.used"] + sample.metrics["mem.free"] + sample.metrics["mem.cached"] == plain["MemTotal"]
    assert sample.metrics["mem.free"] == pytest.approx(plain["MemFree"], abs=slack)
    assert sample.metrics["mem.available"] == pytest.approx(plain["MemAvailable"], abs=slack)
    assert sample.metrics["mem"] == pytest.approx(1 - plain["MemAvailable"] / plain["MemTotal"], abs=0.05)


def test_every_whole_disk_is_there_and_no_part_of_one(sample):
    with_hardware = {path.name for path in Path("/sys/block").iterdir() if (path / "device").exists()}

    assert set(sample.devices.get("disk", {})) == with_hardware - {"sr0", "fd0"}


def test_file_systems_are_as_full_as_psutil_says(sample):
    on_disks = [part.mountpoint for part in psutil.disk_partitions() if Path(part.mountpoint).is_dir()]
    assert on_disks, "psutil finds no file system on a disk; this test needs one"

    for mountpoint, found in sample.devices["filesystem"].items():
        usage = psutil.disk_usage(mountpoint)
        assert mountpoint in on_disks
        assert found["used"] == pytest.approx(usage.used, rel=0.02)
        assert found["full"] == pytest.approx(usage.percent / 100, abs=0.02)


def test_counters_of_interfaces_are_psutils(sampler, sample):
    plain = psutil.net_io_counters(pernic=True)

    for reading in sampler.counters["network"]:
        if reading.key == "rx":
            assert reading.device in plain
            assert reading.value <= plain[reading.device].bytes_recv
    assert "lo" not in sample.devices.get("network", {})


def test_pressure_is_reported_where_the_kernel_has_it(sample):
    assert ("psi.cpu" in sample.metrics) == (PROC / "pressure/cpu").exists()


def test_faults_and_kills_are_what_proc_says(sampler):
    plain = dict(line.split() for line in (PROC / "vmstat").read_text().splitlines())
    read = {reading.key: reading.value for reading in sampler.counters["memory"]}

    assert read["oom"] == pytest.approx(int(plain["oom_kill"]), abs=2)
    assert read["swap.out"] == pytest.approx(int(plain["pswpout"]) * 4096, abs=2**26)
    assert 0 < read["faults.major"] <= int(plain["pgmajfault"])


def test_open_files_sockets_and_uptime_are_what_proc_says(sample):
    opened, _, limit = (int(text) for text in (PROC / "sys/fs/file-nr").read_text().split())
    listed = len((PROC / "net/tcp").read_text().splitlines()) + len((PROC / "net/tcp6").read_text().splitlines()) - 2

    assert sample.metrics["fds"] == pytest.approx(opened, abs=max(500, opened // 4))
    assert sample.metrics["fds.full"] == pytest.approx(opened / limit, abs=0.01)
    assert sample.metrics["tcp"] + sample.metrics["tcp.time_wait"] == pytest.approx(listed, abs=max(50, listed // 4))
    assert sample.metrics["sockets"] >= sample.metrics["tcp"] >= 0
    assert sample.metrics["uptime"] == pytest.approx(time.clock_gettime(time.CLOCK_BOOTTIME), abs=60)


def test_temperature_is_there_where_a_sensor_is(sample):
    sensors = [*Path("/sys/class/hwmon").glob("hwmon*/temp*_input"), *Path("/sys/class/thermal").glob("*/temp")]

    assert ("temperature" in sample.metrics) <= bool(sensors)


def test_mounts_are_read_again_only_when_one_changes(monkeypatch):
    reads = []
    read = mounts.procfs.read
    monkeypatch.setattr(mounts.procfs, "read", lambda path: reads.append(path) or read(path))
    table = mounts.MountTable(read_settings({}, publishing=False).host)

    found = [table.paths() for _ in range(3)]

    assert found[0] == found[1] == found[2] != {}
    assert reads.count("/proc/self/mountinfo") == 1
