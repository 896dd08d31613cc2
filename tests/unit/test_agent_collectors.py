"""Each collector against a small /proc of its own making, good and bad."""

import errno
import os
from pathlib import Path

import pytest

from agent.collector import Reading
from agent.collectors import pressure
from agent.collectors.cpu import CpuCollector
from agent.collectors.disk import DEFAULT_EXCLUDE as DISK_EXCLUDE
from agent.collectors.disk import DiskCollector
from agent.collectors.files import FilesCollector
from agent.collectors.memory import MemoryCollector
from agent.collectors.network import DEFAULT_EXCLUDE as NETWORK_EXCLUDE
from agent.collectors.network import NetworkCollector
from agent.collectors.pressure import PressureCollector
from agent.collectors.sockets import SocketsCollector
from agent.collectors.system import SystemCollector
from agent.collectors.temperature import LOOK_AGAIN_AFTER, TemperatureCollector
from agent.host import network_namespace, procfs
from agent.host.network_namespace import NetworkNamespace
from agent.registry import make_collectors
from agent.selection import Selection
from tests.node_tree import MEMINFO, PRESSURE, SOCKSTAT, SOCKSTAT6, STAT, VMSTAT, host_of, write

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
def proc(tmp_path) -> Path:
    """A /proc with nothing in it."""
    return tmp_path


def write_stat(proc: Path, user: int = 0, system: int = 0, idle: int = 0, iowait: int = 0) -> None:
    write(proc / "stat", STAT.format(user=user, system=system, idle=idle, iowait=iowait))


def network_collector(proc: Path, *, in_container: bool = False) -> NetworkCollector:
    return NetworkCollector(NetworkNamespace(str(proc), in_container=in_container), INTERFACES)


def sockets_collector(proc: Path, *, in_container: bool = False) -> SocketsCollector:
    return SocketsCollector(NetworkNamespace(str(proc), in_container=in_container))


def values(readings) -> dict[str, float]:
    return {reading.key: reading.value for reading in readings}


class TestCpu:
    @pytest.fixture
    def collector(self, proc) -> CpuCollector:
        write_stat(proc)
        write(proc / "loadavg", "0.25 1.50 12.75 3/87 7891\n")
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
        write(proc / "stat", stat)

        assert values(collector.collect())["cpu"] == 0.5

    def test_an_old_kernel_with_four_modes_is_understood(self, collector, proc):
        write(proc / "stat", "cpu  0 0 0 0\n")
        list(collector.collect())
        write(proc / "stat", "cpu  10 0 10 80\n")

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

    @pytest.mark.parametrize("loads", ["", "0.25 1.50", "0.25 1.50 12.75", "a b c d"])
    def test_loads_cut_short_or_of_another_kind_are_an_error(self, collector, proc, loads):
        write(proc / "loadavg", loads)

        with pytest.raises(ValueError, match=r"unpack|shorter|convert"):
            list(collector.collect())

    @pytest.mark.parametrize("first_line", ["", "cpu", "cpu 1 2 3", "intr 1 2 3 4 5", "cpu a b c d e"])
    def test_a_stat_file_of_another_kind_is_an_error(self, collector, proc, first_line):
        write(proc / "stat", f"{first_line}\n")

        with pytest.raises(ValueError, match=r"stat|literal"):
            list(collector.collect())


