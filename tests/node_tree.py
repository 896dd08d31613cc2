"""Files of a node in a directory: /proc, /sys and / as a container sees them through its mounts."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from agent.collector import Host
from agent.collectors import disk, filesystem, network
from agent.selection import Selection

FILESYSTEMS = (
    "nodev\tsysfs\nnodev\ttmpfs\nnodev\toverlay\nnodev\tcifs\nnodev\tnfs4\nnodev\tzfs\n\text4\n\txfs\n\tbtrfs\n"
)
FILESYSTEMS += "\tvfat\n\tsquashfs\n"
STAT = """\
cpu  {user} 50 {system} {idle} {iowait} 10 20 30 7 3
cpu0 1 2 3 4 5 6 7 8 9 10
cpu1 1 2 3 4 5 6 7 8 9 10
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
SwapCached:            0 kB
Active:          2500000 kB
Inactive:        3500000 kB
Shmem:             10000 kB
SReclaimable:     500000 kB
SwapTotal:       {swap_total} kB
SwapFree:        {swap_free} kB
"""
VMSTAT = "nr_free_pages 250000\npswpin 3\npswpout 5\npgfault 94967\npgmajfault 41\noom_kill 2\nunevictable_pgs 0\n"
SOCKSTAT = """\
sockets: used 310
TCP: inuse 24 orphan 1 tw 7 alloc 52 mem 11
UDP: inuse 6 mem 3
UDPLITE: inuse 0
RAW: inuse 0
FRAG: inuse 0 memory 0
"""
SOCKSTAT6 = "TCP6: inuse 18\nUDP6: inuse 4\nUDPLITE6: inuse 0\nRAW6: inuse 0\nFRAG6: inuse 0 memory 0\n"
NET_DEV_HEAD = """\
Inter-|   Receive                                                |  Transmit
 face |bytes packets errs drop fifo frame compressed multicast|bytes packets errs drop fifo colls carrier compressed
"""
PRESSURE = "some avg10=1.00 avg60=0.14 avg300=0.10 total={some}\nfull avg10=0.00 avg60=0.00 avg300=0.00 total={full}\n"


def host_of(procfs: Path | str = "/proc", sysfs: Path | str = "/sys", rootfs: Path | str = "/", **changes) -> Host:
    """A host seen at these places, with the agent's own patterns."""
    fields = {
        "procfs": str(procfs),
        "sysfs": str(sysfs),
        "rootfs": str(rootfs),
        "disks": Selection(disk.DEFAULT_EXCLUDE),
        "mounts": Selection(filesystem.DEFAULT_MOUNT_EXCLUDE),
        "fs_types": Selection(filesystem.DEFAULT_TYPE_EXCLUDE),
        "interfaces": Selection(network.DEFAULT_EXCLUDE),
    }
    return Host(**(fields | changes))


class NodeTree:
    """A directory with `proc`, `sys` and `root`, empty at first."""

    def __init__(self, directory: Path) -> None:
        self.proc, self.sys, self.root = (directory / name for name in ("proc", "sys", "root"))
        for path in (self.proc, self.sys, self.root):
            path.mkdir(parents=True)

    def host(self, **changes) -> Host:
        return host_of(self.proc, self.sys, self.root, **changes)

    def write(self, name: str, content: str) -> None:
        """Writes a file of /proc."""
        write(self.proc / name, content)

    def basics(self) -> None:
        """Everything of /proc that has no devices."""
        self.write("stat", STAT.format(user=100, system=50, idle=900, iowait=20))
        self.write("loadavg", "0.25 1.50 12.75 3/87 7891\n")
        self.write("meminfo", MEMINFO.format(swap_total=0, swap_free=0))
        self.write("vmstat", VMSTAT)
        self.write("uptime", "86400.25 171000.50\n")
        self.write("filesystems", FILESYSTEMS)
        self.write("sys/fs/file-nr", "4096\t0\t1048576\n")
        self.write("1/net/sockstat", SOCKSTAT)
        self.write("1/net/sockstat6", SOCKSTAT6)
        for resource in ("cpu", "memory", "io"):
            self.write(f"pressure/{resource}", PRESSURE.format(some=1_000_000, full=500_000))

    def interfaces(self, counters: Mapping[str, int], process: str = "1") -> None:
        """Interfaces of the namespace of a process: bytes received; as much sent, a packet per 100 bytes."""
        lines = (f"{n:>6}: {b} {b // 100} 0 0 0 0 0 0 {b} {b // 100} 0 0 0 0 0 0\n" for n, b in counters.items())
        self.write(f"{process}/net/dev", NET_DEV_HEAD + "".join(lines))

    def disks(self, sectors: Mapping[str, int]) -> None:
        """Block devices and the sectors read of them."""
        lines = (
            f"8 {i} {n} {s} 0 {s} 50 20 0 32 150 0 70 200 0 0 0 0 0 0\n" for i, (n, s) in enumerate(sectors.items())
        )
        self.write("diskstats", "".join(lines))

    def mounts(self, *mounts: str) -> None:
        """The reader's own mounts: 'major:minor root mountpoint type source', the node's at {root}."""
        self.write("self/mountinfo", mountinfo(*(mount.format(root=self.root) for mount in mounts)))

    def sensor(self, name: str, value: str) -> None:
        """A file of /sys/class with a temperature in thousandths of a degree."""
        write(self.sys / "class" / name, f"{value}\n")


