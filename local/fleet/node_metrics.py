"""From causes to the numbers of a node as a whole: CPU, load, processes, memory, paging, pressure, files, sockets.

For the modules of local.fleet only. Arrays are (nodes, times).
"""

from __future__ import annotations

import numpy as np

from local.fleet.causes import Causes, Group
from local.fleet.noise import Floats
from local.fleet.pools import FILE_MAX, Pool
from local.fleet.waveforms import bursts


def disk_busy(group: Group, causes: Causes) -> Floats:
    """How busy the node's disks are taken together, 0 to 1: what I/O wait, blocked processes and pressure follow."""
    disks = group.pool.disks
    limit = sum(disk.bytes_per_second * max(disk.read_share, disk.write_share) for disk in disks)
    asked = (causes.read + causes.write) / limit + causes.root_write / disks[0].bytes_per_second
    return np.maximum(1.0 - np.exp(-1.8 * asked), causes.stall)


def node_metrics(group: Group, causes: Causes) -> dict[str, Floats]:
    """Metrics of catalogue.NODE_METRICS by key, unrounded; without uptime and, on virtual machines, temperature."""
    busy = disk_busy(group, causes)
    blocked = _blocked(group, causes, busy)
    processes = _processes(group, causes, blocked)
    return {
        **_cpu(group, causes, busy),
        **processes,
        **_memory(group, causes),
        **_pressure(causes, busy, blocked, group.pool),
        **_files_and_sockets(group, causes, processes["procs"]),
    }


def _cpu(group: Group, causes: Causes, busy: Floats) -> dict[str, Floats]:
    demand, modes = causes.demand[0], causes.walks["modes"]
    steal = np.minimum(causes.steal, 0.9)
    work = _saturated(demand) * (1.0 - steal)
    system = work * np.clip(0.17 + 0.025 * modes + 0.10 * busy, 0.05, 0.45)
    interrupts = work * 0.014 * np.exp(0.3 * causes.walks["traffic"])
    nice = work * 0.006 * np.exp(modes)
    waits = (0.10 * busy**1.3 + 0.55 * causes.stall) * np.exp(0.15 * causes.walks["write"])
    return {
        "cpu": np.minimum(work + steal, 1.0),
        "cpu.user": work - system - interrupts - nice,
        "cpu.system": system,
        "cpu.nice": nice,
        "cpu.iowait": np.clip(waits, 0.0, 0.96) * (1.0 - work - steal),
        "cpu.irq": interrupts,
        "cpu.steal": steal,
    }


def _saturated(demand: Floats) -> Floats:
    """Utilization that a demand makes: equal to it while it is small, never quite 1."""
    return demand / (1.0 + demand**8) ** 0.125 * 0.998


def _blocked(group: Group, causes: Causes, busy: Floats) -> Floats:
    expected = 2.0 * busy**1.6 + 9.0 * causes.stall
    return np.maximum(expected + np.sqrt(expected) * group.noise.gaussian("blocked", group.time_ms), 0.0)


def _processes(group: Group, causes: Causes, blocked: Floats) -> dict[str, Floats]:
    noise, cpus, activity = group.noise, group.pool.cpus, causes.activity
    stolen = 1.0 - np.minimum(causes.steal, 0.9)
    averages = cpus * causes.demand[1:] / stolen * 1.06 + 0.1 + 9.0 * causes.waiting[1:]
    running = cpus * causes.demand[0] / stolen
    running = running + 0.6 * np.sqrt(running) * noise.gaussian("running", group.time_ms)
    base = noise.constant("processes", *group.pool.load.processes)
    created = (3.0 + 1.6 * cpus * activity) * np.exp(0.35 * causes.walks["processes"]) + causes.forks
    return {
        "load.1m": averages[0],
        "load.5m": averages[1],
        "load.15m": averages[2],
        "cpu.switches": cpus
        * (700.0 + 5_200.0 * _saturated(causes.demand[0]))
        * np.exp(0.10 * causes.walks["modes"] + 0.03 * noise.gaussian("switches", group.time_ms)),
        "procs": base * (1.0 + 0.03 * causes.walks["processes"]) + 25.0 * activity + 0.8 * causes.forks,
        "procs.running": np.maximum(running, 1.0),
        "procs.blocked": blocked,
        "procs.created": created * np.exp(0.12 * noise.gaussian("created", group.time_ms)),
    }


