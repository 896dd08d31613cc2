"""Labelled one-minute series of simulated nodes: what the shipped score is compared with rivals' on.

The rule, the same for every seed: nodes 0 to 27 of a simulated fleet, seven days, the nightly backup on all of them;
each node has one kind of fault, taken in turn from MAIN_METRICS, so four nodes have the same; it comes twice, with its
default duration and magnitude, at random between 3.2 and 4.7, and between 5.1 and 6.6 days. Of each node the series of
that kind's main metrics are taken, the whole of them: 60 series of 10,080 points. Faults of days (disk_filling_slowly)
and those that no metric shows are left to the evaluation of whole fleets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from bench.eval.crew import Tell
from bench.eval.layout import Flags
from bench.eval.minute_features import MINUTE_MS, START_MS, SimulatedNodes
from local.fleet.faults import FAULTS, Fault
from telemetry.layout import Floats
from telemetry.tables import FEATURES

MAIN_METRICS: Mapping[str, Sequence[str]] = {
    "cpu_runaway": ("CpuUtilization", "LoadAverage1m", "PressureCpuSome"),
    "memory_leak": ("MemoryUtilization", "MemoryAvailable"),
    "fd_leak": ("FileDescriptorUtilization",),
    "disk_filling_fast": ("FilesystemUtilization", "DiskWrite"),
    "packet_loss": ("NetworkReceiveDrops", "NetworkReceiveErrors"),
    "io_stall": ("DiskBusy", "PressureIoSome", "CpuIowait"),
    "noisy_neighbour": ("CpuSteal", "CpuUtilization"),
}
"""What who looks for a fault of this kind would look at."""
NODES, DAYS = 28, 7
FIRST_DAYS = (3.2, 5.1)
"""When the first and the second occurrence may begin at the earliest."""
WITHIN_DAYS = 1.5
_DAY = 86_400.0
_BACKUP_AFTER = 2 * 3_600.0


class SimulatedSeries(NamedTuple):
    """One metric of one node, with the node's faults."""

    fault: str
    metric: str
    node: int
    time: Floats
    """Epoch seconds."""
    values: Floats
    labels: Flags


def simulated_series(seed: int, nodes: Sequence[int], tell: Tell) -> list[SimulatedSeries]:
    """The series of some nodes under a seed."""
    faults = _faults(seed)
    minutes = round(DAYS * _DAY) * 1000 // MINUTE_MS
    fleet = SimulatedNodes(NODES, seed, nodes, [*faults, _backup()])
    parts = []
    for part in fleet.chunks(minutes):
        tell(part.first, minutes)
        parts.append(part.features)
    features = np.concatenate(parts)
    time = START_MS / 1000.0 + np.arange(minutes, dtype=np.float64) * 60.0
    found = []
    for place, node in enumerate(nodes):
        own = [fault for fault in faults if fault.nodes == (node,)]
        labels = np.zeros(minutes, np.bool_)
        for fault in own:
            labels[int(fault.after // 60) : int((fault.after + fault.duration) // 60) + 1] = True
        for metric in MAIN_METRICS[own[0].name]:
            values = features[:, place, FEATURES.index(metric)].copy()
            found.append(SimulatedSeries(own[0].name, metric, node, time, values, labels))
    return found


def _faults(seed: int) -> list[Fault]:
    random = np.random.default_rng(seed)
    kinds = [FAULTS[name] for name in MAIN_METRICS]
    return [
        kind((node,), (first + WITHIN_DAYS * random.random()) * _DAY, kind.default_duration, kind.default_magnitude)
        for node in range(NODES)
        for kind in (kinds[node % len(kinds)],)
        for first in FIRST_DAYS
    ]


def _backup() -> Fault:
    kind = FAULTS["nightly_backup"]
    return kind(tuple(range(NODES)), _BACKUP_AFTER, kind.default_duration, kind.default_magnitude)
