"""How often a healthy fleet is said to have drifted: the model of its first week, checked every day of the second."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from bench.fleet_model.fleets import DAY, DAYS, START_MINUTE, TRAINED_DAYS, SimulatedFleet
from functions.core.fleet_model.health import Incidents, Measure, Status, measures_of, reasons
from functions.core.fleet_model.training import fit, split

GROWTH = (1.1, 1.25, 1.5)
"""Factors of every feature: a fleet that is not what it was."""


class Checks(NamedTuple):
    """What the checks of one fleet said."""

    days: int
    drifted: list[str]
    """Why, of every day on which the model was said to have drifted."""
    measures: list[Measure]
    """Of all days."""

    @property
    def features_drifted(self) -> float:
        """Share of features said to have drifted, of all days."""
        of_features = [one for one in self.measures if one.name == "input_psi"]
        return sum(one.status is Status.DRIFTED for one in of_features) / len(of_features)

    @property
    def beyond_convention(self) -> float:
        """Share of features beyond the conventional 0.25, whatever their own limit."""
        of_features = [one for one in self.measures if one.name == "input_psi"]
        return sum(one.value is not None and one.value > 0.25 for one in of_features) / len(of_features)


def checks(nodes: int, seed: int) -> tuple[Checks, dict[float, int]]:
    """Simulates a fleet without faults and checks it; by GROWTH, on how many days it drifts if all grows so."""
    simulated = SimulatedFleet(nodes, seed, healthy=True)
    trained = (START_MINUTE + TRAINED_DAYS * DAY) * 60_000
    model = fit(split(simulated.rows()), f"seed-{seed}", {"trained_ms": trained})
    drifted, measures = [], []
    grown = dict.fromkeys(GROWTH, 0)
    for day in range(TRAINED_DAYS, DAYS):
        now = (START_MINUTE + (day + 1) * DAY) * 60_000
        rows = simulated.rows(day, day + 1)
        found = measures_of(model, rows, Incidents(nodes, 0, 0), now)
        measures += found
        why = reasons(found)
        if why:
            drifted.append(f"day {day}: {why}")
        for factor in GROWTH:
            more = replace(rows, features=factor * rows.features)
            grown[factor] += bool(reasons(measures_of(model, more, Incidents(nodes, 0, 0), now)))
    return Checks(DAYS - TRAINED_DAYS, drifted, measures), grown