def write(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def mountinfo(*mounts: str) -> str:
    """Lines of 'major:minor root mountpoint type source'."""
    lines = []
    for number, mount in enumerate(mounts, 20):
        device_id, root, mountpoint, kind, source = mount.split(" ")
        lines.append(f"{number} 1 {device_id} {root} {mountpoint} rw,relatime shared:1 - {kind} {source} rw\n")
    return "".join(lines)


def aks_node(directory: Path, *, pods: int = 40, processes: int = 200) -> NodeTree:
    """A busy AKS node (Ubuntu, Azure CNI, accelerated networking, one CSI disk) seen from the agent's container."""
    tree = NodeTree(directory)
    tree.basics()
    for pid in range(1, processes + 1):
        (tree.proc / str(pid)).mkdir(exist_ok=True)
    tree.interfaces(
        {"lo": 5000, "eth0": 7_000_000, "enP41344s1": 6_900_000, **_azv(pods), "cali1f2a": 10, "docker0": 0}
    )
    tree.interfaces({"lo": 1, "eth0": 2_000}, process="self")
    tree.write("net/dev", (tree.proc / "self/net/dev").read_text())
    tree.disks(
        dict.fromkeys(("sda", "sdb", "sdc", "nvme0n1"), 1000)
        | dict.fromkeys(("sda1", "sda14", "sda15", "sdb1", "nvme0n1p1", "sr0", "dm-0"), 900)
        | {f"loop{number}": 8 for number in range(8)}
    )
    tree.mounts(*_containers_own_mounts(), *_nodes_mounts(pods))
    for mountpoint in ("boot/efi", "mnt", "etc"):
        (tree.root / mountpoint).mkdir(parents=True)
    write(tree.root / "etc/hostname", "aks-pool1-12345678-vmss00000a\n")
    return tree


def _azv(pods: int) -> dict[str, int]:
    return {f"azv{number:x}c0ffee": 1_000 * number for number in range(pods)}


def _containers_own_mounts() -> Iterable[str]:
    yield "0:200 / / overlay overlay"
    yield "0:201 / /proc proc proc"
    yield "0:202 / /dev tmpfs tmpfs"
    yield "8:1 /var/lib/kubelet/pods/0a/etc-hosts /etc/hosts ext4 /dev/sda1"
    yield "8:1 /var/lib/kubelet/pods/0a/containers/agent/1 /dev/termination-log ext4 /dev/sda1"
    yield "8:1 /var/lib/devops-monitor /spool ext4 /dev/sda1"
    yield "0:21 / /host/proc proc proc"
    yield "0:22 / /host/sys sysfs sysfs"


def _nodes_mounts(pods: int) -> Iterable[str]:
    yield "8:1 / {root} ext4 /dev/root"
    yield "0:21 / {root}/proc proc proc"
    yield "0:23 / {root}/run tmpfs tmpfs"
    yield "8:15 / {root}/boot/efi vfat /dev/sda15"
    yield "8:17 / {root}/mnt ext4 /dev/sdb1"
    yield "8:1 /var/lib/kubelet {root}/var/lib/kubelet ext4 /dev/sda1"
    yield "7:0 / {root}/snap/core22/1 squashfs /dev/loop0"
    yield "0:90 / {root}/mnt/share nfs4 10.0.0.1:/share"
    csi = "{root}/var/lib/kubelet/plugins/kubernetes.io/csi/disk.csi.azure.com/ab12/globalmount"
    yield f"8:32 / {csi} ext4 /dev/sdc"
    for number in range(pods):
        pod = f"{{root}}/var/lib/kubelet/pods/{number:04x}"
        task = f"{{root}}/run/containerd/io.containerd.runtime.v2.task/k8s.io/{number:04x}"
        yield f"0:{300 + number} / {task}/rootfs overlay overlay"
        yield f"0:{600 + number} / {pod}/volumes/kubernetes.io~projected/kube-api-access tmpfs tmpfs"
        yield f"8:32 / {pod}/volumes/kubernetes.io~csi/pvc-1/mount ext4 /dev/sdc"
        yield f"8:1 /var/lib/kubelet/pods/x/file {pod}/volume-subpaths/config/c/0 ext4 /dev/sda1"
        yield f"0:4 net:[40265{number:05}] {{root}}/run/netns/cni-{number:04x} nsfs nsfs"
