"""Levels of simulated nodes of which some leak: highest and lowest per 15 minutes, and when each leak ends.

Leaks are lengthened: by default most are over within 4 h, so that nobody could tell of them 4 h ahead.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from functions.core.forecast.level_history import BIN_S
from local.fleet.faults import FAULTS, Fault
from local.fleet.model import FleetModel
from local.fleet.pools import pool_of
from telemetry.layout import Floats

START_MS = 1_767_225_600_000
HOUR, DAY = 3600.0, 86_400.0
SHORTEST = 5 * HOUR
"""To exhaustion: a point to see it by, and 4 h."""
MEMORY_LIMIT = 0.95
LEAKS = ("memory_leak", "fd_leak", "disk_filling_slowly", "disk_filling_fast")
_RESOURCES = {"memory_leak": "memory", "fd_leak": "open files"}
_MINUTES = BIN_S // 60
_CHUNK = 20


class Leak(NamedTuple):
    """A leak, in points from the start."""

    kind: str
    series: int
    begin: int
    end: int
    """Exhausted, or the fault's end if that came first."""
    over: int
    """The fault's end."""


class Levels(NamedTuple):
    """Series, (points, series), and what leaks in them."""

    low: Floats
    high: Floats
    limit: Floats
    kind: tuple[str, ...]
    node: tuple[int, ...]
    leaks: list[Leak]


def simulated(nodes: int, days: int, seed: int) -> Levels:
    """All levels of a fleet in which six nodes of ten have one leak each."""
    faults = _faults(nodes, days, seed)
    found: dict[tuple[int, str], tuple[Floats, Floats]] = {}
    for members in _chunks(nodes):
        theirs = [fault for fault in faults if not set(members).isdisjoint(fault.nodes)]
        model = FleetModel(nodes, seed=seed, start_ms=START_MS, faults=theirs)
        for day in range(days):
            time = START_MS + (day * 1440 + np.arange(1440)) * 60_000
            readings = model.readings(members, np.broadcast_to(time, (len(members), 1440)))
            files = readings.devices["filesystem"]
            levels = {"memory": readings.metrics["mem"], "open files": readings.metrics["fds.full"]}
            for place, filesystem in enumerate(pool_of(members[0]).filesystems):
                levels[f"filesystem {filesystem.mountpoint}"] = files["full"][:, place]
                levels[f"inodes {filesystem.mountpoint}"] = files["inodes"][:, place]
            for name, values in levels.items():
                points = values.reshape(len(members), -1, _MINUTES)
                for row, node in enumerate(members):
                    low, high = found.setdefault((node, name), _empty(days))
                    part = slice(day * points.shape[1], (day + 1) * points.shape[1])
                    low[part], high[part] = points[row].min(axis=1), points[row].max(axis=1)
    keys = sorted(found)
    high = np.array([found[key][1] for key in keys]).T
    return Levels(
        np.array([found[key][0] for key in keys]).T,
        high,
        np.array([MEMORY_LIMIT if name == "memory" else 1.0 for _, name in keys]),
        tuple(name for _, name in keys),
        tuple(node for node, _ in keys),
        [_leak(fault, keys, high) for fault in faults if fault.name in LEAKS],
    )


def _empty(days: int) -> tuple[Floats, Floats]:
    count = days * int(DAY) // BIN_S
    return np.empty(count), np.empty(count)


def _chunks(nodes: int) -> Iterator[list[int]]:
    pools: dict[str, list[int]] = {}
    for node in range(nodes):
        pools.setdefault(pool_of(node).name, []).append(node)
    for members in pools.values():
        for first in range(0, len(members), _CHUNK):
            yield members[first : first + _CHUNK]


def _faults(nodes: int, days: int, seed: int) -> list[Fault]:
    random = np.random.default_rng(seed)
    faults: list[Fault] = []
    for node in random.permutation(nodes)[: round(nodes * 0.6)]:
        kind = LEAKS[random.integers(len(LEAKS))]
        shortest, longest = {
            "disk_filling_slowly": (36 * HOUR, 6 * DAY),
            "disk_filling_fast": (SHORTEST, 36 * HOUR),
        }.get(kind, (SHORTEST, 5 * DAY))
        lasts = float(np.exp(random.uniform(np.log(shortest), np.log(longest))))
        share, unit = {
            "memory_leak": (0.42, HOUR),
            "fd_leak": (0.98, HOUR),
            "disk_filling_slowly": (0.55, DAY),
            "disk_filling_fast": (0.55, 60.0),
        }[kind]
        after = float(random.uniform(3 * DAY, days * DAY - 1.2 * lasts - 0.5 * DAY))
        faults.append(FAULTS[kind]((int(node),), after, 1.2 * lasts, share * unit / lasts))
    everybody = tuple(range(nodes))
    for day in range(1, days, 3):
        wave = FAULTS["deployment_wave"]
        begin = (day + float(random.uniform(0.3, 0.7))) * DAY
        faults.append(wave(everybody, begin, wave.default_duration, wave.default_magnitude))
    backup = FAULTS["nightly_backup"]
    faults.append(backup(everybody, 3 * HOUR, backup.default_duration, backup.default_magnitude))
    return faults


def _leak(fault: Fault, keys: list[tuple[int, str]], high: Floats) -> Leak:
    """Ends where the level is at the limit, or falls because the out-of-memory killer was there."""
    resource = _RESOURCES.get(fault.name, "filesystem /")
    series = keys.index((fault.nodes[0], resource))
    begin = int(np.ceil(fault.after / BIN_S))
    over = min(int((fault.after + fault.duration) / BIN_S), len(high))
    during = high[begin:over, series]
    full = np.flatnonzero(during >= (MEMORY_LIMIT if resource == "memory" else 0.999))
    end = begin + int(full[0]) if full.size else over
    if resource == "memory":
        killed = np.flatnonzero(np.diff(high[begin:over, series]) < -0.5 * (during.max() - during[0]) - 0.1)
        end = min(end, begin + int(killed[0])) if killed.size else end
    return Leak(fault.name, series, begin, end, over)
