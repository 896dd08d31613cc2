"""Rows of small made-up fleets, as fleet models are trained with them: fast, seeded, with relations to break."""

import numpy as np

from functions.core.fleet_model.history import Rows
from telemetry.catalogue import NODE_METRICS
from telemetry.tables import FEATURES, SCORED, TOTALS

START = 29_832_480
"""Epoch minute of the first rows: midnight, UTC."""
CPU, RECEIVE, MEMORY, FILES, ERRORS, TEMPERATURE = (
    FEATURES.index(name)
    for name in (
        "CpuUtilization",
        "NetworkReceive",
        "MemoryUtilization",
        "FilesystemUtilization",
        "NetworkReceiveErrors",
        "Temperature",
    )
)
_METRICS = [*(NODE_METRICS[index] for index in SCORED), *(metric for _, _, metric in TOTALS)]
_SILENT = ("NetworkReceiveErrors", "NetworkTransmitErrors", "OomKills", "PressureMemoryFull")
POOL = ("c", "user")


def features(times, nodes, seed):
    """(times, nodes, FEATURES): everything follows a daily activity that each node has more or less of."""
    personal, random = np.random.default_rng(seed), np.random.default_rng([seed, int(times[0])])
    hour = times / 60 % 24
    activity = 0.35 + 0.15 * np.sin(hour / 24 * 2 * np.pi)[:, None] * np.ones(nodes)
    activity *= np.exp(0.15 * random.normal(size=(len(times), nodes)))
    found = np.zeros((len(times), nodes, len(FEATURES)))
    for place, metric in enumerate(_METRICS):
        size = {"1": 1.0, "By": 2e10, "By/s": 2e7}.get(metric.unit, 300.0)
        own = np.exp(0.05 * personal.normal(size=nodes))
        found[:, :, place] = size * activity * own * np.exp(0.04 * random.normal(size=activity.shape))
    for name in _SILENT:
        found[:, :, FEATURES.index(name)] = 0.0
    found[:, :, TEMPERATURE] = np.nan
    return found


def fleet_rows(nodes=8, hours=48, *, step=15, seed=1, pools=(POOL,), start=START, factor=1.0):
    """Rows of nodes that belong to the pools in turn; `factor` moves every level."""
    times = start + np.arange(0, hours * 60, step)
    found = factor * features(times, nodes, seed)
    number = np.tile(np.arange(nodes), len(times))
    return Rows(
        np.repeat(times, nodes).astype(np.intp),
        number.astype(np.intp),
        (number % len(pools)).astype(np.intp),
        tuple(pools),
        found.reshape(-1, len(FEATURES)),
    )
