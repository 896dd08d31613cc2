"""Closed forms in time that load is built of: the day and week, pulses, saw-teeth, jobs, bursts.

All are pure functions of epoch seconds, so nothing has to be simulated up to a moment to know it.
For the modules of local.fleet only.
"""

from __future__ import annotations

import numpy as np

from local.fleet.noise import Floats, Noise

DAY = 86_400.0
HOUR = 3_600.0
_MONDAY = 4 * DAY
"""The epoch was a Thursday; four days later a week began."""


def business_hours(seconds: Floats, weekend: float) -> Floats:
    """How busy people are, 0 to 1: a hump before noon, one in the afternoon, a small one in the evening (UTC).

    On Saturday and Sunday the humps are `weekend` as high.
    """
    hour = seconds % DAY / HOUR

    def hump(peak: float, width: float) -> Floats:
        distance = (hour - peak + 12.0) % 24.0 - 12.0
        return np.exp(-0.5 * (distance / width) ** 2)

    day = np.floor((seconds - _MONDAY) / DAY) % 7
    height = np.where(day >= 5, weekend, np.where(day == 4, 0.9, 1.0))
    curve = 0.92 * hump(10.3, 1.9) + 0.86 * hump(14.8, 2.2) + 0.25 * hump(20.2, 1.6)
    return np.minimum(height * curve, 1.0)


def pulse(seconds: Floats, start: Floats | float, end: Floats | float, ramp: Floats | float) -> Floats:
    """1 between start and end, 0 elsewhere, seen through a causal moving average of `ramp` seconds."""
    rise = np.clip((seconds - start) / ramp, 0.0, 1.0)
    fall = np.clip((seconds - end) / ramp, 0.0, 1.0)
    return rise - fall


def saw_tooth(noise: Noise, stream: str, seconds: Floats, shortest: float, longest: float) -> Floats:
    """Grows from 0, drops back, begins again; each node has its own period, each cycle its own height up to 1."""
    period = noise.constant(f"{stream}/period", shortest, longest)
    position = seconds / period + noise.constant(f"{stream}/phase")
    cycle = np.floor(position)
    height = 0.55 + 0.45 * noise.uniform(f"{stream}/height", cycle.astype(np.int64))
    return (position - cycle) * height


def jobs(
    noise: Noise, stream: str, seconds: Floats, slot: float, probability: Floats | float, ramp: Floats | float
) -> Floats:
    """Work that is there or not: in each slot of time of each node a job of 0.5 to 1 may run for a part of it.

    `ramp` may have a leading axis (averages over several horizons), which the result then has too.
    """
    position = seconds / slot + noise.constant(f"{stream}/phase")
    index = np.floor(position).astype(np.int64)
    inside = (position - index) * slot
    runs = noise.uniform(f"{stream}/runs", index) < probability
    size = np.where(runs, 0.5 + 0.5 * noise.uniform(f"{stream}/size", index), 0.0)
    start = slot * 0.3 * noise.uniform(f"{stream}/start", index)
    end = slot * (0.5 + 0.45 * noise.uniform(f"{stream}/end", index))
    return size * pulse(inside, start, end, np.minimum(ramp, slot - end))


def bursts(noise: Noise, stream: str, seconds: Floats, slot: float, probability: float) -> Floats:
    """Short, rare and heavy-tailed: mostly 0, sometimes around 1, seldom 10 and more; never above 60."""
    position = seconds / slot + noise.constant(f"{stream}/phase")
    index = np.floor(position).astype(np.int64)
    chance = noise.uniform(f"{stream}/chance", index)
    size = np.minimum((1.0 - noise.uniform(f"{stream}/size", index)) ** -0.6, 30.0)
    start = 0.5 * noise.uniform(f"{stream}/start", index)
    end = start + 0.1 + 0.4 * noise.uniform(f"{stream}/length", index)
    inside = position - index
    size *= np.exp(0.2 * noise.gaussian(f"{stream}/sample", np.rint(seconds * 1000.0).astype(np.int64)))
    return np.where((chance < probability) & (inside >= start) & (inside < end), size, 0.0)
