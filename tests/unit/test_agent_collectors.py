"""Each collector against a small /proc of its own making, good and bad."""

import os
from pathlib import Path

import psutil
import pytest

from agent.collector import Reading
from agent.collectors import pressure
from agent.collectors.cpu import CpuCollector
from agent.collectors.disk import DEFAULT_EXCLUDE as DISK_EXCLUDE
from agent.collectors.disk import DiskCollector
from agent.collectors.memory import MemoryCollector
from agent.collectors.network import DEFAULT_EXCLUDE as NETWORK_EXCLUDE
from agent.collectors.network import NetworkCollector
from agent.collectors.pressure import PressureCollector
from agent.selection import Selection

STAT = """\
cpu  {user} 50 {system} {idle} {iowait} 10 20 30 7 3
cpu0 1 2 3 4 5 6 7 8 9 10
intr 213650 0 0 0
ctxt 494446
btime 1795394163
processes 7897
procs_running 3
procs_blocked 2
softirq 129622 0 23623
"""
MEMINFO = """\
MemTotal:        8000000 kB
MemFree:         1000000 kB
MemAvailable:    6000000 kB
Buffers:          100000 kB
Cached:          4000000 kB
Active:                0 kB
Inactive:              0 kB
Shmem:             10000 kB
SReclaimable:     500000 kB
SwapTotal:       {swap_total} kB
SwapFree:        {swap_free} kB
"""
NET_DEV = """\
Inter-|   Receive                                                |  Transmit
 face |bytes packets errs drop fifo frame compressed multicast|bytes packets errs drop fifo colls carrier compressed
    lo:  100   1 0 0 0 0 0 0  100   1 0 0 0 0 0 0
  eth0: 1000  10 1 2 9 9 9 9 2000  20 3 4 9 9 9 9
veth12: 5000  50 0 0 0 0 0 0 5000  50 0 0 0 0 0 0
enP5s1: 1000  10 0 0 0 0 0 0 2000  20 0 0 0 0 0 0
"""

DISKS = Selection(DISK_EXCLUDE)
INTERFACES = Selection(NETWORK_EXCLUDE)

WHOLE_DISKS = ("sda", "sdb", "vda", "nvme0n1", "mmcblk0")
NO_WHOLE_DISKS = (
    *("sda1", "vda14", "nvme0n1p1", "mmcblk0p1", "mmcblk0boot0"),
    *("loop0", "ram0", "zram0", "dm-0", "md127", "sr0", "fd0"),
)
REPEATING_INTERFACES = (
    *("lo", "veth0", "cali1f2", "azv99", "docker0", "cni0", "br-12ab", "virbr0", "cilium_host", "lxc12", "flannel.1"),
    *("enP41344s1", "tunl0", "ifb0", "kube-ipvs0", "nodelocaldns", "dummy0"),
)


@pytest.fixture
def proc(tmp_path, monkeypatch) -> Path:
    """A /proc with nothing in it, for psutil too."""
    monkeypatch.setattr(psutil, "PROCFS_PATH", str(tmp_path))
    return tmp_path


def write(proc: Path, name: str, content: str) -> None:
    path = proc / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def write_stat(proc: Path, user: int = 0, system: int = 0, idle: int = 0, iowait: int = 0) -> None:
    write(proc, "stat", STAT.format(user=user, system=system, idle=idle, iowait=iowait))


def values(readings) -> dict[str, float]:
    return {reading.key: reading.value for reading in readings}


