"""The simulated fleets' part of the evaluation: windows of all nodes, decisions on them, and what they were worth.

Nodes are divided into groups, as Event Hubs divides them over partitions, and groups over processes.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import NamedTuple

import numpy as np

from bench.eval.fleet_score import WEEK, FleetTally, KindTally, Told, recall, tally
from bench.eval.minute_features import START_MS, SimulatedNodes
from bench.eval.progress import Progress
from bench.eval.schedule import DAY, FAULT_KINDS, WITHOUT_METRICS, Plan, labels
from bench.eval.silence_and_clocks import Heard, hear
from bench.eval.sources import SOURCES
from bench.figures import Figures

_FIRST_MINUTE = START_MS // 60_000
_GROUPS_PER_JOB = 4


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


def evaluate_fleet(plan: Plan, sources: Sequence[str], jobs: int, progress: Progress) -> FleetResult:
    """Simulates the plan's fleet and has every source decide on the same windows."""
    progress.step(f"simulated fleet: {plan.nodes} nodes, {plan.days:g} days, seed {plan.seed}, {', '.join(sources)}")
    told = told_by(plan, sources, jobs, progress)
    faults = labels(plan.faults, plan.days, are_faults=True)
    events = labels(plan.faults, plan.days, are_faults=False)
    shown = [label for label in faults if label.kind not in WITHOUT_METRICS]
    others = [label for label in faults if label.kind in WITHOUT_METRICS]
    progress.step("simulated fleet: silence and clocks")
    heard = hear(plan, progress)
    return FleetResult(
        plan,
        {
            source: tally(own, shown, events, nodes=plan.nodes, seconds=plan.days * DAY, also_excused=others)
            for source, own in told.items()
        },
        heard,
        tally(heard.told, heard.faults, [], nodes=plan.nodes, seconds=heard.seconds),
    )


def told_by(plan: Plan, sources: Sequence[str], jobs: int, progress: Progress) -> dict[str, list[Told]]:
    """What each source tells of the plan's nodes."""
    told: dict[str, list[Told]] = {source: [] for source in sources}
    for found in _all_groups(plan, sources, jobs, progress):
        for source, more in found.items():
            told[source] += more
    return told


def _all_groups(
    plan: Plan, sources: Sequence[str], jobs: int, progress: Progress
) -> Iterator[Mapping[str, list[Told]]]:
    groups = min(jobs * _GROUPS_PER_JOB, plan.nodes)
    nodes = [tuple(range(group, plan.nodes, groups)) for group in range(groups)]
    if jobs == 1:
        for number, own in enumerate(nodes):
            tell = _part_of(progress, number, groups, plan.minutes)
            yield decide(plan, own, sources, tell)
        return
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        futures = [pool.submit(decide, plan, own, sources) for own in nodes]
        for done, future in enumerate(as_completed(futures), 1):
            yield future.result()
            progress.part("simulated fleet", done, groups)


def _part_of(progress: Progress, group: int, groups: int, minutes: int) -> Callable[[int], None]:
    return lambda minute: progress.part("simulated fleet", group * minutes + minute, groups * minutes)


def decide(
    plan: Plan, nodes: Sequence[int], sources: Sequence[str], tell: Callable[[int], None] = lambda minute: None
) -> dict[str, list[Told]]:
    """What each source tells of some nodes, which get their windows minute by minute."""
    simulated = SimulatedNodes(plan.nodes, plan.seed, nodes, plan.faults)
    deciding = {source: SOURCES[source](nodes) for source in sources}
    told: dict[str, list[Told]] = {source: [] for source in sources}
    for part in simulated.chunks(plan.minutes):
        tell(part.first)
        for minute, windows in enumerate(part.features, part.first):
            present = np.flatnonzero(~np.isnan(windows).all(axis=1))
            features = windows[present]
            for name, source in deciding.items():
                told[name] += [
                    Told(nodes[one.node], (one.minute - _FIRST_MINUTE + 1) * 60.0, one.kind, one.metric, one.id)
                    for one in source.feed(_FIRST_MINUTE + minute, present, features)
                ]
    return told


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
        of_kind = result.outcome_of(kind, product)
        if of_kind.faults:
            figures.add(f"eval.fleet_recall_{kind}", of_kind.found / of_kind.faults, f"of {of_kind.faults}")
        if of_kind.median_delay is not None:
            figures.add(f"eval.fleet_delay_{kind}", of_kind.median_delay, "min, median")
    figures.add(
        "eval.fleet_false_silences", len(result.whole_nodes.false_alarms), "nodes said to be silent that were not"
    )


def _later_rate(result: FleetResult, found: FleetTally) -> float:
    """False alarms per node-week in the second half, when nodes are known; all faults are in that half."""
    half = result.plan.days * DAY / 2
    late = sum(one.told.at >= half for one in found.false_alarms)
    return late / (found.node_weeks - result.plan.nodes * half / WEEK)
