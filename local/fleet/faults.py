"""What can go wrong with a node on demand, and what looks like it but is nothing wrong: one small class each.

A fault changes causes (local.fleet.causes), and whatever follows from those follows. `affects` lists every metric
that can move: keys of catalogue.NODE_METRICS, and CLASS.KEY for devices. `labels` are the ground truth for an
evaluation of detectors. To add one: write a class, add it to FAULTS.

For the modules of local.fleet, benchmarks and tests.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from local.fleet.causes import RAMPS, Causes, Group
from local.fleet.noise import Floats
from local.fleet.pools import FILE_MAX, MB, node_name
from local.fleet.waveforms import DAY, HOUR, pulse

_MODES = frozenset({"cpu.system", "cpu.user"})
_LOAD = frozenset({"load.1m", "load.5m", "load.15m"})
_CPU = _MODES | _LOAD | {"cpu", "cpu.nice", "cpu.irq", "cpu.iowait", "cpu.switches", "procs.running", "psi.cpu"}
_MEMORY = frozenset(
    {"mem", "mem.used", "mem.free", "mem.cached", "mem.available"}
    | {"swap", "swap.in", "swap.out", "psi.mem", "psi.mem.full", "faults.major"}
)
_WAITING = frozenset({"cpu.iowait", "procs.blocked", "psi.io", "psi.io.full"})
_WRITES = frozenset({"disk.write", "disk.writes", "disk.read_time", "disk.write_time", "disk.busy"})
_DISK = _WRITES | {"disk.read", "disk.reads"}
_FILES = frozenset({"filesystem.used", "filesystem.full"})
_OPEN_FILES = frozenset({"fds", "fds.full"})
_BYTES = frozenset({"network.rx", "network.tx", "network.rx_packets", "network.tx_packets"})


@dataclass(frozen=True, slots=True)
class Label:
    """Ground truth: from when to when something was going on on a node, and whether it was a fault at all."""

    node: str
    fault: str
    is_fault: bool
    start_ms: int
    end_ms: int


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that happens to some nodes for some time; does nothing by itself, see the classes below."""

    nodes: tuple[int, ...]
    """Indices, ascending."""
    after: float
    """Seconds from the simulation's start to the fault's."""
    duration: float
    magnitude: float

    name: ClassVar[str]
    is_fault: ClassVar[bool] = True
    affects: ClassVar[frozenset[str]] = frozenset()
    default_duration: ClassVar[float]
    default_magnitude: ClassVar[float] = 1.0
    magnitude_range: ClassVar[tuple[float, float]] = (0.0, 1.0)
    magnitude_meaning: ClassVar[str] = "not used"

    def disturb(self, causes: Causes, group: Group) -> None:
        """Changes the causes of the nodes it hits, in place, at the moments it lasts."""

    def windows(self, node: int, until: float) -> Iterator[tuple[float, float]]:
        """When it hits one of its nodes, in seconds from the simulation's start, as far as that is before `until`."""
        if self.after < until:
            yield self.after, self.after + self.duration

    def labels(self, start_ms: int, until: float) -> Iterator[Label]:
        """One label per node and window that begins within `until` seconds from the start."""
        for node in self.nodes:
            for first, last in self.windows(node, until):
                begin, end = start_ms + round(first * 1000), start_ms + round(last * 1000)
                yield Label(node_name(node), self.name, self.is_fault, begin, end)

    def is_active(self, elapsed: float) -> bool:
        """Whether it is going on at this moment, in seconds from the simulation's start."""
        return any(first <= elapsed < last for first, last in self.windows(self.nodes[0], elapsed + 1e-3))

    def _hit(self, group: Group) -> Floats:
        """1 for each node of the group it is for, 0 for the others, shape (nodes, 1)."""
        return np.isin(group.nodes, self.nodes).astype(np.float64)[:, None]

    def _strength(self, group: Group, ramp: Floats | float = 5.0) -> Floats:
        """0 to 1: how much of it the nodes of the group feel; `ramp` as in waveforms.pulse."""
        return self._hit(group) * pulse(group.elapsed, self.after, self.after + self.duration, ramp)

    def _running_for(self, group: Group) -> Floats:
        """Seconds since it began; 0 on nodes it is not for, before it and after it."""
        elapsed = group.elapsed - self.after
        return self._hit(group) * np.where((elapsed > 0.0) & (elapsed < self.duration), elapsed, 0.0)


