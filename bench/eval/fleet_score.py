"""Compares what was told of a fleet with what happened there.

A fault is found when something is told of its node between its start and GRACE after its end. What is told of a node
outside of its faults is a false alarm, one each, also during backups and deployments, also on the first day.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import NamedTuple

from bench.eval.schedule import DAY, Label
from local.fleet.faults import FAULTS
from telemetry.catalogue import DEVICE_CLASSES, NODE_METRICS
from telemetry.tables import FEATURES

GRACE = 900.0
"""Seconds: the decision may need some windows more, and the end of a fault is a change, too."""
WEEK = 7 * DAY


class Told(NamedTuple):
    """Somebody was told that something is wrong with a node."""

    node: int
    at: float
    """Seconds from the start: when it could be told at the earliest, which is when the last window was over."""
    kind: str
    metric: str
    id: str = ""
    """What has the same id was one notice to people, on however many nodes; empty: it was one of its own."""


class FaultOutcome(NamedTuple):
    """What became of one fault."""

    label: Label
    delay: float | None
    """Seconds from its start until it was told of; None: never."""
    told: int
    """How many times in all."""
    named: bool
    """Whether what was told first names a metric that this fault moves."""


class FalseAlarm(NamedTuple):
    """Told of a node without a fault; what has the same id as one before is none of its own."""

    told: Told
    during: str
    """The event that was going on, which is no fault; empty: none."""


class FleetTally(NamedTuple):
    """What it came to."""

    faults: list[FaultOutcome]
    false_alarms: list[FalseAlarm]
    node_weeks: float
    """Of nodes without a fault."""

    @property
    def first(self) -> list[FaultOutcome]:
        """Faults that their node has not had before."""
        return [one for one in self.faults if not one.label.again]

    @property
    def again(self) -> list[FaultOutcome]:
        """Faults that come back."""
        return [one for one in self.faults if one.label.again]

    @property
    def false_alarms_per_node_week(self) -> float:
        """While nodes had no fault."""
        return len(self.false_alarms) / self.node_weeks

    @property
    def recall_by_chance(self) -> float:
        """What recall would be expected if false alarms as many as there are were all, and fell on faults at random."""
        rate = self.false_alarms_per_node_week / WEEK
        hit = [1.0 - math.exp(-rate * (one.label.end + GRACE - one.label.start)) for one in self.first]
        return sum(hit) / len(hit) if hit else 0.0

    def of_kind(self, kind: str) -> KindTally:
        """The faults of one kind."""
        own = [one for one in self.first if one.label.kind == kind]
        found = [one for one in own if one.delay is not None]
        again = [one for one in self.again if one.label.kind == kind]
        delays = sorted(one.delay for one in found if one.delay is not None)
        return KindTally(
            len(own),
            len(found),
            median(delays) / 60 if delays else None,
            max(delays) / 60 if delays else None,
            sum(one.told for one in found) / len(found) if found else 0.0,
            sum(one.named for one in found),
            len(again),
            sum(one.delay is not None for one in again),
        )


def recall(outcomes: Sequence[FaultOutcome]) -> float:
    """Share of faults that were found; 0 of none."""
    return sum(one.delay is not None for one in outcomes) / len(outcomes) if outcomes else 0.0


class KindTally(NamedTuple):
    """Faults of one kind, where a node has it for the first time; delays in minutes."""

    faults: int
    found: int
    median_delay: float | None
    longest_delay: float | None
    told_per_fault: float
    named: int
    again: int
    """Times that it came back, ..."""
    found_again: int
    """... and that this was told."""


def tally(
    told: Sequence[Told], faults: Sequence[Label], events: Sequence[Label], *, nodes: int, seconds: float,
    also_excused: Sequence[Label] = (),
) -> FleetTally:  # fmt: skip
    """Scores what was told in `seconds` of a fleet; `also_excused` are faults that others are to find."""
    by_node: dict[int, list[Told]] = {}
    for one in sorted(told, key=lambda one: one.at):
        by_node.setdefault(one.node, []).append(one)
    outcomes = [_outcome(label, by_node.get(label.node, [])) for label in faults]
    excused: dict[int, list[tuple[float, float]]] = {}
    for label in (*faults, *also_excused):
        excused.setdefault(label.node, []).append((label.start, min(label.end + GRACE, seconds)))
    events_of: dict[int, list[Label]] = {}
    for label in events:
        events_of.setdefault(label.node, []).append(label)
    false = [
        FalseAlarm(one, _during(one, events_of.get(one.node, [])))
        for one in _first_of_each_id(told)
        if not any(start <= one.at <= end for start, end in excused.get(one.node, []))
    ]
    faulty = sum(_length(spans) for spans in excused.values())
    return FleetTally(outcomes, false, (nodes * seconds - faulty) / WEEK)


def _outcome(label: Label, told: Sequence[Told]) -> FaultOutcome:
    about = [one for one in told if label.start <= one.at <= label.end + GRACE]
    if not about:
        return FaultOutcome(label, None, 0, False)
    return FaultOutcome(label, about[0].at - label.start, len(about), about[0].metric in MOVED[label.kind])


def _first_of_each_id(told: Sequence[Told]) -> Iterator[Told]:
    known: set[str] = set()
    for one in sorted(told, key=lambda one: one.at):
        if one.id not in known:
            yield one
        if one.id:
            known.add(one.id)


def _during(told: Told, events: Sequence[Label]) -> str:
    return next((event.kind for event in events if event.start <= told.at <= event.end + GRACE), "")


def _length(spans: Sequence[tuple[float, float]]) -> float:
    """Of all spans together, what overlaps counted once."""
    total, reached = 0.0, float("-inf")
    for start, end in sorted(spans):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total


def _columns() -> dict[str, str]:
    """Metric keys as faults name them, and the features they make."""
    columns = {metric.key: metric.column for metric in NODE_METRICS}
    for device_class in DEVICE_CLASSES:
        columns |= {f"{device_class.key}.{metric.key}": metric.column for metric in device_class.metrics}
    return columns


_COLUMNS = _columns()
MOVED: Mapping[str, frozenset[str]] = {
    name: frozenset(_COLUMNS[key] for key in kind.affects).intersection(FEATURES) for name, kind in FAULTS.items()
}
"""By kind of fault: the features that it can move."""
