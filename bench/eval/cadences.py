"""The part of the evaluation on series of any kind and cadence: the shipped score against what people use instead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from bench.eval.crew import Task, Tell
from bench.eval.rivals import RIVALS
from bench.eval.series import SHIPPED, named
from bench.eval.shipped import judge
from bench.eval.spoilt_series import CADENCES, HEALTHY, spoilt_series
from bench.eval.vus import vus_pr
from bench.figures import Figures

OF_EACH, QUICK_OF_EACH = 4, 1
"""Series of each kind."""
_JUDGING = 0.3
"""Share of the time."""


class OfCadence(NamedTuple):
    """How the detectors did on the series of one cadence."""

    cadence: str
    kinds: Sequence[str]
    """Of the series, in their order."""
    vus_pr: Mapping[str, Sequence[float]]
    """By detector, one per series."""

    def of_kind(self, kind: str, detector: str) -> list[float]:
        """A detector's, of the series of a kind."""
        return [volume for one, volume in zip(self.kinds, self.vus_pr[detector], strict=True) if one == kind]


def cadence_tasks(seed: int, *, quick: bool = False) -> list[Task]:
    """What is to be done for all cadences."""
    return [
        Task(score_cadence, (seed, name, QUICK_OF_EACH if quick else OF_EACH), float(cadence.points))
        for name, cadence in CADENCES.items()
    ]


def score_cadence(seed: int, cadence: str, of_each: int, tell: Tell) -> OfCadence:
    """Makes the series of a cadence and has all detectors judge them."""
    series = spoilt_series(seed, cadence, of_each)
    judged = judge(
        [one.time for one in series], [one.values for one in series], lambda done, of: tell(_JUDGING * done / of, 1.0)
    )
    values = np.stack([one.values for one in series])
    scores = {SHIPPED: [one.score for one in judged]}
    for name, rival in RIVALS.items():
        scores[name] = list(rival(values))
    begin = round(HEALTHY * values.shape[1])
    volumes: dict[str, list[float]] = {}
    for done, (name, of_detector) in enumerate(scores.items(), 1):
        volumes[name] = [
            vus_pr(score[begin:], one.labels[begin:]) for score, one in zip(of_detector, series, strict=True)
        ]
        tell(_JUDGING + (1.0 - _JUDGING) * done / len(scores), 1.0)
    return OfCadence(cadence, [one.kind for one in series], volumes)


def add_figures(figures: Figures, found: Sequence[OfCadence]) -> None:
    """The figures `eval.vus_pr_1min`, `eval.vus_pr_1min_knn` and so on."""
    for of_cadence in found:
        for name, volumes in of_cadence.vus_pr.items():
            figure = named(f"eval.vus_pr_{of_cadence.cadence}", name)
            figures.add(figure, float(np.mean(volumes)), f"of 1, mean of {len(volumes)} series of any kind")
