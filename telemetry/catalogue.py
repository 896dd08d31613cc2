"""The one list of metrics: key on the wire, OpenTelemetry name, unit, Log Analytics column, range, meaning.

Anybody may import it; standard library only. Validation ranges, table schemas, data collection rule streams,
Prometheus names and the documentation are all derived from here, so adding a metric is adding one entry.

Names follow OpenTelemetry's semantic conventions for system metrics; where they have none (Linux pressure
stall information, context switches) the name is ours and `convention` is False. On the wire a short key
stands for name + attributes: names are a third of a compressed 30 s envelope.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

MAX_BYTES = 2.0**60
"""Upper bound of a byte count or byte rate: one exbibyte. More is a broken counter, not a machine."""
MAX_COUNT = 1e12
"""Upper bound of a count or event rate."""


class Kind(StrEnum):
    """How a number came about."""

    GAUGE = "gauge"
    """Read as it is."""
    RATE = "rate"
    """Per-second increase of a cumulative counter between two samples; None at the first sample and after a reset."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One number per sample (and per device where it belongs to a `DeviceClass`)."""

    key: str
    name: str
    unit: str
    column: str
    description: str
    attributes: MappingProxyType[str, str] = field(default_factory=lambda: MappingProxyType({}))
    kind: Kind = Kind.GAUGE
    upper: float = MAX_COUNT
    digits: int | None = None
    """Decimals on the wire and in rows. None for whole numbers."""
    keeps_minimum: bool = False
    """Low values are the interesting ones: rows carry the minimum of the window too."""
    total: str | None = None
    """For device metrics: 'sum' or 'max' makes a node-level column out of the devices' values."""
    convention: bool = True
    scored: bool = True
    """Whether detectors look at it; not at what only ever grows."""


@dataclass(frozen=True, slots=True)
class DeviceClass:
    """A family of devices of a node, each carrying the same metrics."""

    key: str
    identity: str
    """Key of the list of device names in the envelope, and the OpenTelemetry attribute it stands for."""
    attribute: str
    column: str
    """Dynamic column of the wide row: one object per device."""
    prefix: str
    """What the metrics' columns begin with; left out inside the dynamic column, whose bytes are paid for."""
    metrics: tuple[Metric, ...]
    optional: bool = False
    """Most nodes have none of it: their rows go without the column, not with an empty one."""

    def field(self, metric: Metric) -> str:
        """Name of a metric inside the dynamic column: DiskRead is Read in Disks."""
        return metric.column.removeprefix(self.prefix)


def _ratio(key: str, name: str, column: str, description: str, /, *, slack: float = 0.0, **rest: object) -> Metric:
    return Metric(key, name, "1", column, description, upper=1.0 + slack, digits=4, **rest)  # type: ignore[arg-type]


def _bytes(key: str, name: str, column: str, description: str, /, **rest: object) -> Metric:
    return Metric(key, name, "By", column, description, upper=MAX_BYTES, **rest)  # type: ignore[arg-type]


def _byte_rate(key: str, name: str, column: str, description: str, /, **rest: object) -> Metric:
    return Metric(key, name, "By/s", column, description, kind=Kind.RATE, upper=MAX_BYTES, **rest)  # type: ignore[arg-type]


def _rate(key: str, name: str, unit: str, column: str, description: str, /, **rest: object) -> Metric:
    return Metric(key, name, unit, column, description, kind=Kind.RATE, digits=1, **rest)  # type: ignore[arg-type]


def _count(key: str, name: str, unit: str, column: str, description: str, /, **rest: object) -> Metric:
    return Metric(key, name, unit, column, description, **rest)  # type: ignore[arg-type]


def _with(name: str, value: str) -> MappingProxyType[str, str]:
    return MappingProxyType({name: value})


