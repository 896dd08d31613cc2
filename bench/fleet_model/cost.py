"""What it costs to compare windows with their pools: `detect.fleet_us_per_node`."""

from __future__ import annotations

import time

import numpy as np

from bench.figures import Figures
from bench.fleet_model.fleets import SimulatedFleet
from functions.core.fleet_model.encoding import encode_model
from functions.core.fleet_model.model import FleetModel
from functions.core.fleet_model.outliers import Course, Outliers, Scored
from functions.core.fleet_model.training import fit, split
from telemetry.layout import Floats

NODES = 40
ROUNDS = 300


def fleet_cost_figures(figures: Figures) -> None:
    """Scores, persistence and pools, of batches of 100 and of 10 nodes; and how large a model is."""
    fleet = SimulatedFleet(NODES, 1, healthy=True)
    rows = fleet.rows(0, 1)
    model = fit(split(rows), "cost")
    for nodes, suffix in ((100, ""), (10, "_batch_of_10")):
        spent = _microseconds(model, fleet, rows.features, nodes)
        figures.add(f"detect.fleet_us_per_node{suffix}", spent, f"us, {nodes} nodes at once")
    figures.add("detect.fleet_model_bytes", len(encode_model(model)), f"B, {len(model.pools)} pools")


def _microseconds(model: FleetModel, fleet: SimulatedFleet, features: Floats, nodes: int) -> float:
    """Of the best round."""
    outliers, courses = Outliers(), [Course() for _ in range(nodes)]
    pools = [fleet.names[fleet.pools[node % NODES]][1] for node in range(nodes)]
    best = np.inf
    for turn in range(ROUNDS):
        first = turn * NODES % (len(features) - nodes)
        windows = [Scored(("sim", str(node)), pools[node], turn, courses[node]) for node in range(nodes)]
        began = time.perf_counter()
        outliers.judge(model, windows, features[first : first + nodes])
        best = min(best, time.perf_counter() - began)
    return best / nodes * 1e6
