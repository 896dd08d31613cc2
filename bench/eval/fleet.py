"""The simulated fleets' part of the evaluation: windows of all nodes, decisions on them, and what they were worth.

Nodes are divided into as many groups as the event hub has partitions in the local stack, whatever the number of
processes: what pools do together is known within a group only, as in Azure within an instance of the function app.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from bench.eval.crew import Task, Tell
from bench.eval.fleet_score import WEEK, FleetTally, KindTally, Told, recall, tally
from bench.eval.foreseeing import Foreseeing
from bench.eval.incidents import Incident
from bench.eval.minute_features import START_MS, SimulatedNodes
from bench.eval.schedule import DAY, FAULT_KINDS, WITHOUT_METRICS, Plan, labels
from bench.eval.silence_and_clocks import Heard, hear
from bench.eval.sources import PARTS, SOURCES
from bench.figures import Figures

GROUPS = 4
_FIRST_MINUTE = START_MS // 60_000
_HEARING = 0.3
"""How long silence and clocks take beside one group of nodes."""


class FleetResult(NamedTuple):
    """How the sources did on one fleet."""

    plan: Plan
    by_source: Mapping[str, FleetTally]
    """Faults that metrics show."""
    heard: Heard
    whole_nodes: FleetTally
    """Faults that no metric shows; not a source's business."""

    def recall(self, source: str) -> float:
        """Share of all faults of the plan that were found, those apart that a node has had before."""
        return recall([*self.by_source[source].first, *self.whole_nodes.first])

    def outcome_of(self, kind: str, source: str) -> KindTally:
        """How faults of a kind were found."""
        return (self.whole_nodes if kind in WITHOUT_METRICS else self.by_source[source]).of_kind(kind)


def fleet_tasks(plan: Plan, sources: Sequence[str]) -> list[Task]:
    """What is to be done for `fleet_result`."""
    groups = [tuple(range(group, plan.nodes, GROUPS)) for group in range(GROUPS)]
    return [*(Task(decide, (plan, own, sources)) for own in groups), Task(hear, (plan,), _HEARING)]


def fleet_result(plan: Plan, results: Sequence[Any]) -> FleetResult:
    """Scores what came of the tasks."""
    *groups, heard = results
    told = {source: [one for found in groups for one in found[source]] for source in groups[0]}
    faults = labels(plan.faults, plan.days, are_faults=True)
    events = labels(plan.faults, plan.days, are_faults=False)
    shown = [label for label in faults if label.kind not in WITHOUT_METRICS]
    others = [label for label in faults if label.kind in WITHOUT_METRICS]
    return FleetResult(
        plan,
        {
            source: tally(own, shown, events, nodes=plan.nodes, seconds=plan.days * DAY, also_excused=others)
            for source, own in told.items()
        },
        heard,
        tally(heard.told, heard.faults, [], nodes=plan.nodes, seconds=heard.seconds),
    )


def decide(plan: Plan, nodes: Sequence[int], sources: Sequence[str], tell: Tell) -> dict[str, list[Told]]:
    """What each source tells of some nodes, which get their windows minute by minute."""
    simulated = SimulatedNodes(plan.nodes, plan.seed, nodes, plan.faults)
    needed = dict.fromkeys(part for source in sources for part in PARTS.get(source, (source,)))
    deciding = {source: SOURCES[source](nodes) for source in needed}
    foreseeing = Foreseeing(nodes) if PARTS.keys() & set(sources) else None
    found: dict[str, list[Incident]] = {source: [] for source in needed}
    foreseen: list[Incident] = []
    for part in simulated.chunks(plan.minutes):
        tell(part.first, plan.minutes)
        for minute, windows in enumerate(part.features, part.first):
            present = np.flatnonzero(~np.isnan(windows).all(axis=1))
            features = windows[present]
            for name, source in deciding.items():
                found[name] += source.feed(_FIRST_MINUTE + minute, present, features)
        if foreseeing is not None:
            foreseen += foreseeing.feed(_FIRST_MINUTE + part.first, part.levels)
    for whole, parts in PARTS.items():
        if whole in sources:
            found[whole] = [*foreseen, *(one for part in parts for one in found[part])]
    return {source: [_told(one, nodes) for one in found[source]] for source in sources}


def _told(one: Incident, nodes: Sequence[int]) -> Told:
    return Told(nodes[one.node], (one.minute - _FIRST_MINUTE + 1) * 60.0, one.kind, one.metric, one.id)


def add_figures(figures: Figures, result: FleetResult, product: str) -> None:
    """The figures `eval.fleet_*`: the product's, then those of what it is compared with."""
    for source in sorted(result.by_source, key=lambda name: name != product):
        found, suffix = result.by_source[source], "" if source == product else f"_{source}"
        faults = len(found.first) + len(result.whole_nodes.first)
        figures.add(f"eval.fleet_recall{suffix}", result.recall(source), f"of {faults} faults")
        figures.add(f"eval.fleet_recall_in_metrics{suffix}", recall(found.first), f"of {len(found.first)} faults")
        figures.add(f"eval.fleet_recall_again{suffix}", recall(found.again), f"of {len(found.again)} that came back")
        figures.add(f"eval.fleet_recall_by_chance{suffix}", found.recall_by_chance, "of the same, with as many alarms")
        rate = f"eval.fleet_false_alarms_per_node_week{suffix}"
        figures.add(rate, found.false_alarms_per_node_week, f"{len(found.false_alarms)} in all")
        figures.add(f"{rate}_later", _later_rate(result, found), "in the second half")
    for kind in FAULT_KINDS:
        _add_kind(figures, kind, result.outcome_of(kind, product))
    figures.add(
        "eval.fleet_false_silences", len(result.whole_nodes.false_alarms), "nodes said to be silent that were not"
    )


def _add_kind(figures: Figures, kind: str, found: KindTally) -> None:
    if found.faults:
        figures.add(f"eval.fleet_recall_{kind}", found.found / found.faults, f"of {found.faults}")
    if found.again:
        figures.add(f"eval.fleet_recall_again_{kind}", found.found_again / found.again, f"of {found.again}")
    if found.median_delay is not None:
        figures.add(f"eval.fleet_delay_{kind}", found.median_delay, "min, median")


def _later_rate(result: FleetResult, found: FleetTally) -> float:
    """False alarms per node-week in the second half, when nodes are known; all faults are in that half."""
    half = result.plan.days * DAY / 2
    late = sum(one.told.at >= half for one in found.false_alarms)
    return late / (found.node_weeks - result.plan.nodes * half / WEEK)