class TestMemory:
    def test_states_add_up_to_the_total(self, proc):
        write(proc / "meminfo", MEMINFO.format(swap_total=1000, swap_free=250))
        write(proc / "vmstat", VMSTAT)

        found = values(MemoryCollector(str(proc)).collect())

        assert found["mem"] == pytest.approx(0.25)
        assert found["mem.used"] + found["mem.free"] + found["mem.cached"] == 8_000_000 * 1024
        assert found["mem.cached"] == 4_600_000 * 1024
        assert found["mem.available"] == 6_000_000 * 1024
        assert found["swap"] == 0.75
        assert (found["swap.in"], found["swap.out"]) == (3 * 4096, 5 * 4096)
        assert (found["faults.major"], found["oom"]) == (41, 2)

    def test_a_node_without_swap_uses_none_of_it(self, proc):
        write(proc / "meminfo", MEMINFO.format(swap_total=0, swap_free=0))
        write(proc / "vmstat", "pswpin 0\npswpout 0\n")

        assert values(MemoryCollector(str(proc)).collect())["swap"] == 0.0

    def test_a_kernel_that_does_not_count_oom_kills_has_none_to_tell(self, proc):
        write(proc / "meminfo", MEMINFO.format(swap_total=0, swap_free=0))
        write(proc / "vmstat", "pswpin 0\npswpout 0\npgmajfault 1\n")

        assert "oom" not in values(MemoryCollector(str(proc)).collect())

    def test_no_meminfo_is_an_error(self, proc):
        with pytest.raises(FileNotFoundError):
            list(MemoryCollector(str(proc)).collect())

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("", "must have a line MemTotal:"),
            ("MemTotal: 8000 kB\nMemFree: 1000 kB\n", "must have a line MemAvailable: "),
            ("MemTotal:        80", "must follow b'MemTotal:', got b'        80'"),
            ("MemTotal: many kB\n", "must follow b'MemTotal:'"),
            ("MemTotal:\nMemFree: 1 kB\n", "must follow b'MemTotal:'"),
        ],
    )
    def test_a_meminfo_cut_short_or_of_another_kind_is_an_error(self, proc, content, message):
        write(proc / "meminfo", content)

        with pytest.raises(ValueError, match=message):
            list(MemoryCollector(str(proc)).collect())

    def test_a_vmstat_cut_short_is_an_error_and_no_smaller_number(self, proc):
        write(proc / "meminfo", MEMINFO.format(swap_total=0, swap_free=0))
        write(proc / "vmstat", "pswpin 123")

        with pytest.raises(ValueError, match="got b'123'"):
            list(MemoryCollector(str(proc)).collect())


class TestDisk:
    def test_whole_disks_are_read_and_parts_and_layers_are_not(self, proc):
        lines = [
            f"{major} 0 {name} 10 0 16 500 20 0 32 1500 0 700 2000 0 0 0 0 0 0"
            for major, name in enumerate((*WHOLE_DISKS, *NO_WHOLE_DISKS))
        ]
        write(proc / "diskstats", "\n".join(lines) + "\n")

        readings = list(DiskCollector(DISKS, str(proc)).collect())

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
        write(proc / "diskstats", "8 0 sda 10 0 16 500 20 0 32 1500 0 700 2000\n")

        wraps = {reading.key: reading.wraps_at for reading in DiskCollector(DISKS, str(proc)).collect()}

        assert wraps["busy"] == wraps["read_time"] == wraps["write_time"] == 2**32 / 1000
        assert wraps["read"] is wraps["reads"] is None

    def test_a_pattern_of_ones_own_replaces_the_default(self, proc):
        write(proc / "diskstats", "8 0 sda 1 0 1 1 1 0 1 1 0 1 1\n8 1 sda1 1 0 1 1 1 0 1 1 0 1 1\n")

        assert {reading.device for reading in DiskCollector(Selection("^sda$"), str(proc)).collect()} == {"sda1"}

    def test_a_disk_that_was_unplugged_is_no_error(self, proc):
        write(proc / "diskstats", "8 0 sda 1 0 1 1 1 0 1 1 0 1 1\n8 16 sdb 1 0 1 1 1 0 1 1 0 1 1\n")
        collector = DiskCollector(DISKS, str(proc))
        list(collector.collect())
        write(proc / "diskstats", "8 0 sda 1 0 1 1 1 0 1 1 0 1 1\n")

        assert {reading.device for reading in collector.collect()} == {"sda"}

    def test_a_line_of_unknown_form_is_an_error(self, proc):
        write(proc / "diskstats", "8 0 sda 1 2 3\n")

        with pytest.raises(ValueError, match="at least 14 fields, got '8 0 sda 1 2 3'"):
            list(DiskCollector(DISKS, str(proc)).collect())

    def test_a_number_that_is_none_is_an_error(self, proc):
        write(proc / "diskstats", "8 0 sda 1 0 x 1 1 0 1 1 0 1 1\n")

        with pytest.raises(ValueError, match="'x'"):
            list(DiskCollector(DISKS, str(proc)).collect())

    def test_a_kernel_without_block_devices_has_no_disks(self, proc):
        assert list(DiskCollector(DISKS, str(proc)).collect()) == []

    def test_the_default_pattern_does_not_match_disks_of_azure_nodes(self):
        assert all(DISKS.takes(name) for name in ("sda", "sdaa", "sdc", "nvme0n1", "nvme12n3", "vdb"))


