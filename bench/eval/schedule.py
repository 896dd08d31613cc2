"""What goes wrong in a simulated fleet, and what only looks like it: drawn from a seed, by one rule.

Half of the nodes, drawn at random, have a fault each, of all kinds in equal numbers; the others stay healthy. Faults
begin in the second half of the time, at random, and end before it ends. Durations and magnitudes are the simulator's
defaults times a factor from 1/SPREAD to SPREAD (clocks go wrong in both directions). Every second node with a fault
that lasts hours at most has it once more, later; that is counted apart. Every night all nodes are backed up; every
other working day a deployment wave goes over all of them, in office hours. Neither is a fault.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from bench.eval.minute_features import MINUTE_MS
from local.fleet.faults import FAULTS, Fault

DAY, HOUR = 86_400.0, 3_600.0
SPREAD = 1.4
_LAST_HOUR = HOUR
"""Before the end, in which no fault is going on any more."""
_APART = 6 * HOUR
"""From one time to the next, at least."""
_WORKING_DAYS = 5
FAULT_KINDS = tuple(name for name, kind in FAULTS.items() if kind.is_fault)
WITHOUT_METRICS = frozenset({"clock_step", "node_gone"})
"""What no metric shows: seen, if at all, by when and how envelopes arrive."""


class Plan(NamedTuple):
    """One simulated fleet."""

    nodes: int
    days: float
    seed: int
    faults: tuple[Fault, ...]
    """And events that are none."""

    @property
    def minutes(self) -> int:
        """How long it lasts."""
        return round(self.days * DAY * 1000) // MINUTE_MS


class Label(NamedTuple):
    """Ground truth: what a node had, from when to when, in seconds from the start."""

    node: int
    kind: str
    start: float
    end: float
    magnitude: float
    again: bool = False
    """Whether the node has had the same before."""


def plan(nodes: int, days: float, seed: int) -> Plan:
    """The fleet of a seed."""
    random = np.random.default_rng([seed, nodes])
    begin, end = days * DAY / 2, days * DAY - _LAST_HOUR
    middle = (begin + end) / 2
    faults: list[Fault] = []
    for turn, node in enumerate(random.permutation(nodes)[: nodes // 2].tolist()):
        kind = FAULTS[FAULT_KINDS[turn % len(FAULT_KINDS)]]
        longer, stronger = np.exp(random.uniform(-np.log(SPREAD), np.log(SPREAD), 2)).tolist()
        duration = min(kind.default_duration * longer, end - begin)
        magnitude = min(kind.default_magnitude * stronger, kind.magnitude_range[1])
        if kind.name == "clock_step" and random.random() < 0.5:
            magnitude = -magnitude
        comes_again = turn // len(FAULT_KINDS) % 2 == 1 and duration < middle - begin - _APART
        latest = (middle if comes_again else end) - duration
        faults.append(kind((node,), random.uniform(begin, latest), duration, magnitude))
        if comes_again:
            faults.append(kind((node,), random.uniform(middle + _APART, end - duration), duration, magnitude))
    return Plan(nodes, days, seed, (*faults, *_events(nodes, days, random)))


def _events(nodes: int, days: float, random: np.random.Generator) -> Iterator[Fault]:
    everyone = tuple(range(nodes))
    backup, wave = FAULTS["nightly_backup"], FAULTS["deployment_wave"]
    yield backup(everyone, random.uniform(0.0, 5.0) * HOUR, backup.default_duration, backup.default_magnitude)
    for day in range(0, int(days), 2):
        if day % 7 < _WORKING_DAYS:  # the simulation starts on a Monday
            at = day * DAY + random.uniform(8.0, 17.0) * HOUR
            yield wave(everyone, at, wave.default_duration, wave.default_magnitude)


def labels(faults: Sequence[Fault], days: float, *, are_faults: bool) -> list[Label]:
    """What the nodes had: faults, or events that are none."""
    found: list[Label] = []
    had: set[tuple[int, str]] = set()
    for fault in sorted(faults, key=lambda fault: fault.after):
        if fault.is_fault == are_faults:
            for node in fault.nodes:
                for start, end in fault.windows(node, days * DAY):
                    found.append(Label(node, fault.name, start, end, fault.magnitude, (node, fault.name) in had))
                    had.add((node, fault.name))
    return found
