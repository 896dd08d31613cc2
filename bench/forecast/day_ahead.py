"""How good the next 24 h are: error against that of yesterday's curve, and how much of what came the band held."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bench.forecast.leaks import START_MS
from functions.core.forecast.day_ahead import DAY, STEP_S, day_ahead
from local.fleet.faults import FAULTS
from local.fleet.model import FleetModel
from local.fleet.pools import pool_of
from telemetry.layout import Floats

_FIRST = 7 * DAY
_STEP = DAY // 2
_LONGEST = 60 * DAY


class Outcome(NamedTuple):
    """Of one series."""

    mase_ratio: float
    """Mean absolute error over that of seasonal naive, same moments: MASE's scale is the same above and below."""
    coverage: float


def measured(y: Floats) -> Outcome | None:
    """Forecasts every 12 h from the second week on; None where seasonal naive makes no errors, or nothing is known."""
    ours, naive, held = [], [], []
    for origin in range(_FIRST, len(y) - DAY + 1, _STEP):
        came, before = y[origin : origin + DAY], y[origin - DAY : origin]
        found = day_ahead(y[:origin])
        both = ~np.isnan(came) & ~np.isnan(before)
        if found is None or not both.any():
            continue
        ours.append(np.abs(found.value - came)[both].mean())
        naive.append(np.abs(before - came)[both].mean())
        known = ~np.isnan(came)
        held.append(((came >= found.lower - 1e-9) & (came <= found.upper + 1e-9))[known].mean())
    if not naive or np.mean(naive) < 1e-9:
        return None
    return Outcome(float(np.mean(ours) / np.mean(naive)), float(np.mean(held)))


def pools(nodes: int, days: int, seed: int) -> dict[str, Floats]:
    """Summed CPU and memory utilization of each pool of a simulated fleet, every 5 minutes."""
    everybody = tuple(range(nodes))
    backup, wave = FAULTS["nightly_backup"], FAULTS["deployment_wave"]
    faults = [backup(everybody, 10_800.0, backup.default_duration, 1.0)]
    faults += [wave(everybody, (day + 0.6) * 86_400, wave.default_duration, 1.0) for day in range(2, days, 3)]
    model = FleetModel(nodes, seed=seed, start_ms=START_MS, faults=faults)
    found: dict[str, Floats] = {}
    for node in everybody:
        for day in range(days):
            time = START_MS + (day * 1440 + np.arange(1440)) * 60_000
            readings = model.readings([node], time[None])
            for metric in ("cpu", "mem"):
                whole = found.setdefault(f"{pool_of(node).name} {metric}", np.zeros(days * DAY))
                whole[day * DAY : (day + 1) * DAY] += readings.metrics[metric][0].reshape(DAY, -1).mean(axis=1)
    return found


def labelled(folder: Path) -> Mapping[str, Floats]:
    """The series of a folder in NAB's layout (timestamp,value) of 5-minute steps; what is missing is NaN."""
    found: dict[str, Floats] = {}
    for path in sorted(folder.rglob("*.csv")):
        with path.open(newline="") as file:
            rows = [(datetime.fromisoformat(r["timestamp"]), float(r["value"])) for r in csv.DictReader(file)]
        seconds = np.array([moment.replace(tzinfo=UTC).timestamp() for moment, _ in rows])
        places = np.rint((seconds - seconds.min()) / STEP_S).astype(np.intp)
        if not rows or places.max() >= _LONGEST or np.median(np.diff(seconds)) != STEP_S:
            continue
        total, count = np.zeros(places.max() + 1), np.zeros(places.max() + 1)
        np.add.at(total, places, [value for _, value in rows])
        np.add.at(count, places, 1)
        found[str(path.relative_to(folder))] = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return found
