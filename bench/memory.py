"""Resident memory of running processes, second by second, and whether it grows. For the soak."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from itertools import combinations

import psutil

_MIB = 1024 * 1024
_POINTS = 60
"""A series is cut into so many pieces before slopes are taken, the median of each standing for it."""


class MemoryLog:
    """What each named process, with its children, had in memory at which second."""

    def __init__(self) -> None:
        self.series: dict[str, list[tuple[float, float]]] = {}
        """Name -> (seconds, MiB)."""

    def sample(self, seconds: float, pids: Mapping[str, int | None]) -> None:
        """Notes the memory of all processes that are there."""
        for name, pid in pids.items():
            resident = 0.0 if pid is None else resident_mib(pid)
            if resident:
                self.series.setdefault(name, []).append((seconds, resident))

    def growth(self) -> dict[str, float]:
        """Name -> MiB per minute over the second half of its series: the first is for caches to fill."""
        return {name: 60.0 * slope(series[len(series) // 2 :]) for name, series in self.series.items()}

    def latest(self) -> dict[str, float]:
        """Name -> MiB at the last look."""
        return {name: series[-1][1] for name, series in self.series.items()}


def resident_mib(pid: int) -> float:
    """Resident memory of a process and its descendants; 0 when it is gone or about to be."""
    try:
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
        return sum(one.memory_info().rss for one in family) / _MIB
    except psutil.NoSuchProcess:
        return 0.0


def slope(series: list[tuple[float, float]]) -> float:
    """Theil-Sen: the median of the slopes between all pairs of points, which single jumps do not move."""
    points = _thinned(series)
    slopes = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in combinations(points, 2) if b[0] > a[0]]
    return statistics.median(slopes) if slopes else 0.0


def _thinned(series: list[tuple[float, float]]) -> list[tuple[float, float]]:
    size = max(1, len(series) // _POINTS)
    pieces = [series[first : first + size] for first in range(0, len(series), size)]
    return [(statistics.median(t for t, _ in piece), statistics.median(v for _, v in piece)) for piece in pieces]