class TestCpu:
    @pytest.fixture
    def collector(self, proc) -> CpuCollector:
        write_stat(proc)
        write(proc, "loadavg", "0.25 1.50 12.75 3/87 7891\n")
        return CpuCollector(str(proc))

    def test_counts_loads_and_counters_are_read_as_they_are(self, collector):
        assert values(collector.collect()) == {
            "cpu.switches": 494446,
            "procs.running": 3,
            "procs.blocked": 2,
            "procs.created": 7897,
            "load.1m": 0.25,
            "load.5m": 1.5,
            "load.15m": 12.75,
            "procs": 0,
        }

    def test_utilisation_is_the_share_of_ticks_between_two_readings(self, collector, proc):
        list(collector.collect())
        write_stat(proc, user=50, system=20, idle=100, iowait=30)

        found = values(collector.collect())

        assert found["cpu"] == pytest.approx(70 / 200)
        assert (found["cpu.user"], found["cpu.system"], found["cpu.iowait"]) == pytest.approx((0.25, 0.1, 0.15))
        assert (found["cpu.nice"], found["cpu.irq"], found["cpu.steal"]) == (0, 0, 0)

    def test_idle_time_that_steps_back_is_no_negative_time(self, collector, proc):
        write_stat(proc, idle=1000, iowait=500)
        list(collector.collect())
        write_stat(proc, user=100, idle=990, iowait=400)

        found = values(collector.collect())

        assert found["cpu"] == found["cpu.user"] == 1.0
        assert found["cpu.iowait"] == 0

    def test_no_tick_between_two_readings_gives_no_utilisation(self, collector):
        list(collector.collect())

        assert not any(key.startswith("cpu") and key != "cpu.switches" for key in values(collector.collect()))

    def test_guest_time_is_not_counted_twice(self, collector, proc):
        list(collector.collect())
        stat = STAT.format(user=100, system=0, idle=100, iowait=0).replace(" 7 3\n", " 107 3\n", 1)
        write(proc, "stat", stat)

        assert values(collector.collect())["cpu"] == 0.5

    def test_an_old_kernel_with_four_modes_is_understood(self, collector, proc):
        write(proc, "stat", "cpu  0 0 0 0\n")
        list(collector.collect())
        write(proc, "stat", "cpu  10 0 10 80\n")

        found = values(collector.collect())

        assert found["cpu"] == pytest.approx(0.2)
        assert "procs.running" not in found

    def test_processes_are_counted_by_the_links_of_proc(self, collector, proc):
        for name in ("1", "2", "4711", "sys", "tty"):
            (proc / name).mkdir()
        (proc / "self").symlink_to("4711")

        assert values(collector.collect())["procs"] == 3

        (proc / "4712").mkdir()
        assert values(collector.collect())["procs"] == 4

    @pytest.mark.parametrize("first_line", ["", "cpu", "cpu 1 2 3", "intr 1 2 3 4 5", "cpu a b c d e"])
    def test_a_stat_file_of_another_kind_is_an_error(self, collector, proc, first_line):
        write(proc, "stat", f"{first_line}\n")

        with pytest.raises(ValueError, match=r"stat|literal"):
            list(collector.collect())


class TestMemory:
    def test_states_add_up_to_the_total(self, proc):
        write(proc, "meminfo", MEMINFO.format(swap_total=1000, swap_free=250))
        write(proc, "vmstat", "pswpin 3\npswpout 5\n")

        found = values(MemoryCollector().collect())

        assert found["mem"] == pytest.approx(0.25)
        assert found["mem.used"] + found["mem.free"] + found["mem.cached"] == 8_000_000 * 1024
        assert found["mem.cached"] == 4_600_000 * 1024
        assert found["mem.available"] == 6_000_000 * 1024
        assert found["swap"] == 0.75
        assert (found["swap.in"], found["swap.out"]) == (3 * 4096, 5 * 4096)

    def test_a_node_without_swap_uses_none_of_it(self, proc):
        write(proc, "meminfo", MEMINFO.format(swap_total=0, swap_free=0))
        write(proc, "vmstat", "pswpin 0\npswpout 0\n")

        assert values(MemoryCollector().collect())["swap"] == 0.0

    def test_no_meminfo_is_an_error(self, proc):
        with pytest.raises(FileNotFoundError):
            list(MemoryCollector().collect())


class TestDisk:
    def test_whole_disks_are_read_and_parts_and_layers_are_not(self, proc):
        lines = [
            f"{major} 0 {name} 10 0 16 500 20 0 32 1500 0 700 2000 0 0 0 0 0 0"
            for major, name in enumerate((*WHOLE_DISKS, *NO_WHOLE_DISKS))
        ]
        write(proc, "diskstats", "\n".join(lines) + "\n")

        readings = list(DiskCollector(DISKS).collect())

        assert {reading.device for reading in readings} == set(WHOLE_DISKS)
        assert {r.key: r.value for r in readings if r.device == "sda"} == {
            "read": 16 * 512,
            "write": 32 * 512,
            "reads": 10,
            "writes": 20,
            "read_time": 0.5,
            "write_time": 1.5,
            "busy": 0.7,
        }

    def test_times_say_where_they_wrap_and_counts_do_not(self, proc):
        write(proc, "diskstats", "8 0 sda 10 0 16 500 20 0 32 1500 0 700 2000\n")

        wraps = {reading.key: reading.wraps_at for reading in DiskCollector(DISKS).collect()}

        assert wraps["busy"] == wraps["read_time"] == wraps["write_time"] == 2**32 / 1000
        assert wraps["read"] is wraps["reads"] is None

    def test_a_pattern_of_ones_own_replaces_the_default(self, proc):
        write(proc, "diskstats", "8 0 sda 1 0 1 1 1 0 1 1 0 1 1\n8 1 sda1 1 0 1 1 1 0 1 1 0 1 1\n")

        assert {reading.device for reading in DiskCollector(Selection("^sda$")).collect()} == {"sda1"}

    def test_a_line_of_unknown_form_is_an_error(self, proc):
        write(proc, "diskstats", "8 0 sda 1 2 3\n")

        with pytest.raises(ValueError, match="interpret"):
            list(DiskCollector(DISKS).collect())

    def test_the_default_pattern_does_not_match_disks_of_azure_nodes(self):
        assert all(DISKS.takes(name) for name in ("sda", "sdaa", "sdc", "nvme0n1", "nvme12n3", "vdb"))