class CpuRunaway(Fault):
    """A process spins: demand for CPU jumps, nothing is done with it."""

    name = "cpu_runaway"
    affects = _CPU
    default_duration = 900.0
    default_magnitude = 0.8
    magnitude_range = (0.01, 20.0)
    magnitude_meaning = "extra demand in shares of all CPUs"

    def disturb(self, causes: Causes, group: Group) -> None:  # noqa: D102
        causes.demand += self.magnitude * self._strength(group, RAMPS)


class MemoryLeak(Fault):
    """A program never frees: memory in use grows until the out-of-memory killer ends it, and begins again."""

    name = "memory_leak"
    affects = _MEMORY | {"oom"}
    default_duration = 4 * HOUR
    default_magnitude = 0.2
    magnitude_range = (0.001, 100.0)
    magnitude_meaning = "share of the node's memory per hour"

    def disturb(self, causes: Causes, group: Group) -> None:  # noqa: D102
        load = group.pool.load
        killed_at = 0.94 - group.noise.constant("memory", *load.memory) - 0.5 * load.job_memory
        causes.memory += (self.magnitude * self._running_for(group) / HOUR) % killed_at
        lasts = HOUR * killed_at / self.magnitude
        now, before = (
            np.clip(group.elapsed - self.after - ago, 0.0, self.duration) // lasts for ago in (0.0, group.interval)
        )
        causes.kills += self._hit(group) * (now - before) / group.interval


class FdLeak(Fault):
    """A program never closes: open files of the node climb to its limit, and stay there until it is ended."""

    name = "fd_leak"
    affects = _OPEN_FILES
    default_duration = 4 * HOUR
    default_magnitude = 0.25
    magnitude_range = (0.001, 100.0)
    magnitude_meaning = "share of the node's limit of open files per hour"

    def disturb(self, causes: Causes, group: Group) -> None:  # noqa: D102
        causes.leaked_files += self.magnitude * FILE_MAX * self._running_for(group) / HOUR


class DiskFillingFast(Fault):
    """Something writes without end: the root filesystem is full within the hour; cleaned up when it ends."""

    name = "disk_filling_fast"
    affects = _FILES | _WRITES | _WAITING | _MODES
    default_duration = HOUR
    default_magnitude = 0.015
    magnitude_range = (0.0001, 1.0)
    magnitude_meaning = "share of the root filesystem per minute"
    seconds_per_magnitude: ClassVar[float] = 60.0

    def disturb(self, causes: Causes, group: Group) -> None:  # noqa: D102
        root = group.pool.filesystems[0]
        speed = self.magnitude / self.seconds_per_magnitude
        filled = speed * self._running_for(group)
        causes.filling += filled
        causes.root_write += np.where((filled > 0.0) & (filled < 1.0 - root.base_share[1]), speed * root.size, 0.0)


class DiskFillingSlowly(DiskFillingFast):
    """A log that nobody rotates: the root filesystem fills over days."""

    name = "disk_filling_slowly"
    default_duration = 5 * DAY
    default_magnitude = 0.1
    magnitude_meaning = "share of the root filesystem per day"
    seconds_per_magnitude = DAY


class PacketLoss(Fault):
    """A bad link: packets are dropped, some arrive broken, and throughput falls because of it."""

    name = "packet_loss"
    affects = _BYTES | {"network.rx_errors", "network.rx_drops", "network.tx_drops"}
    default_duration = 900.0
    default_magnitude = 0.05
    magnitude_range = (0.0001, 0.9)
    magnitude_meaning = "share of packets lost"

    def disturb(self, causes: Causes, group: Group) -> None:  # noqa: D102
        causes.loss = np.minimum(causes.loss + self.magnitude * self._strength(group), 0.9)


class IoStall(Fault):
    """Disks hardly answer: requests pile up, tasks block, load rises while the CPUs are idle."""

    name = "io_stall"
    affects = _DISK | _WAITING | _MODES | _LOAD
    default_duration = 300.0
    default_magnitude = 0.9
    magnitude_range = (0.01, 1.0)
    magnitude_meaning = "how far disks stop answering, 1 is completely"

    def disturb(self, causes: Causes, group: Group) -> None:  # noqa: D102
        causes.stall = np.minimum(causes.stall + self.magnitude * self._strength(group), 1.0)
        causes.waiting += self.magnitude * self._strength(group, RAMPS)


class NoisyNeighbour(Fault):
    """Another tenant of the host takes CPU time: steal rises, the node's own work gets less of it and queues."""

    name = "noisy_neighbour"
    affects = _CPU | {"cpu.steal"}
    default_duration = 1200.0
    default_magnitude = 0.3
    magnitude_range = (0.01, 0.8)
    magnitude_meaning = "share of CPU time taken by others"

    def disturb(self, causes: Causes, group: Group) -> None:  # noqa: D102
        wavering = 0.85 + 0.15 * np.tanh(causes.walks["modes"])
        causes.steal += self.magnitude * wavering * self._strength(group)