_MODE = "cpu.mode"
_MODES = (
    ("cpu.user", "user", "CpuUser", "user space"),
    ("cpu.system", "system", "CpuSystem", "the kernel"),
    ("cpu.nice", "nice", "CpuNice", "low-priority user space"),
    ("cpu.iowait", "iowait", "CpuIowait", "waiting for I/O while idle"),
    ("cpu.irq", "interrupt", "CpuInterrupt", "hard and soft interrupts"),
    ("cpu.steal", "steal", "CpuSteal", "taken by the hypervisor"),
)

NODE_METRICS: tuple[Metric, ...] = (
    _ratio(
        "cpu",
        "system.cpu.busy",
        "CpuUtilization",
        "Share of CPU time not idle and not waiting for I/O",
        convention=False,
    ),
    *(
        _ratio(key, "system.cpu.utilization", column, f"Share of CPU time: {text}", attributes=_with(_MODE, mode))
        for key, mode, column, text in _MODES
    ),
    *(
        Metric(
            f"load.{minutes}m",
            f"system.cpu.load_average.{minutes}m",
            "{thread}",
            f"LoadAverage{minutes}m",
            f"Load average over {minutes} min",
            digits=2,
            upper=1e7,
        )
        for minutes in (1, 5, 15)
    ),
    _rate(
        "cpu.switches",
        "system.cpu.context_switches",
        "{switch}/s",
        "ContextSwitches",
        "Context switches a second",
        convention=False,
    ),
    _count("procs", "system.processes", "{process}", "Processes", "Processes that exist", convention=False),
    _count(
        "procs.running",
        "system.process.count",
        "{process}",
        "ProcessesRunning",
        "Processes running or runnable",
        attributes=_with("process.state", "running"),
    ),
    _count(
        "procs.blocked",
        "system.process.count",
        "{process}",
        "ProcessesBlocked",
        "Processes blocked on I/O",
        attributes=_with("process.state", "blocked"),
        convention=False,
    ),
    _rate(
        "procs.created",
        "system.process.created",
        "{process}/s",
        "ProcessesCreated",
        "Processes created a second",
    ),
    _ratio("mem", "system.memory.utilization", "MemoryUtilization", "1 - available / total memory"),
    _bytes(
        "mem.used",
        "system.memory.usage",
        "MemoryUsed",
        "Memory in use by programs",
        attributes=_with("system.memory.state", "used"),
    ),
    _bytes(
        "mem.free",
        "system.memory.usage",
        "MemoryFree",
        "Memory used for nothing",
        attributes=_with("system.memory.state", "free"),
        keeps_minimum=True,
    ),
    _bytes(
        "mem.cached",
        "system.memory.usage",
        "MemoryCached",
        "Page cache and buffers",
        attributes=_with("system.memory.state", "cached"),
    ),
    _bytes(
        "mem.available",
        "system.linux.memory.available",
        "MemoryAvailable",
        "Memory available to programs without swapping",
        keeps_minimum=True,
    ),
    _ratio("swap", "system.paging.utilization", "SwapUtilization", "Share of swap in use; 0 where there is none"),
    _byte_rate(
        "swap.in",
        "system.paging.operations",
        "SwapIn",
        "Bytes swapped in a second",
        attributes=_with("system.paging.direction", "in"),
    ),
    _byte_rate(
        "swap.out",
        "system.paging.operations",
        "SwapOut",
        "Bytes swapped out a second",
        attributes=_with("system.paging.direction", "out"),
    ),
    *(
        _ratio(
            key,
            f"system.linux.pressure.{resource}",
            column,
            f"Share of time {who} stalled on {resource}",
            slack=0.05,
            kind=Kind.RATE,
            convention=False,
            attributes=_with("pressure.scope", scope),
        )
        for key, resource, scope, column, who in (
            ("psi.cpu", "cpu", "some", "PressureCpuSome", "some tasks were"),
            ("psi.mem", "memory", "some", "PressureMemorySome", "some tasks were"),
            ("psi.mem.full", "memory", "full", "PressureMemoryFull", "all tasks were"),
            ("psi.io", "io", "some", "PressureIoSome", "some tasks were"),
            ("psi.io.full", "io", "full", "PressureIoFull", "all tasks were"),
        )
    ),
    _rate(
        "faults.major",
        "system.paging.faults",
        "{fault}/s",
        "MajorFaults",
        "Page faults that had to wait for a disk, a second",
        attributes=_with("system.paging.fault.type", "major"),
    ),
    Metric(
        "oom",
        "system.memory.oom_kills",
        "{kill}/s",
        "OomKills",
        "Processes killed a second because memory ran out",
        kind=Kind.RATE,
        digits=4,
        convention=False,
    ),
    _count(
        "fds", "system.file_descriptor.count", "{file_descriptor}", "FileDescriptors", "Open files", convention=False
    ),
    _ratio(
        "fds.full",
        "system.file_descriptor.utilization",
        "FileDescriptorUtilization",
        "Share of the node's limit of open files in use",
        convention=False,
    ),
    _count("sockets", "system.network.socket.count", "{socket}", "Sockets", "Sockets in use", convention=False),
    _count(
        "tcp",
        "system.network.connection.count",
        "{connection}",
        "TcpConnections",
        "TCP sockets in use, those of other network namespaces not counted",
        attributes=_with("network.transport", "tcp"),
    ),
    _count(
        "tcp.time_wait",
        "system.network.tcp.time_wait",
        "{connection}",
        "TcpTimeWait",
        "TCP connections that wait for late packets",
        convention=False,
    ),
    Metric("uptime", "system.uptime", "s", "Uptime", "Time since the node booted", scored=False),
    Metric("temperature", "hw.temperature", "Cel", "Temperature", "The hottest sensor", upper=1000.0, digits=1),
)

