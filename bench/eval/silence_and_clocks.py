"""Faults that no metric shows, a node that is gone and a clock that is wrong, through the function app's own core.

Real envelopes of the whole fleet go through ingest, and sweep runs on its schedule, both on a clock that is the
simulation's. The faults are those of the plan, on the same nodes, as long and as strong, moved together into a few
hours, since every minute of this costs as much as an hour of the rest. What counts is what NodeAnomalies_CL then says
of a node as a whole, without a metric.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

from bench.eval.crew import Tell
from bench.eval.fleet_score import GRACE, Told
from bench.eval.minute_features import START_MS
from bench.eval.schedule import WITHOUT_METRICS, Label, Plan, labels
from functions.adapters.memory import MemoryDeadLetters, MemoryMaintenanceCalendar, MemoryRowSink, MemoryStateStore
from functions.core.ingest import Ingest
from functions.core.ports import Event, Position
from functions.core.sweep import Sweep
from functions.core.watch import Watch
from local.fleet.faults import Fault
from local.fleet.model import Due, FleetModel
from local.fleet.pools import node_name
from telemetry.errors import StateConflict
from telemetry.tables import NODE_ANOMALIES_TABLE

SILENT_AFTER_MS = 180_000
"""The default of SILENT_AFTER_SECONDS."""
SWEEP_MS = 30_000
"""The schedule of functions/bindings/sweep.py."""
_LEAD, _APART = 600.0, 40.0
"""Seconds before the first fault, and from one to the next."""


class Heard(NamedTuple):
    """What the core said of whole nodes."""

    faults: list[Label]
    """Where the plan's faults were moved to."""
    told: list[Told]
    dead_letters: int
    seconds: float


def hear(plan: Plan, tell: Tell) -> Heard:
    """Sends the envelopes of the plan's nodes while those faults go on."""
    faults = list(_moved(plan))
    seconds = max((fault.after + fault.duration for fault in faults), default=0.0) + GRACE
    model = FleetModel(plan.nodes, plan.seed, start_ms=START_MS, faults=faults)
    store, sink, dead_letters = MemoryStateStore(), MemoryRowSink(), MemoryDeadLetters()
    ingest = Ingest(store, sink, dead_letters, Watch())
    sweep = Sweep(store, sink, MemoryMaintenanceCalendar(), silent_after_ms=SILENT_AFTER_MS)
    index = {node_name(node): node for node in range(plan.nodes)}
    told: list[Told] = []
    for now, dues in _rounds(model, seconds):
        tell((now - START_MS) / 1000, seconds)
        _run(ingest, [_event(due, number) for number, due in enumerate(dues)])
        sweep.run(now)
        for row in map(json.loads, sink.tables.pop(NODE_ANOMALIES_TABLE, [])):
            if not row["Metric"] and row["State"] == "begin":
                told.append(Told(index[row["Node"]], (now - START_MS) / 1000, row["Kind"], ""))
        sink.tables.clear()
    return Heard(labels(faults, seconds / 86_400.0, are_faults=True), told, len(dead_letters.letters), seconds)


def _run(ingest: Ingest, events: list[Event]) -> None:
    """As the trigger's retry does: a node that sweep has marked is loaded anew."""
    try:
        ingest.run(events)
    except StateConflict:
        ingest.run(events)


def _moved(plan: Plan) -> Iterator[Fault]:
    """Each node's first one, for they would overlap."""
    after = _LEAD
    moved: set[int] = set()
    for fault in plan.faults:
        if fault.name in WITHOUT_METRICS and moved.isdisjoint(fault.nodes):
            moved.update(fault.nodes)
            yield replace(fault, after=after)
            after += _APART


def _rounds(model: FleetModel, seconds: float) -> Iterator[tuple[int, list[Due]]]:
    """Moments at which sweep runs, and the envelopes that came since the last one."""
    now = START_MS + SWEEP_MS
    waiting: list[Due] = []
    for due in model.envelopes(START_MS + round(seconds * 1000)):
        while due.at_ms > now:
            yield now, waiting
            now, waiting = now + SWEEP_MS, []
        waiting.append(due)
    yield now, waiting


def _event(due: Due, number: int) -> Event:
    body = json.dumps(due.envelope.document(), separators=(",", ":")).encode()
    return Event(body, Position("eval", "0", due.at_ms * 1000 + number, due.at_ms))