class TestNetwork:
    def test_the_namespace_of_process_one_is_read(self, proc):
        write(proc / "1/net/dev", NET_DEV)
        write(proc / "net/dev", NET_DEV.replace("eth0", "eth7"))

        readings = list(network_collector(proc).collect())

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

    def test_the_numbers_of_a_container_are_not_taken_for_the_nodes(self, proc):
        write(proc / "net/dev", NET_DEV)

        with pytest.raises(FileNotFoundError, match="mount the node's /proc at AGENT_PROCFS") as caught:
            list(network_collector(proc, in_container=True).collect())
        assert caught.value.filename == f"{proc}/1/net/dev"

    def test_process_one_that_may_not_be_seen_is_said_to_be_so(self, proc, monkeypatch):
        def refuse(path):
            raise PermissionError(13, os.strerror(13), path)

        monkeypatch.setattr(network_namespace.procfs, "read", refuse)

        with pytest.raises(PermissionError, match="without hidepid"):
            list(network_collector(proc, in_container=True).collect())

    def test_without_process_one_a_node_reads_the_own_namespace(self, proc):
        write(proc / "net/dev", NET_DEV)

        assert {reading.device for reading in network_collector(proc).collect()} == {"eth0"}

    def test_an_interface_with_an_alias_keeps_its_whole_name(self, proc):
        write(proc / "net/dev", NET_DEV.replace("eth0", "eth0:1"))

        assert Reading("rx", 1000, "eth0:1") in list(network_collector(proc).collect())

    def test_no_interface_at_all_is_no_error(self, proc):
        write(proc / "net/dev", "\n".join(NET_DEV.splitlines()[:2]) + "\n")

        assert list(network_collector(proc).collect()) == []

    @pytest.mark.parametrize("content", ["", "Inter-|"])
    def test_a_file_without_headings_is_an_error_and_not_a_node_without_interfaces(self, proc, content):
        write(proc / "net/dev", content)

        with pytest.raises(ValueError, match="must begin with two lines of headings"):
            list(network_collector(proc).collect())

    def test_a_truncated_line_is_an_error(self, proc):
        write(proc / "net/dev", NET_DEV + "  eth1: 1 2 3\n")

        with pytest.raises(ValueError, match="must have 16 numbers, got '  eth1: 1 2 3'"):
            list(network_collector(proc).collect())

    @pytest.mark.parametrize("name", REPEATING_INTERFACES)
    def test_interfaces_that_repeat_others_traffic_are_left_out_by_default(self, proc, name):
        write(proc / "net/dev", NET_DEV.replace("  eth0", f"  {name}"))

        assert list(network_collector(proc).collect()) == []

    @pytest.mark.parametrize("name", ["eth0", "ens3", "enp0s3", "eno1", "bond0", "wlan0", "azure0", "local0"])
    def test_real_interfaces_are_not_left_out_by_default(self, name):
        assert INTERFACES.takes(name)


