"""Readings on a scale on which a difference means about the same everywhere. Pure.

Loads, rates and byte counts differ by factors, not by amounts, and are zero most of the time or never: the scale is
linear below what is negligible and logarithmic above.
"""

from __future__ import annotations

import numpy as np

from telemetry.catalogue import NODE_METRICS, Metric
from telemetry.layout import Floats
from telemetry.tables import SCORED, TOTALS

_METRICS: tuple[Metric, ...] = (*(NODE_METRICS[index] for index in SCORED), *(metric for _, _, metric in TOTALS))
"""Of telemetry.tables.FEATURES, in their order."""
_NEGLIGIBLE = {"1": 0.1, "By": 1e6, "By/s": 1e5}
"""By unit: an amount nobody would look at twice; of counts and events a second it is one."""
_LARGEST = 1e300

NEGLIGIBLE: Floats = np.array([_NEGLIGIBLE.get(metric.unit, 1.0) for metric in _METRICS])
LEAST_SCALE: Floats = np.array([0.02 if metric.unit == "1" else 0.1 for metric in _METRICS])
"""No pool is so uniform that less than this is a deviation: 0.2 points of a share near 0, a tenth of a rate."""


def to_scale(features: Floats) -> Floats:
    """(windows, FEATURES) on the common scale; NaN stays NaN."""
    return np.asarray(np.log1p(np.clip(features, 0.0, _LARGEST) / NEGLIGIBLE))


def from_scale(feature: int, value: float) -> float:
    """What a reading on the common scale is in the feature's own unit."""
    return float(np.expm1(min(max(value, 0.0), 700.0)) * NEGLIGIBLE[feature])
