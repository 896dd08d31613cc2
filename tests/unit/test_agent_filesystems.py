"""Which mounts stand for a file system, and what happens when one of them hangs."""

import os
import threading

import pytest

from agent.collectors import filesystem
from agent.collectors.filesystem import (
    DEFAULT_MOUNT_EXCLUDE,
    FilesystemCollector,
)
from agent.host.mounts import MountTable, choose, disk_types, parse_mountinfo
from agent.selection import Selection
from tests.node_tree import FILESYSTEMS, host_of, mountinfo, write

TYPES = disk_types(FILESYSTEMS.encode()) - {"squashfs"}
NOTHING = Selection("^$")


def chosen(*mounts: str, selection: Selection = NOTHING) -> list[str]:
    return choose(parse_mountinfo(mountinfo(*mounts).encode()), TYPES, selection)


def test_only_file_systems_on_disks_are_chosen():
    assert chosen(
        "0:20 / /sys sysfs sysfs",
        "8:1 / / ext4 /dev/sda1",
        "0:21 / /run tmpfs tmpfs",
        "0:30 / /var/overlay overlay overlay",
        "8:2 / /boot/efi vfat /dev/sda2",
        "0:40 / /tank zfs tank",
        "7:0 / /snap/core/1 squashfs /dev/loop0",
    ) == ["/", "/boot/efi", "/tank"]


def test_bind_mounts_are_not_counted_again_and_the_whole_file_system_stands_for_them():
    assert chosen(
        "8:1 /var/lib/x /a ext4 /dev/sda1",
        "8:1 / /data/disk ext4 /dev/sda1",
        "8:1 / /data/disk/again/longer ext4 /dev/sda1",
    ) == ["/data/disk"]


def test_a_part_stands_for_its_file_system_where_nothing_else_is_mounted():
    assert chosen("8:1 /pods/1 /data ext4 /dev/sda1") == ["/data"]


def test_subvolumes_with_device_numbers_of_their_own_are_one_file_system():
    assert chosen("0:50 /@ / btrfs /dev/sda3", "0:51 /@home /home btrfs /dev/sda3") == ["/"]


def test_one_source_under_two_names_is_one_file_system():
    assert chosen("8:1 / / ext4 /dev/root", "8:1 / /mnt ext4 /dev/sda1") == ["/"]


def test_pool_datasets_without_a_device_are_file_systems_each():
    assert chosen("0:40 / /tank zfs tank", "0:41 / /tank/a zfs tank/a") == ["/tank", "/tank/a"]


def test_a_mount_hidden_by_a_later_one_is_not_looked_at():
    assert chosen("8:1 / /data ext4 /dev/sda1", "0:21 / /data tmpfs tmpfs") == []


@pytest.mark.parametrize(
    "path",
    [
        "/var/lib/kubelet/pods/1/volumes/a",
        "/var/lib/kubelet/plugins/kubernetes.io/csi/disk/globalmount",
        "/run/containerd/io.containerd.runtime/x",
        "/etc/hosts",
        "/etc/resolv.conf",
        "/dev/termination-log",
    ],
)
def test_mounts_of_pods_are_excluded_by_default(path):
    assert chosen(f"8:1 / {path} ext4 /dev/sda1", selection=Selection(DEFAULT_MOUNT_EXCLUDE)) == []


@pytest.mark.parametrize("path", ["/", "/mnt", "/var/lib/kubelet", "/etc", "/home", "/devices"])
def test_mounts_of_the_node_are_not_excluded_by_default(path):
    assert chosen(f"8:1 / {path} ext4 /dev/sda1", selection=Selection(DEFAULT_MOUNT_EXCLUDE)) == [path]


def test_blanks_and_backslashes_in_names_are_understood():
    (mount,) = parse_mountinfo(mountinfo(r"8:1 / /my\040disk\134x ext4 /dev/sda1").encode())

    assert mount.mountpoint == "/my disk\\x"


def test_lines_that_are_no_mounts_are_left_out():
    assert parse_mountinfo(b"\nfoo\n1 2 3 - ext4\n1 2 8:1 / /x rw ext4 /dev/sda1\n") == []


@pytest.fixture
def proc(tmp_path):
    write(tmp_path / "filesystems", FILESYSTEMS)
    return tmp_path


def collector_of(proc, *mounts: str, time_limit: float = 5.0, rootfs: str = "/") -> FilesystemCollector:
    write(proc / "self/mountinfo", mountinfo(*mounts))
    return FilesystemCollector(MountTable(host_of(proc, rootfs=rootfs, mounts=NOTHING)), time_limit)


def usage(blocks=1000, free=400, available=300, files=100, files_free=75, size=4096):
    return os.statvfs_result((size, size, blocks, free, available, files, files_free, files_free, 0, 255))


def test_usage_is_what_ordinary_users_see(proc, monkeypatch):
    monkeypatch.setattr(filesystem.os, "statvfs", lambda path: usage())

    found = {(r.device, r.key): r.value for r in collector_of(proc, "8:1 / / ext4 /dev/sda1").collect()}

    assert found == {
        ("/", "used"): 600 * 4096,
        ("/", "full"): pytest.approx(600 / 900),
        ("/", "inodes"): pytest.approx(0.25),
    }


