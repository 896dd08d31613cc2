"""What is learnt of a fleet, and how windows are scored with it: all windows of a batch at once. Pure; numpy only.

A window is compared with its pool in two ways. By itself: how far each feature is from the pool's median at this hour.
And as a whole: how far each feature is from what all the others of the same window let expect, by the covariances of
the fleet; a CPU that is busy while nothing comes over the network breaks a relation although each is usual by itself.
Each deviation is measured in the longest that healthy nodes have shown, and the largest one is the window's. The
calibrated score says how large a share of healthy windows the model had not seen are less unusual.

The conditional deviation of feature i given the others is (P (z - mean))_i / sqrt(P_ii) with the precision matrix P:
Lauritzen, Graphical Models (1996), 5.1.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from functions.core.fleet_model.features import from_scale, to_scale
from functions.core.fleet_model.history import PoolKey
from telemetry.layout import Floats, Indexes
from telemetry.tables import FEATURES

ALARM = 0.999
"""Score from which a window counts as unlike its pool: one in a thousand healthy ones, by chance."""
FARTHEST = 50.0
"""Deviations are cut here: what is broken is broken, and one number must not bend all relations."""
HOURS = 24
WEEKDAYS = "weekdays"
"""The fact that says how many days of the week a model was trained and calibrated with."""
_ENOUGH = 0.5
"""Share of the model's features a window must have to be scored."""
NO_POOL = -1


class Contribution(NamedTuple):
    """A feature that makes a window unlike its pool."""

    feature: str
    value: float
    lower: float
    upper: float
    """Of the band that the pool's healthy nodes keep to at this hour, or that the other features let expect."""
    of_relation: bool
    """Whether the band is what the others let expect."""
    share: float
    """Its deviation in units of the longest that healthy nodes have shown."""


class Reference(NamedTuple):
    """What inputs and scores were like in training, for drift."""

    edges: Floats
    """(features, bins - 1) of deviations from the pool's median; equal ones enclose nothing."""
    shares: Floats
    """(features, bins)."""
    usual_psi: Floats
    """(features): the largest PSI of any day of the training against all of it."""
    missing: Floats
    """(features): share of windows without it."""
    scores: Floats
    """Shares of held-out windows by score; see drift.SCORE_EDGES."""