class TestNetwork:
    def test_the_namespace_of_process_one_is_read(self, proc):
        write(proc, "1/net/dev", NET_DEV)
        write(proc, "net/dev", NET_DEV.replace("eth0", "eth7"))

        readings = list(NetworkCollector(str(proc), INTERFACES).collect())

        assert {reading.device for reading in readings} == {"eth0"}
        assert values(readings) == {
            "rx": 1000,
            "rx_packets": 10,
            "rx_errors": 1,
            "rx_drops": 2,
            "tx": 2000,
            "tx_packets": 20,
            "tx_errors": 3,
            "tx_drops": 4,
        }

    def test_without_process_one_the_own_namespace_is_read(self, proc):
        write(proc, "net/dev", NET_DEV)

        assert {reading.device for reading in NetworkCollector(str(proc), INTERFACES).collect()} == {"eth0"}

    def test_an_interface_with_an_alias_keeps_its_whole_name(self, proc):
        write(proc, "net/dev", NET_DEV.replace("eth0", "eth0:1"))

        assert Reading("rx", 1000, "eth0:1") in list(NetworkCollector(str(proc), INTERFACES).collect())

    def test_no_interface_at_all_is_no_error(self, proc):
        write(proc, "net/dev", "\n".join(NET_DEV.splitlines()[:2]) + "\n")

        assert list(NetworkCollector(str(proc), INTERFACES).collect()) == []

    def test_a_truncated_line_is_an_error(self, proc):
        write(proc, "net/dev", NET_DEV + "  eth1: 1 2 3\n")

        with pytest.raises(IndexError):
            list(NetworkCollector(str(proc), INTERFACES).collect())

    @pytest.mark.parametrize("name", REPEATING_INTERFACES)
    def test_interfaces_that_repeat_others_traffic_are_left_out_by_default(self, proc, name):
        write(proc, "net/dev", NET_DEV.replace("  eth0", f"  {name}"))

        assert list(NetworkCollector(str(proc), INTERFACES).collect()) == []

    @pytest.mark.parametrize("name", ["eth0", "ens3", "enp0s3", "eno1", "bond0", "wlan0", "azure0", "local0"])
    def test_real_interfaces_are_not_left_out_by_default(self, name):
        assert INTERFACES.takes(name)


class TestPressure:
    LINES = "some avg10=1.00 avg60=0.14 avg300=0.10 total={some}\nfull avg10=0.00 avg60=0.00 avg300=0.00 total={full}\n"

    def test_totals_are_seconds_since_boot(self, proc):
        for number, resource in enumerate(("cpu", "memory", "io"), 1):
            write(proc, f"pressure/{resource}", self.LINES.format(some=number * 1_000_000, full=number * 500_000))

        assert values(PressureCollector(str(proc)).collect()) == {
            "psi.cpu": 1.0,
            "psi.mem": 2.0,
            "psi.mem.full": 1.0,
            "psi.io": 3.0,
            "psi.io.full": 1.5,
        }

    def test_a_kernel_without_pressure_information_is_no_error(self, proc):
        assert list(PressureCollector(str(proc)).collect()) == []

    def test_pressure_information_switched_off_is_no_error(self, proc, monkeypatch):
        def refuse(path):
            raise OSError(95, os.strerror(95), path)

        monkeypatch.setattr(pressure.procfs, "read", refuse)

        assert list(PressureCollector(str(proc)).collect()) == []

    def test_files_that_may_not_be_read_are_an_error(self, proc, monkeypatch):
        def refuse(path):
            raise PermissionError(13, os.strerror(13), path)

        monkeypatch.setattr(pressure.procfs, "read", refuse)

        with pytest.raises(PermissionError):
            list(PressureCollector(str(proc)).collect())

    def test_one_resource_may_be_missing(self, proc):
        write(proc, "pressure/io", self.LINES.format(some=1_000_000, full=0))

        assert values(PressureCollector(str(proc)).collect()) == {"psi.io": 1.0, "psi.io.full": 0.0}

    def test_a_line_without_a_total_is_an_error(self, proc):
        write(proc, "pressure/io", "some avg10=1.00\n")

        with pytest.raises(ValueError, match="invalid literal"):
            list(PressureCollector(str(proc)).collect())
