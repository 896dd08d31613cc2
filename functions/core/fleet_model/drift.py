"""Whether what comes is still what was learnt: the population stability index (PSI) of inputs and scores. Pure.

PSI = sum over bins of (now - then) * ln(now / then); below 0.1 nothing has changed, above 0.25 it has: the convention
of credit scoring (Siddiqi, Credit Risk Scorecards, 2006). Node metrics move from day to day by themselves, most in
small fleets: a feature has drifted when it is beyond that and beyond one and a half times what any day of the training
was from all of it.
"""

from __future__ import annotations

import numpy as np

from functions.core.fleet_model.model import Reference
from telemetry.layout import Floats, Indexes

BINS = 10
CHANGED, DRIFTED = 0.1, 0.25
_BEYOND_USUAL = 1.5
_LEAST_SHARE = 1e-3
"""A bin counts as at least this full: one window in a thousand is no shift."""
SCORE_EDGES: Floats = np.array([0.5, 0.9, 0.99, 0.999])
DAY = 24 * 60


def reference_of(deviations: Floats, minutes: Indexes, scores: Floats) -> Reference:
    """What training was like: (rows, features) of deviations with their minutes, and held-out scores."""
    steps = np.linspace(0.0, 1.0, BINS + 1)[1:-1]
    edges = np.zeros((deviations.shape[1], BINS - 1))
    for feature, values in enumerate(deviations.T):
        known = values[~np.isnan(values)]
        if len(known):
            edges[feature] = np.quantile(known, steps)
    shares = shares_of(deviations, edges)
    usual = np.zeros(len(edges))
    first, last = int(minutes.min()), int(minutes.max())
    step = min(DAY, max((last - first + 1) // 2, 1))
    for start in range(first, last + 1, step):
        part = deviations[(minutes >= start) & (minutes < start + step)]
        if len(part) * step >= 0.5 * len(deviations) / max((last - first) / step, 1):
            usual = np.fmax(usual, psi(shares_of(part, edges), shares))
    return Reference(edges, shares, usual, np.isnan(deviations).mean(axis=0), score_shares(scores))


def shares_of(deviations: Floats, edges: Floats) -> Floats:
    """(features, bins): the shares of what is known that fall into each bin; of nothing, NaN."""
    found = np.full((len(edges), BINS), np.nan)
    for feature, values in enumerate(deviations.T):
        known = values[~np.isnan(values)]
        if len(known):
            # rounding: a sum of the same numbers in another order must not jump over an edge where most values lie
            places = np.searchsorted(np.round(edges[feature], 9), np.round(known, 9))
            found[feature] = np.bincount(places, minlength=BINS) / len(known)
    return found


def score_shares(scores: Floats) -> Floats:
    """Shares of windows by score; of nothing, NaN."""
    known = scores[~np.isnan(scores)]
    counts = np.bincount(np.searchsorted(SCORE_EDGES, known, side="right"), minlength=len(SCORE_EDGES) + 1)
    return counts / len(known) if len(known) else np.full(len(counts), np.nan)


def psi(now: Floats, then: Floats) -> Floats:
    """The population stability index of shares (..., bins)."""
    p, q = np.maximum(now, _LEAST_SHARE), np.maximum(then, _LEAST_SHARE)
    return np.asarray(((p - q) * np.log(p / q)).sum(axis=-1))


def limits(usual_psi: Floats) -> tuple[Floats, Floats]:
    """(features): from which PSI a feature has changed, and has drifted."""
    return np.maximum(CHANGED, usual_psi), np.maximum(DRIFTED, _BEYOND_USUAL * usual_psi)
