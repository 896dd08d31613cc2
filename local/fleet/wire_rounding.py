"""telemetry.catalogue.round_for_wire for whole arrays: the same rule, vectorised, up to 2^53.

Decimal ties (0.35 to one digit) may go the other way. A test holds the two against each other.
For the modules of local.fleet and for benchmarks.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from local.fleet.noise import Floats
from telemetry.catalogue import Kind, Metric


def rounded(metric: Metric, values: Floats) -> Floats:
    """Readings of a metric as they arrive: rounded for the wire."""
    if metric.kind is Kind.RATE:
        values = _four_significant_digits(values)
    if metric.digits is None:
        return np.rint(values)
    scale = 10.0**metric.digits
    return np.asarray(np.rint(values * scale) / scale)


def round_array(metric: Metric, values: Floats) -> list[Any]:
    """Rounds readings of a metric and gives them as nested lists of Python numbers in the shape of the array.

    They are whole where round_for_wire makes them whole, so that the JSON text is the same too.
    """
    numbers = rounded(metric, values)
    if metric.digits is None:
        return numbers.astype(np.int64).tolist()  # type: ignore[no-any-return]
    if metric.kind is Kind.RATE and bool((values >= 1000.0).any()):
        return _whole_above_thousand(numbers.tolist())
    return numbers.tolist()  # type: ignore[no-any-return]


def _four_significant_digits(values: Floats) -> Floats:
    large = values >= 1000.0
    if not large.any():
        return values
    whole = np.where(large, np.rint(values), 1000.0)
    unit = 10.0 ** (np.floor(np.log10(whole)) - 3.0)
    return np.where(large, np.rint(whole / unit) * unit, values)


def _whole_above_thousand(rounded: list[Any]) -> list[Any]:
    return [
        _whole_above_thousand(value) if isinstance(value, list) else int(value) if value >= 1000.0 else value
        for value in rounded
    ]
