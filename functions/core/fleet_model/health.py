"""What is measured of the model that serves, each against its limit, and what follows. Pure; for `upkeep`.

Limits are conventions or shares that somebody can judge, said beside them; docs/fleet-model.md has how often healthy
fleets reach them.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import NamedTuple

import numpy as np

from functions.core.fleet_model.drift import CHANGED, DRIFTED, limits, psi, score_shares, shares_of
from functions.core.fleet_model.history import Rows
from functions.core.fleet_model.model import ALARM, NO_POOL, FleetModel
from functions.core.fleet_model.training import FEWEST_NODES
from functions.core.fleet_model.validation import FALSE_RATE, TOO_MANY
from telemetry.layout import Floats

FEWEST_WINDOWS = 50
"""Of the last day, to say anything about inputs and scores."""
DAY_MS = 86_400_000


class Status(StrEnum):
    """How a measure is."""

    OK = "ok"
    WARNING = "warning"
    DRIFTED = "drifted"


class Limits(NamedTuple):
    """From which value on a measure is a warning, and has drifted; None: never."""

    warning: float
    drifted: float | None


SCORE = Limits(CHANGED, DRIFTED)
"""The convention, as for inputs; a score has five classes only, which hold most of its noise together."""
ALARMS = Limits(3 * FALSE_RATE, TOO_MANY * FALSE_RATE)
"""Share of windows above the alarm: three and ten times what was promised."""
UNSCORED = Limits(0.2, 0.5)
"""Share of windows that could not be scored, of pools that are large enough: new pools, or inputs that are gone."""
FEATURES = Limits(0.1, 0.3)
"""Share of features that have drifted each by itself: one may, for a release or a season; a third is another fleet."""
MISSING = Limits(0.2, 0.5)
"""How much larger the share of windows without a feature is than in training."""
AGE_DAYS = Limits(7.0, 30.0)
"""Training is tried daily: a week without a promotion is worth a look, a month's old fleet is another one."""
OUTLIERS = Limits(0.5, 2.0)
"""Incidents per node and week: somebody who looks at a hundred nodes has one in ten minutes at the drifted end."""
DETECTED = Limits(0.5, None)
"""The same of the streaming detectors; there is nothing to fall back to."""
FEWEST_INCIDENTS = 5
"""In a day, before a rate of them counts: in a small fleet one is a high rate already."""


class Measure(NamedTuple):
    """One row of ModelHealth_CL."""

    name: str
    feature: str
    value: float | None
    limit: float | None
    status: Status


class Incidents(NamedTuple):
    """How many began within the last day, on how many nodes."""

    nodes: int
    outliers: int
    detected: int


DECIDES = frozenset({"score_psi", "alarm_share", "unscored_share", "drifted_features", "age_days"}) | {
    "outliers_per_node_week"
}
"""Measures of the whole model: one that has drifted is reason to train anew."""


def measures_of(model: FleetModel, rows: Rows, incidents: Incidents, now_ms: int) -> list[Measure]:
    """Everything measured of a model over the rows of the last day."""
    age = max(now_ms - int(model.facts.get("trained_ms", 0)), 0) / DAY_MS
    found = [
        _measure("age_days", age, AGE_DAYS),
        _rate("outliers_per_node_week", incidents.outliers, incidents.nodes, OUTLIERS),
        _rate("detected_per_node_week", incidents.detected, incidents.nodes, DETECTED),
    ]
    sizes = np.array([len(np.unique(rows.nodes[rows.pools == pool])) for pool in range(len(rows.names))], np.intp)
    rows = rows.where(np.flatnonzero(sizes[rows.pools] >= FEWEST_NODES)) if len(rows) else rows
    if len(rows) < FEWEST_WINDOWS:
        return found
    places = model.pool_places(list(rows.names))[rows.pools]
    known = np.flatnonzero(places != NO_POOL)
    deviations = model.deviations(places[known], rows.minutes[known], rows.features[known])
    scores = model.calibrated(model.raw_scores(deviations))
    scored = scores[~np.isnan(scores)]
    found.append(_measure("unscored_share", 1.0 - len(scored) / len(rows), UNSCORED))
    if len(scored) < FEWEST_WINDOWS:
        return found
    found.append(_measure("score_psi", float(psi(score_shares(scored), model.reference.scores)), SCORE))
    found.append(_measure("alarm_share", float((scored >= ALARM).mean()), ALARMS))
    of_features = list(_of_features(model, deviations))
    drifted = [one for one in of_features if one.name == "input_psi" and one.status is Status.DRIFTED]
    found.append(_measure("drifted_features", len(drifted) / len(model.features), FEATURES))
    return found + of_features


def reasons(measures: list[Measure]) -> str:
    """Why the model has drifted, in words; empty if it has not."""
    parts = [
        f"{one.name} is {one.value:.3g}, from {one.limit:.3g} on it is too much"
        for one in measures
        if one.name in DECIDES and one.status is Status.DRIFTED and one.value is not None and one.limit is not None
    ]
    return "; ".join(parts)


def _of_features(model: FleetModel, deviations: Floats) -> Iterator[Measure]:
    reference = model.reference
    missing = np.isnan(deviations).mean(axis=0)
    changed, drifted = limits(reference.usual_psi)
    values = psi(shares_of(deviations, reference.edges), reference.shares)
    for place, feature in enumerate(model.features):
        of_feature = Limits(float(changed[place]), float(drifted[place]))
        yield _measure("input_psi", float(values[place]), of_feature, feature)
        usual = float(reference.missing[place])
        allowed = Limits(usual + MISSING.warning, usual + MISSING.drifted if MISSING.drifted is not None else None)
        yield _measure("missing_share", float(missing[place]), allowed, feature)


def _rate(name: str, count: int, nodes: int, of: Limits) -> Measure:
    if not nodes:
        return _measure(name, None, of)
    one = _measure(name, 7.0 * count / nodes, of)
    return one if count >= FEWEST_INCIDENTS else one._replace(status=Status.OK)


def _measure(name: str, value: float | None, of: Limits, feature: str = "") -> Measure:
    if value is None or np.isnan(value):
        return Measure(name, feature, None, of.drifted, Status.OK)
    status = Status.OK
    if of.drifted is not None and value >= of.drifted:
        status = Status.DRIFTED
    elif value >= of.warning:
        status = Status.WARNING
    return Measure(name, feature, value, of.drifted, status)
