"""The simulated series' part of the evaluation: the shipped score against what people use instead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from bench.eval.crew import Task, Tell
from bench.eval.event_f1 import Events, best_events, events, found_by_turn, together
from bench.eval.rivals import RIVALS
from bench.eval.shipped import Judged, judge
from bench.eval.simulated_series import MAIN_METRICS, NODES, SimulatedSeries, simulated_series
from bench.eval.vus import vus_pr
from bench.figures import Figures
from telemetry.layout import Floats

SHIPPED = "shipped"
LEARNING = 1_440
"""Points at the beginning that are not scored, for any detector: the first day, on which there is no fault."""
_GROUPS = 2
_MAKING, _JUDGING, _RIVALS = 0.25, 0.15, 0.25
"""Shares of the time."""


class Compared(NamedTuple):
    """Series, what the shipped detectors said of them, and how they and the rivals did."""

    series: list[SimulatedSeries]
    judged: list[Judged]
    vus_pr: Mapping[str, list[float]]
    """By detector, one per series; in the published form."""
    exact: Mapping[str, list[float]]
    """The same with every value of the score as a threshold."""
    alarms: Events
    """Of the shipped alarms, as they are."""
    by_turn: list[list[bool]]
    """Of each series' first and second fault whether an alarm found it."""
    best: Mapping[str, tuple[float, Events]]
    """By detector: threshold and events at the threshold that is best in hindsight."""

    @property
    def base_rate(self) -> float:
        """Share of points that are labelled: about what a random score gets."""
        return float(np.mean([one.labels[LEARNING:].mean() for one in self.series]))


class Scored(NamedTuple):
    """One series, and what all detectors said of it."""

    series: SimulatedSeries
    judged: Judged
    scores: Mapping[str, Floats]
    """By detector."""
    vus_pr: Mapping[str, float]
    exact: Mapping[str, float]


def series_tasks(seed: int, *, quick: bool = False) -> list[Task]:
    """What is to be done for `compared`: some nodes each; quickly, one node of each kind of fault."""
    if quick:
        return [Task(score_nodes, (seed, range(len(MAIN_METRICS))))]
    step = NODES // _GROUPS
    return [Task(score_nodes, (seed, range(first, first + step))) for first in range(0, NODES, step)]


def score_nodes(seed: int, nodes: Sequence[int], tell: Tell) -> list[Scored]:
    """Makes the series of some nodes, and has all detectors judge them."""
    series = simulated_series(seed, nodes, lambda done, of: tell(_MAKING * done / of, 1.0))
    judged = judge(
        [one.time for one in series],
        [one.values for one in series],
        lambda done, of: tell(_MAKING + _JUDGING * done / of, 1.0),
    )
    values = np.stack([one.values for one in series])
    scores: dict[str, Sequence[Floats]] = {SHIPPED: [one.score for one in judged]}
    for name, rival in RIVALS.items():
        scores[name] = list(rival(values))
    found = []
    before = _MAKING + _JUDGING + _RIVALS
    for place, one in enumerate(series):
        tell(before + (1.0 - before) * place / len(series), 1.0)
        own, labels = {name: of[place] for name, of in scores.items()}, one.labels[LEARNING:]
        found.append(
            Scored(
                one,
                judged[place],
                own,
                {name: vus_pr(score[LEARNING:], labels) for name, score in own.items()},
                {name: vus_pr(score[LEARNING:], labels, exact=True) for name, score in own.items()},
            )
        )
    return found


def compared(results: Sequence[Sequence[Scored]]) -> Compared:
    """How the detectors did on all series together."""
    every = [one for part in results for one in part]
    labels = [one.series.labels[LEARNING:] for one in every]
    alarms = [one.judged.alarm[LEARNING:] for one in every]
    names = list(every[0].scores)
    return Compared(
        [one.series for one in every],
        [one.judged for one in every],
        {name: [one.vus_pr[name] for one in every] for name in names},
        {name: [one.exact[name] for one in every] for name in names},
        together([events(one, label) for one, label in zip(alarms, labels, strict=True)]),
        [found_by_turn(one, label) for one, label in zip(alarms, labels, strict=True)],
        {name: best_events([one.scores[name][LEARNING:] for one in every], labels) for name in names},
    )


def add_figures(figures: Figures, found: Compared) -> None:
    """The figures `eval.vus_pr*` and `eval.event_*`."""
    count = len(found.series)
    for name, volumes in found.vus_pr.items():
        figures.add(named("eval.vus_pr", name), float(np.mean(volumes)), f"of 1, mean of {count} series")
    figures.add("eval.vus_pr_random", found.base_rate, "of 1, about")
    for name, volumes in found.exact.items():
        figures.add(named("eval.vus_pr_exact", name), float(np.mean(volumes)), "of 1, every threshold")
    alarms = found.alarms
    figures.add("eval.event_f1", alarms.f1, "at the shipped threshold")
    figures.add("eval.event_recall", alarms.found / (alarms.found + alarms.missed), "of events")
    for turn, name in enumerate(("first", "again")):
        figures.add(f"eval.event_recall_{name}", float(np.mean([turns[turn] for turns in found.by_turn])), "of them")
    figures.add("eval.event_false_slots_per_week", alarms.false_slots / max(alarms.slots, 1) * 168, "hours per series")
    for name, (_, most) in found.best.items():
        figures.add(f"eval.event_f1_best_{name}", most.f1, "at the best threshold in hindsight")
        rate = most.false_slots / max(most.slots, 1) * 168
        figures.add(f"eval.event_false_slots_per_week_best_{name}", rate, "hours per series, at that threshold")


def named(figure: str, detector: str) -> str:
    return figure if detector == SHIPPED else f"{figure}_{detector}"