_DISK = "disk.io.direction"
_NET = "network.io.direction"

DISK = DeviceClass(
    "disk", "device", "system.device", "Disks", "Disk",
    (
        _byte_rate("read", "system.disk.io", "DiskRead", "Bytes read a second", attributes=_with(_DISK, "read"), total="sum"),
        _byte_rate("write", "system.disk.io", "DiskWrite", "Bytes written a second", attributes=_with(_DISK, "write"), total="sum"),
        _rate("reads", "system.disk.operations", "{operation}/s", "DiskReads", "Read operations a second", attributes=_with(_DISK, "read"), total="sum"),
        _rate("writes", "system.disk.operations", "{operation}/s", "DiskWrites", "Write operations a second", attributes=_with(_DISK, "write"), total="sum"),
        Metric("read_time", "system.disk.operation_time", "s/s", "DiskReadTime", "Seconds spent reading a second, over all requests in flight", _with(_DISK, "read"), Kind.RATE, 1e6, 4),
        Metric("write_time", "system.disk.operation_time", "s/s", "DiskWriteTime", "Seconds spent writing a second, over all requests in flight", _with(_DISK, "write"), Kind.RATE, 1e6, 4),
        _ratio("busy", "system.disk.io_time", "DiskBusy", "Share of time with at least one request in flight", slack=0.05, kind=Kind.RATE, total="max"),
    ),
)  # fmt: skip

FILESYSTEM = DeviceClass(
    "filesystem", "mountpoint", "system.filesystem.mountpoint", "Filesystems", "Filesystem",
    (
        _bytes("used", "system.filesystem.usage", "FilesystemUsed", "Bytes in use", attributes=_with("system.filesystem.state", "used"), total="sum"),
        _ratio("full", "system.filesystem.utilization", "FilesystemUtilization", "Share of the space ordinary users can have that is used", total="max"),
        _ratio("inodes", "system.filesystem.inodes.utilization", "FilesystemInodes", "Share of inodes in use", total="max", convention=False),
    ),
)  # fmt: skip

