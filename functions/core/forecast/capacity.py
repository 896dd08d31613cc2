"""How many nodes a pool needs in the next hours at a target utilization. Pure; docs/forecasts.md has the formula."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from functions.core.forecast.day_ahead import DAY, STEP_S
from telemetry.layout import Floats

MOST_HOURS = DAY * STEP_S // 3600


class Capacity(NamedTuple):
    """What is needed, and why."""

    needed: int
    """Nodes, within the bounds."""
    unbounded: int
    """Nodes that the target asks for, whatever the bounds."""
    peak: float
    """The highest demand of the hours by the upper end of the band, in nodes that are busy all the time."""
    peak_after_s: int
    """From now to that peak."""
    change: int
    """Nodes to add; negative: to remove."""


def nodes_needed(
    demand: Floats, *, target: float, hours: int, current: int, least: int = 1, most: int = 1_000_000
) -> Capacity:
    """ceil(highest demand within the hours / target), between least and most.

    `demand`: upper end of the band of the pool's summed utilization, one value per 5 minutes from now on: 12.5 are
    twelve and a half nodes' worth of work. Raises ValueError, saying what would be right.
    """
    if not 0.0 < target <= 1.0:
        raise ValueError(f"target must be above 0 and at most 1, got {target!r}")
    if not 1 <= hours <= MOST_HOURS:
        raise ValueError(f"hours must be 1 to {MOST_HOURS}, got {hours!r}")
    if not 0 <= least <= most:
        raise ValueError(f"the fewest nodes must be 0 or more and at most the most nodes, got {least!r} and {most!r}")
    if current < 0:
        raise ValueError(f"the current nodes must be 0 or more, got {current!r}")
    ahead = np.asarray(demand, np.float64)[: hours * 3600 // STEP_S]
    if not np.isfinite(ahead).any():
        raise ValueError("the demand must have a value within these hours; wait until a day of the pool is known")
    ahead = np.where(np.isfinite(ahead), np.maximum(ahead, 0.0), 0.0)
    at = int(ahead.argmax())
    peak = float(ahead[at])
    unbounded = math.ceil(round(peak / target, 6))  # a demand of exactly three nodes is not four for a rounding error
    needed = min(max(unbounded, least), most)
    return Capacity(needed, unbounded, peak, (at + 1) * STEP_S, needed - current)