class TestPressure:
    def test_totals_are_seconds_since_boot(self, proc):
        for number, resource in enumerate(("cpu", "memory", "io"), 1):
            write(proc / f"pressure/{resource}", PRESSURE.format(some=number * 1_000_000, full=number * 500_000))

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
        write(proc / "pressure/io", PRESSURE.format(some=1_000_000, full=0))

        assert values(PressureCollector(str(proc)).collect()) == {"psi.io": 1.0, "psi.io.full": 0.0}

    def test_a_line_without_a_total_is_an_error(self, proc):
        write(proc / "pressure/io", "some avg10=1.00\n")

        with pytest.raises(ValueError, match="invalid literal"):
            list(PressureCollector(str(proc)).collect())


class TestFiles:
    def test_open_files_and_their_share_of_the_limit(self, proc):
        write(proc / "sys/fs/file-nr", "4096\t96\t100000\n")

        assert values(FilesCollector(str(proc)).collect()) == {"fds": 4000, "fds.full": 0.04}

    def test_no_limit_is_no_share_to_speak_of(self, proc):
        write(proc / "sys/fs/file-nr", f"4096\t0\t{2**63 - 1}\n")

        assert values(FilesCollector(str(proc)).collect())["fds.full"] == pytest.approx(0, abs=1e-12)

    def test_root_may_open_more_than_the_limit(self, proc):
        write(proc / "sys/fs/file-nr", "120\t0\t100\n")

        assert values(FilesCollector(str(proc)).collect())["fds.full"] == 1.0

    def test_a_limit_of_nothing_has_no_share(self, proc):
        write(proc / "sys/fs/file-nr", "120\t0\t0\n")

        assert values(FilesCollector(str(proc)).collect()) == {"fds": 120}

    @pytest.mark.parametrize("content", ["", "4096\t0\n", "4096 0 100 7\n", "a\tb\tc\n"])
    def test_a_file_of_another_kind_is_an_error(self, proc, content):
        write(proc / "sys/fs/file-nr", content)

        with pytest.raises(ValueError, match=r"unpack|invalid literal"):
            list(FilesCollector(str(proc)).collect())


class TestSockets:
    def test_tcp_counts_sockets_of_both_families(self, proc):
        write(proc / "1/net/sockstat", SOCKSTAT)
        write(proc / "1/net/sockstat6", SOCKSTAT6)

        assert values(sockets_collector(proc).collect()) == {"sockets": 310, "tcp": 24 + 18, "tcp.time_wait": 7}

    def test_the_namespace_of_process_one_is_read(self, proc):
        write(proc / "1/net/sockstat", SOCKSTAT)
        write(proc / "net/sockstat", SOCKSTAT.replace("310", "3"))

        assert values(sockets_collector(proc, in_container=True).collect())["sockets"] == 310

    def test_the_numbers_of_a_container_are_not_taken_for_the_nodes(self, proc):
        write(proc / "net/sockstat", SOCKSTAT)

        with pytest.raises(FileNotFoundError, match="AGENT_PROCFS"):
            list(sockets_collector(proc, in_container=True).collect())

    def test_a_node_without_ipv6_is_not_asked_for_it_again(self, proc):
        write(proc / "1/net/sockstat", SOCKSTAT)
        collector = sockets_collector(proc, in_container=True)
        assert values(collector.collect())["tcp"] == 24
        write(proc / "1/net/sockstat6", SOCKSTAT6)

        assert values(collector.collect())["tcp"] == 24

    @pytest.mark.parametrize("content", ["", "sockets: used 3\n", "sockets: used 310\nTCP: inuse 24 orphan 1 t", "x\n"])
    def test_a_file_cut_short_or_of_another_kind_is_an_error(self, proc, content):
        write(proc / "1/net/sockstat", content)

        with pytest.raises(ValueError, match="must have lines 'sockets: used' and 'TCP: inuse"):
            list(sockets_collector(proc).collect())


