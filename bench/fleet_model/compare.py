"""Compares the shipped model with rivals on fleets whose faults are known: `python -m bench.fleet_model --seeds 1 2 3`.

All learn from the first week of the same rows, get their threshold from the last days of it (one window in a thousand
above), and judge every minute of the second week by the same rule: ten of twelve windows.
"""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import numpy as np
from sklearn.metrics import average_precision_score

from bench.fleet_model.fleets import DAY, START_MINUTE, TRAINED_DAYS, Judged, SimulatedFleet
from bench.fleet_model.reckoning import judged_incidents, persistent
from bench.fleet_model.rivals import RIVALS, Scorer
from functions.core.fleet_model.model import ALARM, NO_POOL, FleetModel
from functions.core.fleet_model.outliers import Course, Outliers, Scored
from functions.core.fleet_model.training import Split, fit, split
from functions.core.policy.incidents import Phase
from telemetry.layout import Floats

SHIPPED = "shipped"
_SCORED_EVERY = 5
"""Minutes, for precision, recall and the slow rivals' sake; incidents of rivals are looked for in the same windows."""


class Result(NamedTuple):
    """How one method did on one fleet."""

    average_precision: float
    recall: float
    """Share of faulty windows found where one healthy window in a thousand is above."""
    alarm_share: float
    """Share of healthy windows above its own threshold; a thousandth was asked for."""
    found: dict[str, list[bool]]
    """By kind of fault."""
    false_per_node_week: float
    us_per_window: float

    @property
    def events(self) -> float:
        """Share of faults found."""
        everything = [one for ones in self.found.values() for one in ones]
        return sum(everything) / max(len(everything), 1)


class Fleet(NamedTuple):
    """A fleet that was simulated, and the model of its first week."""

    simulated: SimulatedFleet
    parts: Split
    model: FleetModel
    judged: Judged


def fleet_of(nodes: int, seed: int) -> Fleet:
    """Simulates, and trains the shipped model."""
    simulated = SimulatedFleet(nodes, seed)
    parts = split(simulated.rows())
    return Fleet(simulated, parts, fit(parts, f"seed-{seed}"), simulated.judged())


def deviations(fleet: Fleet, minutes: Any, features: Floats) -> Floats:
    """(minutes, nodes, features) of windows; NaN is missing, and everything of a pool that is too small."""
    count = len(minutes)
    pools = fleet.model.pool_places([fleet.simulated.names[pool] for pool in fleet.simulated.pools])
    flat = features.reshape(-1, features.shape[2])
    when = START_MINUTE + np.repeat(minutes, fleet.simulated.nodes)
    found = fleet.model.deviations(np.tile(pools, count), when, flat)
    found[np.tile(pools, count) == NO_POOL] = np.nan
    return found.reshape(count, fleet.simulated.nodes, -1)


def compare(fleet: Fleet) -> dict[str, Result]:
    """Every method on one fleet."""
    times = TRAINED_DAYS * DAY + np.arange(0, len(fleet.judged.features), _SCORED_EVERY)
    z = deviations(fleet, times, fleet.judged.features[::_SCORED_EVERY])
    learnt = _of_rows(fleet, fleet.parts.learnt)
    held_out = _of_rows(fleet, fleet.parts.held_out)
    results = {SHIPPED: _result(fleet, lambda x: fleet.model.raw_scores(x), held_out, z)}
    for name, rival in RIVALS.items():
        results[name] = _result(fleet, rival(learnt), held_out, z)
    return results


def incidents(fleet: Fleet) -> tuple[dict[str, list[bool]], float, Floats]:
    """What the shipped rule tells minute by minute, with pool events: faults found, false ones, all scores."""
    judged, simulated = fleet.judged, fleet.simulated
    outliers, courses = Outliers(), [Course() for _ in range(simulated.nodes)]
    told: list[tuple[int, int]] = []
    scores = np.full(judged.faulty.shape, np.nan)
    for minute, features in enumerate(judged.features):
        at = START_MINUTE + TRAINED_DAYS * DAY + minute
        windows = [
            Scored(("sim", str(node)), simulated.names[simulated.pools[node]][1], at, courses[node])
            for node in np.flatnonzero(~np.isnan(features).all(axis=1)).tolist()
        ]
        verdicts = outliers.judge(fleet.model, windows, features[[int(one.key[1]) for one in windows]])
        for one, verdict in zip(windows, verdicts, strict=True):
            node = int(one.key[1])
            scores[minute, node] = np.nan if verdict.score is None else verdict.score
            if verdict.told is not None and verdict.told.phase is Phase.BEGIN:
                told.append((minute, node))
    return (*judged_incidents(told, judged), scores)


def _of_rows(fleet: Fleet, rows: Any) -> Floats:
    places = fleet.model.pool_places(list(rows.names))[rows.pools]
    return np.nan_to_num(fleet.model.deviations(places, rows.minutes, rows.features))


def _result(fleet: Fleet, scorer: Scorer, held_out: Floats, z: Floats) -> Result:
    threshold = float(np.quantile(scorer(held_out), ALARM))
    flat, gone = np.nan_to_num(z.reshape(-1, z.shape[2])), np.isnan(z).all(axis=2)
    began = time.perf_counter()
    score = np.concatenate([scorer(flat[start : start + 1_000]) for start in range(0, len(flat), 1_000)])
    spent = time.perf_counter() - began
    score = score.reshape(gone.shape)
    faulty = fleet.judged.faulty[::_SCORED_EVERY]
    healthy, ill = score[~faulty & ~gone], score[faulty & ~gone]
    above = (score > threshold) & ~gone
    told = [(_SCORED_EVERY * at, node) for at, node in persistent(above, _SCORED_EVERY)]
    found, false = judged_incidents(told, fleet.judged)
    return Result(
        float(average_precision_score(faulty[~gone], score[~gone])),
        float((ill > np.quantile(healthy, ALARM)).mean()),
        float((healthy > threshold).mean()),
        found,
        false,
        spent / len(flat) * 1e6,
    )
