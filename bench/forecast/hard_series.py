"""Levels made to mislead: what fills and is emptied, climbs and stops, comes back; half of the series leak besides."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from bench.forecast.leaks import Leak, Levels
from functions.core.forecast.level_history import BIN_S
from telemetry.layout import Floats

_DAY = 1440
_MINUTES = BIN_S // 60
Random = np.random.Generator


def hard(each: int, days: int, seed: int) -> Levels:
    """`each` series of every kind, a series being a node of its own."""
    random = np.random.default_rng(seed)
    minutes = days * _DAY
    lows: list[Floats] = []
    highs: list[Floats] = []
    kinds: list[str] = []
    leaks: list[Leak] = []
    for name, make in KINDS.items():
        for number in range(each):
            level = make(random, minutes) + 0.002 * random.standard_normal(minutes)
            if number % 2:
                level, leak = _leaking(random, level, name, len(kinds))
                leaks.append(leak)
            points = np.clip(level, 0.0, 1.0).reshape(-1, _MINUTES)
            lows.append(points.min(axis=1))
            highs.append(points.max(axis=1))
            kinds.append(name)
    count = len(kinds)
    return Levels(np.array(lows).T, np.array(highs).T, np.ones(count), tuple(kinds), tuple(range(count)), leaks)


def _leaking(random: Random, level: Floats, name: str, series: int) -> tuple[Floats, Leak]:
    hours = float(np.exp(random.uniform(np.log(5.0), np.log(100.0))))
    begin = int(random.uniform(5 * _DAY, len(level) - hours * 66 - 0.3 * _DAY))
    gone = np.arange(len(level) - begin) / (hours * 60)
    shape = random.choice(["linear", "linear", "accelerating", "hourly steps"])
    if shape == "accelerating":
        gone = gone**1.5
    elif shape == "hourly steps":
        gone = np.floor(gone * hours) / hours
    leaking = level.copy()
    leaking[begin:] += (1 - np.median(level[begin - _DAY : begin])) * gone
    full = np.flatnonzero(leaking[begin:] >= 1.0)
    end = begin + int(full[0]) if full.size else len(level) - 1
    leaking[end + 60 :] = level[end + 60 :]
    points = (-(-begin // _MINUTES), end // _MINUTES, (end + 60) // _MINUTES)
    return leaking, Leak(name, series, *points)


def _drift(random: Random, minutes: int, memory: float, deviation: float) -> Floats:
    steps = random.normal(0.0, deviation * np.sqrt(2 / memory), minutes)
    walk, keep = np.empty(minutes), 1 - 1 / memory
    now = float(random.normal(0.0, deviation))
    for place, step in enumerate(steps):
        now = keep * now + step
        walk[place] = now
    return walk


def _saw(random: Random, minutes: int, period: float, height: float, unsteady: float) -> Floats:
    level = np.empty(minutes)
    place = -int(random.uniform(0, period))
    while place < minutes:
        length = max(3, int(period * (1 + unsteady * random.uniform(-1, 1))))
        tooth = np.linspace(0, height * (1 - unsteady * random.random()), length)
        first, last = max(place, 0), min(minutes, place + length)
        if last > first:
            level[first:last] = tooth[first - place : last - place]
        place += length
    return level


def _rotation(random: Random, minutes: int) -> Floats:
    height = random.uniform(0.05, 0.5)
    period = np.exp(random.uniform(np.log(60), np.log(8 * _DAY)))
    return random.uniform(0.1, 0.93 - height) + _saw(random, minutes, period, height, random.uniform(0, 0.4))


def _image_collection(random: Random, minutes: int) -> Floats:
    """The kubelet's: from 85 % down to what is set."""
    level, lowest, rate = random.uniform(0.55, 0.85), random.choice([0.8, 0.75, 0.6]), random.uniform(0.02, 0.3) / _DAY
    busy = 1 + 0.8 * np.sin(2 * np.pi * np.arange(minutes) / _DAY + random.uniform(0, 6))
    filled = np.empty(minutes)
    for place in range(minutes):
        level += rate * busy[place]
        if level >= 0.85:
            level = lowest - random.uniform(0, 0.03)
        filled[place] = level
    return filled


