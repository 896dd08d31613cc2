"""From causes to the numbers of each device: disks, filesystems, network interfaces.

For the modules of local.fleet only. Results are (nodes, devices, times), by device class and metric key.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from local.fleet.causes import Causes, Group
from local.fleet.node_metrics import whole_pages
from local.fleet.noise import Floats
from local.fleet.pools import Disk, Filesystem, Interface, Pool
from local.fleet.waveforms import saw_tooth

_RESERVED = 0.05
"""Share of a filesystem that only root can have; `full` is counted without it."""


def device_metrics(group: Group, causes: Causes) -> dict[str, dict[str, Floats]]:
    """Every metric of the catalogue.DEVICE_CLASSES that every node has, by class and key, unrounded."""
    pool = group.pool
    return {
        "disk": _stack(pool.disks, lambda disk: _disk(group, causes, disk)),
        "filesystem": _stack(pool.filesystems, lambda filesystem: _filesystem(group, causes, filesystem)),
        "network": _stack(pool.interfaces, lambda interface: _interface(group, causes, interface)),
    }


def device_names(pool: Pool) -> dict[str, list[str]]:
    """Names of a pool's devices by class, in the order of `device_metrics`."""
    return {
        "disk": [disk.device for disk in pool.disks],
        "filesystem": [filesystem.mountpoint for filesystem in pool.filesystems],
        "network": [interface.name for interface in pool.interfaces],
    }


def _stack[Device](devices: tuple[Device, ...], metrics: Callable[[Device], dict[str, Floats]]) -> dict[str, Floats]:
    each = [metrics(device) for device in devices]
    return {key: np.stack([one[key] for one in each], axis=1) for key in each[0]}


def _disk(group: Group, causes: Causes, disk: Disk) -> dict[str, Floats]:
    """Throughput up to the disk's limits, operations that fit it, waiting that grows with utilization."""
    noise, stall = group.noise, causes.stall
    alive = 1.0 - 0.93 * stall
    moment = 0.18 * noise.gaussian(f"disk/{disk.device}", group.time_ms)
    read = _limited(causes.read * disk.read_share * np.exp(moment), 0.55 * disk.bytes_per_second) * alive
    written = causes.write * disk.write_share + (causes.root_write if disk is group.pool.disks[0] else 0.0)
    write = _limited(written * np.exp(-moment), 0.55 * disk.bytes_per_second) * alive
    reads = read / (20_000.0 + 90_000.0 * np.sqrt(read / disk.bytes_per_second))
    writes = write / (11_000.0 + 60_000.0 * np.sqrt(write / disk.bytes_per_second))
    asked = (read + write) / disk.bytes_per_second + (reads + writes) / disk.operations_per_second
    busy = np.maximum(1.0 - np.exp(-1.3 * asked), 0.985 * stall)
    waiting = 1.0 / (1.0 - np.minimum(busy, 0.95))
    queue = 14.0 * stall * np.exp(0.1 * causes.walks["write"])
    return {
        "read": read,
        "write": write,
        "reads": reads,
        "writes": writes,
        "read_time": reads * 0.0007 * waiting + 0.3 * queue * disk.read_share,
        "write_time": writes * 0.0012 * waiting + 0.7 * queue * disk.write_share,
        "busy": busy,
    }


def _filesystem(group: Group, causes: Causes, filesystem: Filesystem) -> dict[str, Floats]:
    """Base + logs until they are rotated + images or segments until they are collected + temporary files."""
    noise, stream = group.noise, f"filesystem/{filesystem.mountpoint}"
    logs = saw_tooth(noise, f"{stream}/rotation", group.seconds, 50_000.0, 120_000.0)
    unused = saw_tooth(noise, f"{stream}/collection", group.seconds, 400_000.0, 1_100_000.0)
    own = (
        noise.constant(f"{stream}/base", *filesystem.base_share)
        * (1.0 + 0.004 * causes.walks["files"])
        + filesystem.rotation_share * logs
        + filesystem.collection_share * unused
    )  # fmt: skip
    inodes = filesystem.inode_share * (0.7 + 0.3 * unused) * (1.0 + 0.01 * causes.walks["files"])
    if filesystem.mountpoint == "/":
        own = own + causes.images
        inodes = inodes + 0.25 * causes.images
        own = own + causes.filling
    full = np.clip(own, 0.0, 1.0)
    used = whole_pages(full * (1.0 - _RESERVED) * filesystem.size)
    return {"used": used, "full": full, "inodes": np.clip(inodes, 0.0, 1.0)}


def _interface(group: Group, causes: Causes, interface: Interface) -> dict[str, Floats]:
    """Bytes, the packets they make, and the losses: nearly always none."""
    noise, stream = group.noise, f"network/{interface.name}"
    goodput = interface.share * (1.0 - 0.6 * np.minimum(2.0 * causes.loss, 1.0))
    received = _limited(causes.traffic, group.pool.bandwidth) * goodput
    sent = _limited(causes.sent, group.pool.bandwidth) * goodput
    size = noise.constant("packet", 420.0, 900.0) * np.exp(0.10 * causes.walks["direction"])
    rx_packets, tx_packets = received / size + 2.0, sent / size / 0.92 + 2.0
    chance = noise.uniform(f"{stream}/stray", group.time_ms)
    stray = np.where(chance < 0.004, 0.1 + 40.0 * chance * 25.0, 0.0)
    lost = causes.loss * np.exp(0.12 * noise.gaussian(f"{stream}/loss", group.time_ms))
    return {
        "rx": received,
        "tx": sent,
        "rx_packets": rx_packets,
        "tx_packets": tx_packets,
        "rx_errors": 0.15 * lost * rx_packets,
        "tx_errors": np.zeros_like(received),
        "rx_drops": stray + lost * rx_packets,
        "tx_drops": 0.5 * lost * tx_packets,
    }


def _limited(rate: Floats, limit: float) -> Floats:
    """Equal to the rate while that is small, never quite the limit."""
    return limit * np.tanh(rate / limit)