def test_a_file_system_without_inodes_has_no_share_of_them(proc, monkeypatch):
    monkeypatch.setattr(filesystem.os, "statvfs", lambda path: usage(files=0, files_free=0))

    assert {r.key for r in collector_of(proc, "8:1 / / vfat /dev/sda1").collect()} == {"used", "full"}


def test_a_file_system_without_blocks_is_left_out(proc, monkeypatch):
    monkeypatch.setattr(filesystem.os, "statvfs", lambda path: usage(blocks=0, free=0, available=0))

    assert list(collector_of(proc, "8:1 / / ext4 /dev/sda1").collect()) == []


def test_a_mount_that_has_gone_is_no_error_and_its_neighbours_are_read(proc, caplog):
    missing = proc / "gone"

    readings = list(collector_of(proc, f"8:1 / {missing} ext4 /dev/sda1", f"8:2 / {proc} ext4 /dev/sdb1").collect())

    assert {reading.device for reading in readings} == {str(proc)}
    assert caplog.records == []


def test_a_hung_mount_costs_its_own_readings_and_is_logged_once(proc, monkeypatch, caplog):
    gate = threading.Event()

    def statvfs(path):
        if path == "/dead":
            gate.wait()
        return usage()

    monkeypatch.setattr(filesystem.os, "statvfs", statvfs)
    collector = collector_of(
        proc, "8:1 / /dead ext4 /dev/sda1", "8:2 / /alive ext4 /dev/sdb1", "8:3 / /b ext4 /dev/sdc1", time_limit=0.05
    )
    caplog.set_level("INFO")

    for _ in range(3):
        assert {reading.device for reading in collector.collect()} == {"/alive", "/b"}
    gate.set()
    for _ in range(500):
        if "/dead" in {reading.device for reading in collector.collect()}:
            break

    assert [record.getMessage() for record in caplog.records] == ["filesystem_left_out", "filesystem_problem_over"]
    assert (caplog.records[0].mountpoint, caplog.records[0].problem[:8]) == ("/dead", "it hangs")


def test_a_file_system_that_may_not_be_asked_is_named_once_and_its_neighbours_are_read(proc, monkeypatch, caplog):
    def statvfs(path):
        if path == "/secret":
            raise PermissionError(13, "Permission denied", path)
        return usage()

    monkeypatch.setattr(filesystem.os, "statvfs", statvfs)
    collector = collector_of(proc, "8:1 / /secret ext4 /dev/sda1", "8:2 / /open ext4 /dev/sdb1")

    for _ in range(3):
        assert {reading.device for reading in collector.collect()} == {"/open"}
    monkeypatch.setattr(filesystem.os, "statvfs", lambda path: usage())
    caplog.set_level("INFO")
    assert {reading.device for reading in collector.collect()} == {"/open", "/secret"}

    assert [record.getMessage() for record in caplog.records] == ["filesystem_left_out", "filesystem_problem_over"]
    assert caplog.records[0].problem == "PermissionError: [Errno 13] Permission denied: '/secret'"


@pytest.mark.parametrize("rootfs", ["/host/root", "/host/root/"])
def test_a_container_reports_the_nodes_mounts_by_the_nodes_names_and_none_of_its_own(proc, monkeypatch, rootfs):
    asked = []
    monkeypatch.setattr(filesystem.os, "statvfs", lambda path: asked.append(path) or usage())
    collector = collector_of(
        proc,
        "0:200 / / overlay overlay",
        "8:1 /var/lib/kubelet/pods/1/etc-hosts /etc/hosts ext4 /dev/sda1",
        "8:99 / /spool ext4 /dev/sdz",
        "8:1 / /host/root ext4 /dev/sda1",
        "8:1 /var/lib/kubelet /host/root/var/lib/kubelet ext4 /dev/sda1",
        "8:17 / /host/root/mnt ext4 /dev/sdb1",
        "8:98 / /host/rootless ext4 /dev/sdy",
        rootfs=rootfs,
    )

    assert {reading.device for reading in collector.collect()} == {"/", "/mnt"}
    assert asked == ["/host/root/", "/host/root/mnt"]


def test_a_root_directory_that_is_not_mounted_is_an_error_until_it_is(proc, monkeypatch):
    monkeypatch.setattr(filesystem.os, "statvfs", lambda path: usage())
    collector = collector_of(proc, "8:1 / / ext4 /dev/sda1", rootfs="/host/root")

    for _ in range(2):
        with pytest.raises(FileNotFoundError, match=r"AGENT_ROOTFS must be the node's root.*'/host/root'"):
            list(collector.collect())
    write(proc / "self/mountinfo", mountinfo("8:1 / /host/root ext4 /dev/sda1"))

    assert {reading.device for reading in collector.collect()} == {"/"}


def test_no_mountinfo_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        list(FilesystemCollector(MountTable(host_of(tmp_path)), 1.0).collect())
