"""The simulated series' part of the evaluation: the shipped score against what people use instead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from bench.eval.event_f1 import Events, best_events, events, found_by_turn, together
from bench.eval.progress import Progress
from bench.eval.rivals import RIVALS
from bench.eval.shipped import Judged, judge
from bench.eval.simulated_series import SimulatedSeries, simulated_series
from bench.eval.vus import vus_pr
from bench.figures import Figures
from telemetry.layout import Floats

SHIPPED = "shipped"
LEARNING = 1_440
"""Points at the beginning that are not scored, for any detector: the first day, on which there is no fault."""


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


def compare(seed: int, progress: Progress) -> Compared:
    """Makes the series of a seed and has all detectors judge them."""
    progress.step(f"simulated series, seed {seed}")
    series = simulated_series(seed, progress)
    judged = judge(
        [one.time for one in series],
        [one.values for one in series],
        lambda done, total: progress.part("simulated series: judging them", done, total),
    )
    scores: dict[str, Sequence[Floats]] = {SHIPPED: [one.score for one in judged]}
    values = np.stack([one.values for one in series])
    for name, rival in RIVALS.items():
        progress.step(f"simulated series: {name}")
        scores[name] = list(rival(values))
    labels = [one.labels[LEARNING:] for one in series]
    volumes, exact, best = {}, {}, {}
    for name, whole in scores.items():
        found = [score[LEARNING:] for score in whole]
        progress.step(f"simulated series: scoring {name}")
        volumes[name] = [vus_pr(score, label) for score, label in zip(found, labels, strict=True)]
        exact[name] = [vus_pr(score, label, exact=True) for score, label in zip(found, labels, strict=True)]
        best[name] = best_events(found, labels)
    alarms = together([events(one.alarm[LEARNING:], label) for one, label in zip(judged, labels, strict=True)])
    by_turn = [found_by_turn(one.alarm[LEARNING:], label) for one, label in zip(judged, labels, strict=True)]
    return Compared(series, judged, volumes, exact, alarms, by_turn, best)


def add_figures(figures: Figures, compared: Compared) -> None:
    """The figures `eval.vus_pr*` and `eval.event_*`."""
    count = len(compared.series)
    for name, volumes in compared.vus_pr.items():
        figures.add(_named("eval.vus_pr", name), float(np.mean(volumes)), f"of 1, mean of {count} series")
    figures.add("eval.vus_pr_random", compared.base_rate, "of 1, about")
    for name, volumes in compared.exact.items():
        figures.add(_named("eval.vus_pr_exact", name), float(np.mean(volumes)), "of 1, every threshold")
    found = compared.alarms
    figures.add("eval.event_f1", found.f1, "at the shipped threshold")
    figures.add("eval.event_recall", found.found / (found.found + found.missed), "of events")
    for turn, name in enumerate(("first", "again")):
        figures.add(f"eval.event_recall_{name}", float(np.mean([turns[turn] for turns in compared.by_turn])), "of them")
    figures.add("eval.event_false_slots_per_week", found.false_slots / found.slots * 168, "hours per series")
    for name, (_, most) in compared.best.items():
        figures.add(f"eval.event_f1_best_{name}", most.f1, "at the best threshold in hindsight")


def _named(figure: str, detector: str) -> str:
    return figure if detector == SHIPPED else f"{figure}_{detector}"