class TestSystem:
    def test_uptime_is_the_first_number(self, proc):
        write(proc / "uptime", "86400.25 171000.50\n")

        assert values(SystemCollector(str(proc)).collect()) == {"uptime": 86400.25}

    @pytest.mark.parametrize("content", ["", "86400.25", "a b\n"])
    def test_a_file_of_another_kind_is_an_error(self, proc, content):
        write(proc / "uptime", content)

        with pytest.raises(ValueError, match=r"unpack|convert"):
            list(SystemCollector(str(proc)).collect())


class TestTemperature:
    @pytest.fixture
    def collector(self, tmp_path) -> TemperatureCollector:
        return TemperatureCollector(str(tmp_path))

    def test_the_hottest_of_all_sensors_is_told(self, collector, tmp_path):
        write(tmp_path / "class/hwmon/hwmon0/temp1_input", "45500\n")
        write(tmp_path / "class/hwmon/hwmon0/temp1_max", "100000\n")
        write(tmp_path / "class/hwmon/hwmon1/device/temp2_input", "61200\n")
        write(tmp_path / "class/thermal/thermal_zone0/temp", "50000\n")

        assert values(collector.collect()) == {"temperature": 61.2}

    @pytest.mark.parametrize("broken", ["", "n/a\n", "-128000\n", "45.5\n"])
    def test_a_broken_sensor_is_left_out(self, collector, tmp_path, broken):
        write(tmp_path / "class/hwmon/hwmon0/temp1_input", broken)
        assert list(collector.collect()) == []
        write(tmp_path / "class/hwmon/hwmon0/temp1_input", "30000\n")

        assert values(collector.collect()) == {"temperature": 30.0}

    @pytest.mark.parametrize("number", [errno.EIO, errno.ENODATA, errno.EAGAIN, errno.ENODEV, errno.EACCES])
    def test_a_sensor_that_cannot_be_read_is_left_out(self, collector, tmp_path, monkeypatch, number):
        for name in ("temp1_input", "temp2_input"):
            write(tmp_path / "class/hwmon/hwmon0" / name, "40000\n")
        read = procfs.read

        def fail(path):
            if "temp1" in path:
                raise OSError(number, os.strerror(number), path)
            return read(path)

        monkeypatch.setattr(procfs, "read", fail)

        assert values(collector.collect()) == {"temperature": 40.0}

    def test_a_machine_without_sensors_is_no_error_and_is_looked_at_again_seldom(self, collector, tmp_path):
        assert list(collector.collect()) == []
        write(tmp_path / "class/hwmon/hwmon0/temp1_input", "45500\n")

        assert [list(collector.collect()) for _ in range(LOOK_AGAIN_AFTER - 1)] == [[]] * (LOOK_AGAIN_AFTER - 1)
        assert values(collector.collect()) == {"temperature": 45.5}


def read_fails(monkeypatch, number: int) -> None:
    def fail(path):
        raise OSError(number, os.strerror(number), path)

    monkeypatch.setattr(procfs, "read", fail)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.ESRCH, errno.EPERM])
@pytest.mark.parametrize("name", ["cpu", "memory", "filesystem", "network", "pressure", "files", "sockets", "system"])
def test_a_file_that_cannot_be_read_is_an_error_that_names_it(proc, monkeypatch, name, number):
    (collector,) = make_collectors([name], host_of(proc, rootfs=proc))
    read_fails(monkeypatch, number)
    (proc / "self").mkdir()
    (proc / "self/mountinfo").touch()

    with pytest.raises(OSError, match=str(proc)) as caught:
        list(collector.collect())
    assert caught.value.errno == number


@pytest.mark.parametrize("name", ["cpu", "memory", "filesystem", "network", "files", "sockets", "system"])
def test_a_missing_file_is_an_error_that_names_it(proc, name):
    (collector,) = make_collectors([name], host_of(proc, rootfs=proc))

    with pytest.raises(FileNotFoundError, match=str(proc)):
        list(collector.collect())