class ClockStep(Fault):
    """The node's clock is wrong: samples are stamped too late (or too early: a negative magnitude), then right again.

    A whole envelope has one clock: the step falls between two of them.
    """

    name = "clock_step"
    default_duration = 600.0
    default_magnitude = 90.0
    magnitude_range = (-DAY, DAY)
    magnitude_meaning = "seconds that the clock is ahead"


class NodeGone(Fault):
    """The node is off: nothing is sent, what was not yet sent is lost, and it comes back as a new agent instance."""

    name = "node_gone"
    default_duration = 600.0


class DeploymentWave(Fault):
    """No fault: pods are replaced node by node: image pulls, start-up work, memory released and taken again."""

    name = "deployment_wave"
    is_fault = False
    affects = (
        _CPU | _MEMORY | _DISK | _FILES | _WAITING | _BYTES | _OPEN_FILES
        | {"filesystem.inodes", "procs", "procs.created", "sockets"}
    )  # fmt: skip
    default_duration = 900.0
    magnitude_range = (0.1, 5.0)
    magnitude_meaning = "share of the node's pods that are replaced, relative to an ordinary release"
    rollout: ClassVar[float] = 150.0
    """Seconds that one node takes."""

    def windows(self, node: int, until: float) -> Iterator[tuple[float, float]]:  # noqa: D102
        begin = self.after + float(self._offsets([node])[0])
        if begin < until:
            yield begin, begin + self.rollout

    def is_active(self, elapsed: float) -> bool:  # noqa: D102
        return self.after <= elapsed < self.after + max(self.duration, self.rollout)

    def disturb(self, causes: Causes, group: Group) -> None:  # noqa: D102
        hit = self._hit(group) * self.magnitude
        running = group.elapsed - self.after - self._offsets(group.nodes)[:, None]
        pulling = hit * pulse(running, 0.0, 45.0, 5.0)
        causes.traffic += 55.0 * MB * pulling
        causes.root_write += 70.0 * MB * pulling
        causes.demand += 0.30 * hit * pulse(running, 20.0, self.rollout, RAMPS)
        causes.forks += 45.0 * hit * pulse(running, 30.0, self.rollout, 10.0)
        restarted = np.where(running > 40.0, np.exp(-np.maximum(running - 40.0, 0.0) / 200.0), 0.0)
        causes.memory -= 0.3 * np.minimum(hit, 1.0) * restarted * causes.memory
        causes.images += 0.006 * hit * np.clip(running / 45.0, 0.0, 1.0)

    def _offsets(self, nodes: Sequence[int]) -> Floats:
        """Seconds from the wave's begin to each node's turn."""
        turns: Floats = np.searchsorted(self.nodes, nodes).astype(np.float64)
        return turns * max(self.duration - self.rollout, 0.0) / max(len(self.nodes) - 1, 1)


class NightlyBackup(Fault):
    """No fault: every 24 h disks are read at full speed and sent away for a while."""

    name = "nightly_backup"
    is_fault = False
    affects = _CPU | _DISK | _WAITING | _BYTES
    default_duration = 1800.0
    magnitude_range = (0.1, 5.0)
    magnitude_meaning = "relative to reading 70 MB/s"

    def windows(self, node: int, until: float) -> Iterator[tuple[float, float]]:  # noqa: D102
        begin = self.after
        while begin < until:
            yield begin, begin + self.duration
            begin += DAY

    def disturb(self, causes: Causes, group: Group) -> None:  # noqa: D102
        hit = self._hit(group) * self.magnitude * (group.elapsed >= self.after)
        since = (group.elapsed - self.after) % DAY
        rate = np.exp(0.12 * causes.walks["read"]) * hit * pulse(since, 0.0, self.duration, 20.0)
        causes.read += 70.0 * MB * rate
        causes.sent += 52.0 * MB * rate
        causes.demand += 0.05 * hit * pulse(since, 0.0, self.duration, RAMPS)


FAULTS: Mapping[str, type[Fault]] = {
    fault.name: fault
    for fault in (
        CpuRunaway,
        MemoryLeak,
        FdLeak,
        DiskFillingFast,
        DiskFillingSlowly,
        PacketLoss,
        IoStall,
        NoisyNeighbour,
        ClockStep,
        NodeGone,
        DeploymentWave,
        NightlyBackup,
    )
}
"""Every fault and event by the name that the command line knows it by."""
