"""The node pools of the simulated cluster: how big their nodes are, what hangs on them, what kind of load they carry.

Which pool a node belongs to, and its name, follow from its index alone. For the modules of local.fleet and for tests.
"""

from __future__ import annotations

from dataclasses import dataclass

from telemetry.envelope import Resource

GIB = 1024**3
MB = 1_000_000


FILE_MAX = 709_620
"""Files that all programs of a node together may have open: fs.file-max as AKS sets it."""


@dataclass(frozen=True, slots=True)
class Disk:
    """A block device and its share of the node's reads and writes."""

    device: str
    bytes_per_second: float
    operations_per_second: float
    read_share: float
    write_share: float


@dataclass(frozen=True, slots=True)
class Filesystem:
    """A mounted filesystem; the shares are of the space that ordinary users can have."""

    mountpoint: str
    size: int
    base_share: tuple[float, float]
    """Lowest and highest share that is always used; a node is somewhere between."""
    rotation_share: float
    """Share that grows and is freed again within a day or so: logs and their rotation."""
    collection_share: float
    """Share that grows for days and is freed at once: unused images, old segments."""
    inode_share: float


@dataclass(frozen=True, slots=True)
class Interface:
    """A network interface; accelerated networking shows the same traffic on two of them."""

    name: str
    share: float


@dataclass(frozen=True, slots=True)
class Load:
    """What a pool's nodes do; demands are shares of all CPUs."""

    level: tuple[float, float]
    """Demand of a busy hour, lowest and highest node."""
    night: float
    """Share of it that is left at night."""
    weekend: float
    """Share of the daily hump that is left at the weekend."""
    jitter: float
    """Relative size of the autocorrelated noise."""
    jobs: float
    """Demand of a batch job while one runs."""
    job_probability: float
    memory: tuple[float, float]
    """Share of memory in use when nothing happens."""
    job_memory: float
    write_rate: float
    """Bytes per second written in a busy hour."""
    traffic: float
    """Bytes per second received per unit of demand and CPU."""
    processes: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Pool:
    """A node pool: nodes of one size."""

    name: str
    scale_set: str
    cpus: int
    memory: int
    swap: int
    disks: tuple[Disk, ...]
    filesystems: tuple[Filesystem, ...]
    interfaces: tuple[Interface, ...]
    bandwidth: float
    load: Load

    def resource(self, hostname: str, boot_time: int) -> Resource:
        """The constants of a node of this pool, under the keys that the agent sends them by."""
        return {
            "hostname": hostname,
            "os": "linux",
            "kernel": "5.15.0-1089-azure",
            "arch": "x86_64",
            "agent_version": "simulated",
            "pool": self.name,
            "cpus": self.cpus,
            "memory": self.memory,
            "boot_time": boot_time,
        }


# Sizes as of Standard_D4ds_v5, Standard_D16ds_v5 and Standard_D8as_v5.
SYSTEM = Pool(
    name="system",
    scale_set="28417339",
    cpus=4,
    memory=16 * GIB,
    swap=0,
    disks=(Disk("sda", 100 * MB, 500, 1.0, 1.0),),
    filesystems=(
        Filesystem("/", 124 * GIB, (0.22, 0.34), 0.02, 0.05, 0.09),
        Filesystem("/mnt", 147 * GIB, (0.001, 0.004), 0.001, 0.002, 0.001),
    ),
    interfaces=(Interface("eth0", 1.0),),
    bandwidth=1_500 * MB,
    load=Load((0.14, 0.24), 0.72, 0.85, 0.16, 0.0, 0.0, (0.34, 0.46), 0.0, 0.9 * MB, 1.9 * MB, (210, 260)),
)

USER = Pool(
    name="user",
    scale_set="31415926",
    cpus=16,
    memory=64 * GIB,
    swap=0,
    disks=(
        Disk("sda", 170 * MB, 2_300, 0.35, 0.40),
        Disk("sdb", 900 * MB, 75_000, 0.05, 0.10),
        Disk("sdc", 200 * MB, 5_000, 0.60, 0.50),
    ),
    filesystems=(
        Filesystem("/", 248 * GIB, (0.30, 0.45), 0.04, 0.12, 0.14),
        Filesystem("/mnt", 590 * GIB, (0.002, 0.010), 0.006, 0.010, 0.002),
        Filesystem("/data", 512 * GIB, (0.25, 0.55), 0.015, 0.09, 0.02),
    ),
    interfaces=(Interface("eth0", 1.0), Interface("enP41653s1", 0.985)),
    bandwidth=1_500 * MB,
    load=Load((0.34, 0.62), 0.30, 0.42, 0.22, 0.14, 0.12, (0.36, 0.58), 0.03, 3.5 * MB, 2.6 * MB, (380, 560)),
)

SPOT = Pool(
    name="spot",
    scale_set="27182818",
    cpus=8,
    memory=32 * GIB,
    swap=4 * GIB,
    disks=(Disk("nvme0n1", 130 * MB, 3_500, 1.0, 1.0),),
    filesystems=(
        Filesystem("/", 124 * GIB, (0.28, 0.40), 0.06, 0.10, 0.16),
        Filesystem("/mnt", 60 * GIB, (0.02, 0.08), 0.05, 0.02, 0.01),
    ),
    interfaces=(Interface("eth0", 1.0),),
    bandwidth=1_200 * MB,
    load=Load((0.05, 0.09), 0.80, 0.90, 0.20, 0.78, 0.55, (0.16, 0.24), 0.34, 2.2 * MB, 1.2 * MB, (190, 240)),
)

POOLS = (SYSTEM, USER, SPOT)
_PATTERN = (SYSTEM, USER, USER, SPOT, USER, USER, SPOT, USER, SPOT, USER)
"""Pools of ten successive nodes; repeated, so that every fleet of a few nodes has all three kinds."""
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


def pool_of(index: int) -> Pool:
    """The pool that node `index` belongs to, however many nodes there are."""
    return _PATTERN[index % len(_PATTERN)]


def node_name(index: int) -> str:
    """The node's name, made as AKS makes names of scale set instances: aks-POOL-NUMBER-vmss00000a."""
    pool = pool_of(index)
    rounds, position = divmod(index, len(_PATTERN))
    instance = rounds * _PATTERN.count(pool) + _PATTERN[:position].count(pool)
    digits = ""
    for _ in range(6):
        instance, digit = divmod(instance, 36)
        digits = _DIGITS[digit] + digits
    return f"aks-{pool.name}-{pool.scale_set}-vmss{digits}"