def _heap(random: Random, minutes: int) -> Floats:
    period = np.exp(random.uniform(np.log(20), np.log(400)))
    teeth = _saw(random, minutes, period, random.uniform(0.05, 0.3), 0.4)
    return random.uniform(0.3, 0.6) + teeth + _drift(random, minutes, 500, 0.015)


def _cache(random: Random, minutes: int) -> Floats:
    """Empty after each restart, then full."""
    top, bottom = random.uniform(0.6, 0.93), random.uniform(0.2, 0.4)
    level, place = np.empty(minutes), 0
    while place < minutes:
        since = np.arange(min(int(random.uniform(2, 8) * _DAY), minutes - place))
        level[place : place + len(since)] = top - (top - bottom) * np.exp(-since / (random.uniform(2, 24) * 60))
        place += len(since)
    return level


def _steps(random: Random, minutes: int) -> Floats:
    level = np.full(minutes, random.uniform(0.2, 0.5))
    for _ in range(random.poisson(minutes / _DAY / 5)):
        level[random.integers(minutes) :] += random.uniform(-0.2, 0.25)
    return np.clip(level, 0.1, 0.93)


def _daily_import(random: Random, minutes: int) -> Floats:
    """More each day, deleted every few days."""
    time = np.arange(minutes) + random.integers(_DAY)
    steps = (time // _DAY % random.choice([3, 5, 7])).astype(np.float64)
    return random.uniform(0.2, 0.4) + random.uniform(0.02, 0.08) * steps


def _day_and_night(random: Random, minutes: int) -> Floats:
    time = np.arange(minutes)
    weekend = np.where((time // _DAY + random.integers(7)) % 7 >= 5, random.uniform(0.3, 1), 1)
    sun = np.maximum(0, np.sin(2 * np.pi * time / _DAY + random.uniform(0, 6)))
    level: Floats = random.uniform(0.2, 0.5) + random.uniform(0.05, 0.35) * weekend * sun
    return level + _drift(random, minutes, 200, 0.02)


def _walk(random: Random, minutes: int) -> Floats:
    drift = _drift(random, minutes, _DAY * random.uniform(0.5, 3), random.uniform(0.02, 0.1))
    return np.clip(random.uniform(0.3, 0.6) + drift, 0.02, 0.95)


def _copy(random: Random, minutes: int) -> Floats:
    """Grows once like a leak, for hours, and stays: nobody can know beforehand."""
    grown = (np.arange(minutes) - random.integers(3 * _DAY, minutes)) / (random.uniform(2, 12) * 60)
    return random.uniform(0.2, 0.5) + random.uniform(0.05, 0.3) * np.clip(grown, 0, 1)


def _batch(random: Random, minutes: int) -> Floats:
    """Every day something is filled for hours and deleted."""
    since = np.arange(minutes) - random.integers(_DAY)
    part = since % _DAY / (random.uniform(1, 6) * 60)
    height = 1 - 0.3 * random.random(minutes // _DAY + 2)[since // _DAY]
    level: Floats = random.uniform(0.2, 0.5) + random.uniform(0.1, 0.4) * height * np.where(part < 1, part, 0)
    return level


def _slow(random: Random, minutes: int) -> Floats:
    return random.uniform(0.2, 0.5) + random.uniform(0.001, 0.012) * np.arange(minutes) / _DAY


def _flat(random: Random, minutes: int) -> Floats:
    return np.full(minutes, random.uniform(0.05, 0.97))


KINDS: dict[str, Callable[[Random, int], Floats]] = {
    "log rotation": _rotation,
    "image collection": _image_collection,
    "garbage collection": _heap,
    "cache": _cache,
    "steps": _steps,
    "daily import": _daily_import,
    "day and night": _day_and_night,
    "random walk": _walk,
    "one copy": _copy,
    "nightly batch": _batch,
    "slow growth": _slow,
    "flat": _flat,
}
