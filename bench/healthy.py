"""How rare an alarm is where nothing is wrong: series of many kinds, generated, and how often they raise one.

    python -m bench.healthy [--series 20] [--seed 1]

prints `name value unit`, and the table of docs/detection.md with `--table`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from bench.figures import Figures
from functions.core.detectors.series_state import new_states
from functions.core.detectors.streaming import INCIDENT, THRESHOLD, update
from telemetry.layout import Floats

DAY, WEEK = 86_400, 604_800
WEEKS = 4
STEPS = {"1 min": 60, "5 min": 300}
EVIDENCE = (THRESHOLD, 2.0, 3.0, 4.0)
"""The first is that of the alarms."""
START = 2_900 * WEEK + 4 * DAY
"""A Monday."""


class Maker(NamedTuple):
    """Makes healthy series, (points, series), of points every `step` seconds."""

    random: np.random.Generator
    points: int
    series: int
    step: int

    @property
    def time(self) -> Floats:
        """Epoch seconds, (points, 1)."""
        return (START + self.step * np.arange(self.points, dtype=np.float64))[:, None]

    def white(self) -> Floats:
        """Normal, every point anew."""
        return 10.0 + self.random.normal(size=(self.points, self.series))

    def autoregressive(self, memory: float) -> Floats:
        """Normal, each point much like the one before it."""
        found = self.random.normal(size=(self.points, self.series))
        for point in range(1, self.points):
            found[point] = memory * found[point - 1] + np.sqrt(1.0 - memory**2) * found[point]
        return found

    def daily(self) -> Floats:
        """A wave a day, and noise that lasts."""
        phase = self.random.random(self.series)
        return 10.0 + 3.0 * np.sin(2 * np.pi * (self.time / DAY + phase)) + 0.5 * self.autoregressive(0.9)

    def weekly(self) -> Floats:
        """Humps before and after noon on workdays; a fifth of them at the weekend."""
        hour = self.time % DAY / 3600.0
        humps = np.exp(-0.5 * ((hour - 10.0) / 2.0) ** 2) + np.exp(-0.5 * ((hour - 15.0) / 2.5) ** 2)
        weekend = (self.time - START) // DAY % 7 >= 5
        return 10.0 + 5.0 * humps * np.where(weekend, 0.2, 1.0) + 0.5 * self.autoregressive(0.9)

    def bursts(self) -> Floats:
        """Near zero, with bursts of five points now and then."""
        size = (self.points, self.series)
        begin = (self.random.random(size) < 1 / 200) * self.random.exponential(5.0, size)
        burst = begin.copy()
        for later in range(1, 5):
            burst[later:] += begin[:-later]
        return burst + 0.3 * np.abs(self.random.normal(size=size))

    def saw_tooth(self) -> Floats:
        """Grows steadily for hours, drops to nothing, begins again."""
        period = self.random.integers(150, 400, self.series)
        place = (np.arange(self.points)[:, None] + self.random.integers(0, 400, self.series)) % period
        return 10.0 * place / period + 0.2 * self.random.normal(size=(self.points, self.series))

    def counter(self) -> Floats:
        """Grows for two hours, rests for four, restarts at zero every three days or so."""
        size = (self.points, self.series)
        hours = self.step / 3600.0
        busy = np.zeros(size, np.bool_)
        value = np.zeros(size)
        switch, restart = self.random.random(size), self.random.random(size) < hours / 72.0
        growth = self.random.exponential(1.0, size)
        for point in range(1, self.points):
            leave = np.where(busy[point - 1], hours / 2.0, hours / 4.0)
            busy[point] = busy[point - 1] ^ (switch[point] < leave)
            value[point] = np.where(restart[point], 0.0, value[point - 1] + busy[point] * growth[point])
        return value

    def walk(self) -> Floats:
        """Goes anywhere, and never has to come back."""
        return np.cumsum(self.random.normal(size=(self.points, self.series)), axis=0)


KINDS: Mapping[str, Callable[[Maker], Floats]] = {
    "white noise": Maker.white,
    "autoregressive, 0.9": lambda maker: 10.0 + maker.autoregressive(0.9),
    "autoregressive, 0.99": lambda maker: 10.0 + maker.autoregressive(0.99),
    "daily season": Maker.daily,
    "weekly season": Maker.weekly,
    "heavy tails (t, 3 degrees)": lambda maker: 10.0 + maker.random.standard_t(3, (maker.points, maker.series)),
    "counts (Poisson, 2)": lambda maker: maker.random.poisson(2.0, (maker.points, maker.series)).astype(np.float64),
    "bursts": Maker.bursts,
    "saw-tooth": Maker.saw_tooth,
    "in steps of 0.01": lambda maker: np.round(0.5 + 0.015 * maker.autoregressive(0.9), 2),
    "counter with plateaus": Maker.counter,
    "random walk": Maker.walk,
}


class Rate(NamedTuple):
    """Incidents per series and week, week by week, of one kind at one step, for each of EVIDENCE."""

    kind: str
    step: str
    weekly: Floats
    """(EVIDENCE, weeks)"""


def rates(series: int, seed: int, tell: Callable[[str], None], weeks: int = WEEKS) -> list[Rate]:
    """Has the shipped detectors judge healthy series of every kind, each with points every minute and every five."""
    found = []
    for name, step in STEPS.items():
        for place, (kind, make) in enumerate(KINDS.items()):
            tell(f"healthy series, {name}: {kind}")
            maker = Maker(np.random.default_rng([seed, step, place]), weeks * WEEK // step, series, step)
            found.append(Rate(kind, name, _incidents(make(maker), maker, weeks) / series))
    return found


def _incidents(x: Floats, maker: Maker, weeks: int) -> Floats:
    """Alarms, and how often evidence goes beyond the others of EVIDENCE after INCIDENT points without, by week."""
    states = new_states(x.shape[1])
    limits = np.array(EVIDENCE)[:, None]
    quiet = np.full((len(EVIDENCE), x.shape[1]), np.inf)
    found = np.zeros((len(EVIDENCE), weeks))
    for point, time in enumerate(maker.time[:, 0]):
        verdict = update(states, np.full(x.shape[1], time), x[point])
        over = verdict.evidence > limits
        begun = over & (quiet >= INCIDENT)
        begun[0] = verdict.alarm
        found[:, int(time - START) // WEEK] += begun.sum(axis=1)
        quiet = np.where(over, 0.0, quiet + 1.0)
    return found


def healthy_figures(figures: Figures, found: Sequence[Rate]) -> None:
    """The figures `eval.healthy_alarms_*`: at the shipped threshold, mean over kinds and worst kind."""
    for name in STEPS:
        of_step = {rate.kind: rate.weekly[0] for rate in found if rate.step == name}
        suffix = name.replace(" ", "")
        weekly = np.mean(list(of_step.values()), axis=0)
        figures.add(f"eval.healthy_alarms_first_week_{suffix}", float(weekly[0]), "per series")
        figures.add(f"eval.healthy_alarms_per_week_{suffix}", float(weekly[1:].mean()), "per series, later weeks")
        worst = max(of_step, key=lambda kind: float(of_step[kind][1:].mean()))
        figures.add(f"eval.healthy_alarms_worst_{suffix}", float(of_step[worst][1:].mean()), f"({worst})")


def tables(found: Sequence[Rate]) -> str:
    """Markdown: by kind at the shipped threshold, and over all kinds by evidence."""
    weeks = found[0].weekly.shape[1]
    columns = [f"{name}, {part}" for name in STEPS for part in ("week 1", "week 2", f"weeks 3-{weeks}")]
    lines = [f"| Alarms per series and week | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    by_place = {(rate.kind, rate.step): rate.weekly for rate in found}
    for kind in KINDS:
        lines.append(_line(kind, [by_place[kind, name][0] for name in STEPS]))
    lines.append(_line("mean", [_mean(by_place, name)[0] for name in STEPS]))
    columns[0:0] = ["Evidence above"]
    lines += ["", f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for place, limit in enumerate(EVIDENCE):
        lines.append(_line(f"{limit:g}", [_mean(by_place, name)[place] for name in STEPS]))
    return "\n".join(lines)


def _mean(by_place: Mapping[tuple[str, str], Floats], step: str) -> Floats:
    return np.asarray(np.mean([by_place[kind, step] for kind in KINDS], axis=0))


def _line(label: str, weekly: Sequence[Floats]) -> str:
    cells = [f"{value:.2f}" for one in weekly for value in (one[0], one[1], one[2:].mean())]
    return f"| {label} | {' | '.join(cells)} |"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(prog="python -m bench.healthy", description=__doc__)
    parser.add_argument("--series", type=int, default=20, help="of each kind")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--table", action="store_true", help="the tables of docs/detection.md, too")
    options = parser.parse_args(arguments)
    found = rates(options.series, options.seed, lambda text: print(text, file=sys.stderr, flush=True))
    healthy_figures(Figures(), found)
    if options.table:
        print(tables(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
