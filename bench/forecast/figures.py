"""The figures of forecasts that `make eval` prints: one seed, one fleet, no file."""

from __future__ import annotations

import numpy as np

from bench.forecast.day_ahead import measured, pools
from bench.forecast.exhaustion import ours, tally
from bench.forecast.leaks import simulated

FEWEST_DAYS = 11
"""The longest leak takes a week, and three days are known before it."""
_POOL_NODES, _POOL_DAYS = 40, 28


def forecast_figures(seed: int, nodes: int = 200, days: int = 14, *, quick: bool = False) -> dict[str, float]:
    """Name to value of `eval.exhaustion_*` and `eval.forecast_*`; what each is stands in docs/forecasts.md.

    A leak is told of in time 4 h before its end or earlier. Leaks that last less than that are counted apart: nobody
    could have. About a minute for 200 nodes and 14 days; quick looks at a tenth of it. Raises ValueError.
    """
    if days < FEWEST_DAYS:
        raise ValueError(f"leaks take up to a week: at least {FEWEST_DAYS} days are needed, got {days}")
    if quick:
        nodes, days = min(nodes, 20), min(days, FEWEST_DAYS)
    levels = simulated(nodes, days, seed)
    found = tally(levels, ours(levels))
    outcomes = [
        outcome
        for y in pools(10 if quick else _POOL_NODES, 9 if quick else _POOL_DAYS, seed).values()
        if (outcome := measured(y)) is not None
    ]
    lasting = [lasts for many in found.leads.values() for lasts, _ in many]
    return {
        "eval.exhaustion_recall_4h": found.recall_of(4.0, np.inf),
        "eval.exhaustion_leaks": float(sum(lasts >= 4.0 for lasts in lasting)),
        "eval.exhaustion_leaks_below_4h": float(sum(lasts < 4.0 for lasts in lasting)),
        "eval.exhaustion_false_alarms_per_node_week": sum(found.false_alarms.values()) / found.node_weeks,
        "eval.forecast_mase_ratio": float(np.mean([outcome.mase_ratio for outcome in outcomes])),
        "eval.forecast_worst_mase_ratio": max(outcome.mase_ratio for outcome in outcomes),
        "eval.forecast_coverage": float(np.mean([outcome.coverage for outcome in outcomes])),
    }