def _memory(group: Group, causes: Causes) -> dict[str, Floats]:
    pool, noise = group.pool, group.noise
    used = np.clip(causes.memory, 0.02, 0.985)
    age = group.seconds / noise.constant("cache/period", 70_000.0, 190_000.0) + noise.constant("cache/phase")
    fill = 0.42 + 0.40 * np.sqrt(age % 1.0) + 0.05 * causes.walks["cache"]
    cached = (1.0 - used) * np.clip(fill, 0.1, 0.92)
    free = 1.0 - used - cached
    available = np.maximum(free + 0.90 * cached - 0.004, 0.0)
    tight = np.maximum(1.0 - available - 0.86, 0.0)
    used_bytes, cached_bytes, available_bytes = (
        whole_pages(share * pool.memory) for share in (used, cached, available)
    )
    metrics = {
        "mem": 1.0 - available,
        "mem.used": used_bytes,
        "mem.free": pool.memory - used_bytes - cached_bytes,
        "mem.cached": cached_bytes,
        "mem.available": available_bytes,
        "faults.major": _major_faults(group, causes, tight),
        "oom": causes.kills,
    }
    return metrics | _swap(group, causes, tight)


def _major_faults(group: Group, causes: Causes, tight: Floats) -> Floats:
    """Hardly any while memory suffices; programs that start read theirs, and all do when their pages are evicted."""
    cold = 0.5 * bursts(group.noise, "cold-pages", group.seconds, 300.0, 0.08)
    return cold + 0.2 * causes.forks + 9_000.0 * tight**1.2 * np.exp(0.3 * causes.walks["cache"])


def _files_and_sockets(group: Group, causes: Causes, processes: Floats) -> dict[str, Floats]:
    """Each process has files and local sockets open; connections follow the node's own work, closed ones linger.

    Pods have networks of their own: their connections count as open files only.
    """
    noise, work = group.noise, group.pool.cpus * causes.activity
    served = 9.0 * work * np.exp(0.2 * causes.walks["traffic"])
    connections = noise.constant("tcp", 20.0, 60.0) + served
    files = noise.constant("files", 14.0, 26.0) * processes * (1.0 + 0.003 * causes.walks["files"])
    files = np.minimum(files + 8.0 * served + causes.leaked_files, FILE_MAX)
    return {
        "fds": files,
        "fds.full": files / FILE_MAX,
        "sockets": noise.constant("sockets", 0.9, 1.6) * processes + connections,
        "tcp": connections,
        "tcp.time_wait": 5.0 * work * np.exp(0.3 * causes.walks["direction"]),
    }


def whole_pages(size: Floats) -> Floats:
    """Sizes as the kernel counts them."""
    return np.rint(size / 4096.0) * 4096.0


def _swap(group: Group, causes: Causes, tight: Floats) -> dict[str, Floats]:
    """Nothing without swap; with it, cold pages lie there, and it fills and churns when memory is tight."""
    if not group.pool.swap:
        nothing = np.zeros_like(tight)
        return {"swap": nothing, "swap.in": nothing, "swap.out": nothing}
    share = group.noise.constant("swap", 0.01, 0.05) * (1.0 + 0.15 * causes.walks["cache"]) + 7.0 * tight
    jump = group.noise.uniform("swapping", group.time_ms)
    churn = tight * 400e6 * jump
    return {
        "swap": np.clip(share, 0.0, 1.0),
        "swap.in": np.where(jump > 0.97, 4096.0 * 30, 0.0) + 0.7 * churn,
        "swap.out": np.where(jump < 0.02, 4096.0 * 50, 0.0) + churn,
    }


def _pressure(causes: Causes, busy: Floats, blocked: Floats, pool: Pool) -> dict[str, Floats]:
    queued = np.maximum(causes.demand[0] - 0.55, 0.0)
    cpu = 0.03 * causes.demand[0] + 1.1 * queued**1.6 + 1.4 * causes.steal
    tight = np.maximum(causes.memory - 0.90, 0.0)
    io = 0.16 * busy**1.4 + 0.02 * blocked / pool.cpus + 0.7 * causes.stall
    return {
        "psi.cpu": 1.0 - np.exp(-cpu),
        "psi.mem": np.clip(6.0 * tight, 0.0, 0.98),
        "psi.mem.full": np.clip(3.6 * tight, 0.0, 0.95),
        "psi.io": np.clip(io, 0.0, 0.99),
        "psi.io.full": np.clip(io * (0.45 + 0.4 * causes.stall), 0.0, 0.97),
    }
