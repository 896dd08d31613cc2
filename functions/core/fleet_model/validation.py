"""How good a model is on windows it has not learnt: known anomalies put into them, found or not. Pure; numpy only.

Nobody labels a fleet's history, so anomalies are made: held-out windows are changed in ways that are anomalies
whatever the cluster is like. Two models are compared on the same windows at the same rate of alarms on
the unchanged ones, each with the threshold that gives it that rate there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from functions.core.fleet_model.features import NEGLIGIBLE
from functions.core.fleet_model.history import Rows
from functions.core.fleet_model.model import ALARM, NO_POOL, FleetModel
from telemetry.layout import Floats, Indexes

FALSE_RATE = 1.0 - ALARM
TOO_MANY = 10.0
"""Times the stated rate of alarms beyond which a threshold does not hold any more."""
_MOST = 4_000
"""Windows that are changed, of each kind."""


class Quality(NamedTuple):
    """What a model does on held-out windows."""

    found: float
    """Mean share of made anomalies that are found, of all kinds, at FALSE_RATE."""
    by_kind: dict[str, float]
    alarm_rate: float
    """Share of the unchanged windows of pools it knows that are above its own threshold; FALSE_RATE is promised."""
    covered: float
    """Share of the windows it can score."""

    @property
    def holds(self) -> bool:
        """Whether its own threshold means about what it says."""
        return self.alarm_rate <= TOO_MANY * FALSE_RATE


def quality(model: FleetModel, held_out: Rows) -> Quality:
    """Measures a model; the same for the same windows, whichever model it is."""
    places = model.pool_places(list(held_out.names))[held_out.pools] if len(held_out) else held_out.pools
    healthy = _raw(model, places, held_out.minutes, held_out.features)
    scored = healthy[~np.isnan(healthy)]
    if not len(scored):
        return Quality(0.0, dict.fromkeys(ANOMALIES, 0.0), 0.0, 0.0)
    threshold = np.quantile(scored, ALARM)
    alarms = float((model.calibrated(scored) >= ALARM).mean())
    by_kind = {}
    for name, change in ANOMALIES.items():
        random = np.random.default_rng(0)
        chosen = np.sort(random.choice(len(held_out), min(_MOST, len(held_out)), replace=False))
        changed = change(held_out, chosen, random)
        raw = _raw(model, places[chosen], held_out.minutes[chosen], changed)
        by_kind[name] = float((raw > threshold).mean())  # what cannot be scored is not found
    return Quality(float(np.mean(list(by_kind.values()))), by_kind, alarms, len(scored) / len(held_out))


def beats(candidate: Quality, running: Quality) -> bool:
    """Whether a candidate should replace the model that serves; both measured on the same windows."""
    if not candidate.holds:
        return False
    return not running.holds or candidate.found > running.found


def _raw(model: FleetModel, places: Indexes, minutes: Indexes, features: Floats) -> Floats:
    found = np.full(len(features), np.nan)
    known = np.flatnonzero(places != NO_POOL)
    if len(known):
        found[known] = model.raw_scores(model.deviations(places[known], minutes[known], features[known]))
    return found


def _raised(rows: Rows, chosen: Indexes, random: np.random.Generator, count: int, factor: float) -> Floats:
    """Some features of each window are a multiple of what they were, and more than negligible."""
    changed = rows.features[chosen].copy()
    usable = np.flatnonzero(~np.isnan(rows.features).all(axis=0))
    for _ in range(count):
        columns = random.choice(usable, len(chosen))
        turn = np.arange(len(chosen))
        changed[turn, columns] = factor * (changed[turn, columns] + NEGLIGIBLE[columns])
    return changed


def one_raised(rows: Rows, chosen: Indexes, random: np.random.Generator) -> Floats:
    """One feature is four times what it was: something leaks, spins or floods."""
    return _raised(rows, chosen, random, 1, 4.0)


def some_raised(rows: Rows, chosen: Indexes, random: np.random.Generator) -> Floats:
    """Five features are twice what they were: the node carries what others do not."""
    return _raised(rows, chosen, random, 5, 2.0)


def mixed(rows: Rows, chosen: Indexes, random: np.random.Generator) -> Floats:
    """A third of the features are those of the same pool at another time: each usual, together not."""
    changed = rows.features[chosen].copy()
    for pool in np.unique(rows.pools[chosen]).tolist():
        mine = np.flatnonzero(rows.pools[chosen] == pool)
        donors = rows.features[random.choice(np.flatnonzero(rows.pools == pool), len(mine))]
        taken = random.random(donors.shape) < 1.0 / 3.0
        changed[mine] = np.where(taken, donors, changed[mine])
    return changed


ANOMALIES: dict[str, Callable[[Rows, Indexes, np.random.Generator], Floats]] = {
    "one_raised": one_raised,
    "some_raised": some_raised,
    "mixed": mixed,
}