@dataclass(frozen=True, slots=True, eq=False)
class FleetModel:
    """One trained model; never changed."""

    id: str
    features: tuple[str, ...]
    """Some of FEATURES, in their order."""
    pools: tuple[PoolKey, ...]
    median: Floats
    """(pools, HOURS, features), on the common scale."""
    scale: Floats
    """(pools, features): a deviation of one."""
    mean: Floats
    """(features), of deviations."""
    precision: Floats
    """(features, features), of deviations."""
    longest: Floats
    """(2, features): deviations of healthy nodes by themselves and from what the others let expect."""
    calibration: Floats
    """(2, knots): raw scores, ascending, and the share of held-out windows below."""
    reference: Reference
    facts: dict[str, Any] = field(default_factory=dict)
    """When and of what it was trained, its metrics, library versions."""

    def pool_places(self, keys: list[PoolKey]) -> Indexes:
        """Where each pool is in the model; NO_POOL for those it does not know."""
        places = {name: place for place, name in enumerate(self.pools)}
        return np.array([places.get(key, NO_POOL) for key in keys], np.intp)

    def deviations(self, pools: Indexes, minutes: Indexes, features: Floats) -> Floats:
        """(windows, features): how far each feature is from the pool's median at that hour; NaN is missing."""
        found = to_scale(features)[:, self.columns]
        hours = minutes // 60 % HOURS
        found -= self.median[pools, hours]
        found /= self.scale[pools]
        return np.asarray(np.clip(found, -FARTHEST, FARTHEST, out=found))

    def raw_scores(self, deviations: Floats) -> Floats:
        """Of each window its largest deviation of either kind; NaN where too many features are missing."""
        own, relation = self.both(deviations)
        worst = np.maximum(own.max(axis=1), relation.max(axis=1))
        known = np.count_nonzero(~np.isnan(deviations), axis=1)
        return np.asarray(np.where(known >= _ENOUGH * len(self.features), worst, np.nan))

    def scores(self, pools: Indexes, minutes: Indexes, features: Floats) -> Floats:
        """(windows): calibrated, 0 to 1; NaN where the pool is unknown or too many features are missing."""
        found = np.full(len(features), np.nan)
        known = np.flatnonzero(pools != NO_POOL)
        if len(known):
            found[known] = self.calibrated(
                self.raw_scores(self.deviations(pools[known], minutes[known], features[known]))
            )
        return found

    def calibrated(self, raw: Floats) -> Floats:
        """The share of healthy windows that are less unusual."""
        return np.asarray(np.interp(raw, self.calibration[0], self.calibration[1]))

    def explain(self, pool: int, minute: int, features: Floats, most: int = 3) -> list[Contribution]:
        """The features that contribute most to one window's score, the strongest first."""
        deviations = self.deviations(np.array([pool]), np.array([minute]), features[None])
        own, relation = (kind[0] for kind in self.both(deviations))
        z = self._filled(deviations)[0]
        own_precision = np.diag(self.precision)
        others = z - (z - self.mean) @ self.precision / own_precision
        widths = self.longest / np.stack([np.ones(len(z)), np.sqrt(own_precision)])
        median, scale = self.median[pool, minute // 60 % HOURS], self.scale[pool]
        found: list[Contribution] = []
        for place in np.argsort(-np.maximum(own, relation), kind="stable")[:most].tolist():
            of_relation = bool(relation[place] > own[place])
            share = float(max(own[place], relation[place]))
            if share == 0.0 or (found and share < 1.0):
                break  # the first is said whatever it is; others that healthy nodes have shown as well explain nothing
            column = int(self.columns[place])
            middle, width = float(others[place]) if of_relation else 0.0, float(widths[int(of_relation), place])
            lower, upper = (
                from_scale(column, float(median[place] + scale[place] * (middle + side))) for side in (-width, width)
            )
            found.append(Contribution(self.features[place], float(features[column]), lower, upper, of_relation, share))
        return found

    @property
    def knows_a_week(self) -> bool:
        """Whether every day of the week was among its days: calibrated with a weekend, a Monday is alarming."""
        return bool(self.facts.get(WEEKDAYS, 0) == 7)

    @property
    def columns(self) -> Indexes:
        """Where its features are among FEATURES."""
        return np.array([_PLACES[name] for name in self.features], np.intp)

    def both(self, deviations: Floats) -> tuple[Floats, Floats]:
        """By themselves, and from what the others let expect: (windows, features) each, in units of the longest."""
        z = self._filled(deviations)
        relation = np.abs((z - self.mean) @ (self.precision / np.sqrt(np.diag(self.precision))))
        own = np.abs(z)
        missing = np.isnan(deviations)
        if missing.any():
            own, relation = np.where(missing, 0.0, own), np.where(missing, 0.0, relation)
        return own / self.longest[0], relation / self.longest[1]

    def _filled(self, deviations: Floats) -> Floats:
        """With what is missing replaced by what the others let expect, so that it says nothing."""
        missing = np.isnan(deviations)
        if not missing.any():
            return deviations
        filled = deviations.copy()
        patterns, of = np.unique(missing, axis=0, return_inverse=True)
        for number, gone in enumerate(patterns):
            if gone.any():
                rows = np.flatnonzero(of.ravel() == number)
                there = ~gone
                pull = self.precision[np.ix_(gone, there)] @ (deviations[np.ix_(rows, there)] - self.mean[there]).T
                filled[np.ix_(rows, gone)] = (
                    self.mean[gone] - np.linalg.solve(self.precision[np.ix_(gone, gone)], pull).T
                )
        return filled


_PLACES = {name: place for place, name in enumerate(FEATURES)}