NETWORK = DeviceClass(
    "network", "interface", "network.interface.name", "NetworkInterfaces", "Network",
    (
        _byte_rate("rx", "system.network.io", "NetworkReceive", "Bytes received a second", attributes=_with(_NET, "receive"), total="sum"),
        _byte_rate("tx", "system.network.io", "NetworkTransmit", "Bytes sent a second", attributes=_with(_NET, "transmit"), total="sum"),
        _rate("rx_packets", "system.network.packet.count", "{packet}/s", "NetworkReceivePackets", "Packets received a second", attributes=_with(_NET, "receive"), total="sum"),
        _rate("tx_packets", "system.network.packet.count", "{packet}/s", "NetworkTransmitPackets", "Packets sent a second", attributes=_with(_NET, "transmit"), total="sum"),
        _rate("rx_errors", "system.network.errors", "{error}/s", "NetworkReceiveErrors", "Receive errors a second", attributes=_with(_NET, "receive"), total="sum"),
        _rate("tx_errors", "system.network.errors", "{error}/s", "NetworkTransmitErrors", "Transmit errors a second", attributes=_with(_NET, "transmit"), total="sum"),
        _rate("rx_drops", "system.network.packet.dropped", "{packet}/s", "NetworkReceiveDrops", "Packets dropped on receive a second", attributes=_with(_NET, "receive"), total="sum"),
        _rate("tx_drops", "system.network.packet.dropped", "{packet}/s", "NetworkTransmitDrops", "Packets dropped on transmit a second", attributes=_with(_NET, "transmit"), total="sum"),
    ),
)  # fmt: skip

POD = DeviceClass(
    "pod", "pod", "k8s.pod.name", "Pods", "Pod",
    (
        Metric("cpu", "k8s.pod.cpu.usage", "{cpu}", "PodCpu", "CPUs in use", upper=1e6, digits=4),
        _bytes("mem", "k8s.pod.memory.working_set", "PodMemory", "Memory that cannot be taken away from it"),
        _byte_rate("rx", "k8s.pod.network.io", "PodReceive", "Bytes received a second", attributes=_with(_NET, "receive")),
        _byte_rate("tx", "k8s.pod.network.io", "PodTransmit", "Bytes sent a second", attributes=_with(_NET, "transmit")),
        _ratio("volume", "k8s.pod.volume.utilization", "PodVolume", "Share of its fullest volume in use", convention=False),
        _bytes("storage", "k8s.pod.filesystem.usage", "PodStorage", "Bytes of the node's disk in use: layers, logs, emptyDir"),
        _count("restarts", "k8s.pod.container.restarts", "{restart}", "PodRestarts", "Container starts beyond the first since the agent began to watch", convention=False),
    ),
    optional=True,
)  # fmt: skip

CUSTOM = DeviceClass(
    "custom", "metric", "devops_monitor.metric.name", "Custom", "Custom",
    (
        Metric("value", "devops_monitor.custom", "1", "CustomValue", "Reading of a collector that is not the product's own", upper=MAX_BYTES, digits=4, convention=False),
    ),
    optional=True,
)  # fmt: skip
"""What plug-ins measure: each metric counts as a device, so that rows and receivers need not know it beforehand."""

DEVICE_CLASSES: tuple[DeviceClass, ...] = (DISK, FILESYSTEM, NETWORK, POD, CUSTOM)

NODE_KEYS: tuple[str, ...] = tuple(metric.key for metric in NODE_METRICS)


def round_for_wire(metric: Metric, value: float) -> float:
    """Rounds a reading to what it is worth: ratios and loads to fixed decimals, rates to four significant digits.

    Four digits keep a rate within 0.05 %, far below the jitter of a 10 s counter difference, and save a tenth of
    the envelope. Byte and process gauges are whole numbers and stay exact.
    """
    if metric.kind is Kind.RATE and abs(value) >= 1000:
        whole = round(value)
        return round(whole, 4 - len(str(abs(whole))))
    if metric.digits is None:
        return round(value)
    return round(value, metric.digits)
