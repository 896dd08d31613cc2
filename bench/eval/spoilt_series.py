"""Healthy series of every kind, made wrong in every way, with points every minute, every five, and every hour.

The rule, the same for every seed: of each kind of `bench.healthy` some series for each cadence; in each of them
two to seven anomalies after the first third, at random places, of random shape, length and strength. A strength is
in units of what the series does by itself: of its deviation or, where that is less, of four of its usual moves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from bench.eval.layout import Flags
from bench.healthy import KINDS, Maker
from telemetry.layout import Floats

Random = np.random.Generator


class Cadence(NamedTuple):
    """How often there is a point."""

    step: int
    """Seconds between points."""
    points: int
    lengths: Sequence[int]
    """Of anomalies, in points: minutes to hours, of hourly points to a day."""


CADENCES: Mapping[str, Cadence] = {
    "1min": Cadence(60, 14_400, (3, 8, 20, 60, 120)),
    "5min": Cadence(300, 6_048, (1, 2, 4, 12, 30)),
    "1h": Cadence(3_600, 2_400, (1, 2, 3, 6, 12, 24)),
}
"""Ten days, three weeks, a hundred days."""
HEALTHY = 1 / 3
"""Share of the points at the beginning where nothing is wrong: rivals need 720."""
FEWEST, MOST = 2, 7
_APART = 30
"""Points that lie between anomalies at least."""


class SpoiltSeries(NamedTuple):
    """A series, and where it is wrong."""

    kind: str
    time: Floats
    """Epoch seconds."""
    values: Floats
    labels: Flags


def spoilt_series(seed: int, cadence: str, of_each: int) -> list[SpoiltSeries]:
    """So many series of each kind under a seed."""
    step, points, lengths = CADENCES[cadence]
    found = []
    for place, (kind, make) in enumerate(KINDS.items()):
        maker = Maker(np.random.default_rng([seed, step, place]), points, of_each, step)
        for healthy in make(maker).T:
            values, labels = spoil(maker.random, healthy, lengths)
            found.append(SpoiltSeries(kind, maker.time[:, 0], values, labels))
    return found


def spoil(random: Random, healthy: Floats, lengths: Sequence[int]) -> tuple[Floats, Flags]:
    """A copy of the series with anomalies of these lengths, and labels."""
    values, labels = healthy.copy(), np.zeros(len(healthy), np.bool_)
    unit = max(float(healthy.std()), 4.0 * float(np.median(np.abs(np.diff(healthy)))))
    begin = range(round(len(healthy) * HEALTHY), len(healthy) - max(lengths))
    for start in random.choice(begin, random.integers(FEWEST, MOST + 1), replace=False).tolist():
        end = start + int(random.choice(lengths))
        if labels[max(start - _APART, 0) : end + _APART].any():
            continue
        shape = SHAPES[random.integers(len(SHAPES))]
        values[start:end] = shape(random, values[start:end], unit)
        labels[start:end] = True
    return values, labels


def _spike(random: Random, x: Floats, unit: float) -> Floats:
    return x + unit * random.uniform(2.0, 6.0)


def _dip(random: Random, x: Floats, unit: float) -> Floats:
    return x - unit * random.uniform(1.5, 4.0)


def _shift(random: Random, x: Floats, unit: float) -> Floats:
    return x + unit * random.uniform(1.0, 2.0)


def _loss(random: Random, x: Floats, unit: float) -> Floats:
    """Most of it is missing, as when half of the clients cannot connect."""
    return x * random.uniform(0.0, 0.4)


def _unrest(random: Random, x: Floats, unit: float) -> Floats:
    return x + 2.0 * unit * random.normal(size=len(x))


def _ramp(random: Random, x: Floats, unit: float) -> Floats:
    return x + unit * np.linspace(0.5, 4.0, len(x))


def _standstill(random: Random, x: Floats, unit: float) -> Floats:
    """Stays at a value it may well have."""
    return np.full(len(x), x[0] + unit)


SHAPES: Sequence[Callable[[Random, Floats, float], Floats]] = (
    _spike, _dip, _shift, _loss, _unrest, _ramp, _standstill,
)  # fmt: skip
