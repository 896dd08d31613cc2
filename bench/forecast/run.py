"""`python -m bench.forecast.run`: how good forecasts are, printed as `name value unit`.

With --data FOLDER (NAB's layout) the next 24 h are measured on its series, too.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from bench.figures import Figures
from bench.forecast.day_ahead import labelled, measured, pools
from bench.forecast.exhaustion import WAYS, Tally, tally
from bench.forecast.hard_series import hard
from bench.forecast.leaks import Levels, simulated
from telemetry.layout import Floats


def main() -> None:
    """Measures."""
    parser = argparse.ArgumentParser(prog="python -m bench.forecast.run", description=__doc__)
    parser.add_argument("--nodes", type=int, default=100)
    parser.add_argument("--days", type=int, default=17)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--hard", type=int, default=40, help="series of each kind that are made to mislead")
    parser.add_argument("--data", type=Path, help="folder of labelled series in NAB's layout")
    options = parser.parse_args()
    figures = Figures()
    forecast_figures(figures, options.nodes, options.days, options.seed, options.hard, options.data)


def forecast_figures(figures: Figures, nodes: int, days: int, seed: int, each: int, data: Path | None) -> None:
    """Adds all figures `forecast.*`."""
    _exhaustion(figures, "fleet", simulated(nodes, days, seed))
    _exhaustion(figures, "hard", hard(each, 21, seed))
    _day_ahead(figures, "pools", pools(40, 28, seed).values())
    if data is not None:
        _day_ahead(figures, "data", labelled(data).values())


def _exhaustion(figures: Figures, name: str, levels: Levels) -> None:
    for way, foresee in WAYS.items():
        found = tally(levels, foresee(levels))
        prefix = f"forecast.{name}_{way}"
        figures.add(f"{prefix}_recall_4h", found.recall, f"of {len(levels.leaks)} leaks")
        alarms = sum(found.false_alarms.values())
        if name == "fleet":
            figures.add(f"{prefix}_false_alarms", alarms / found.node_weeks, "per node-week")
        else:
            figures.add(f"{prefix}_false_alarms", alarms / found.series_weeks, "per series-week")
        if way == "ours":
            _details(figures, prefix, found)


def _details(figures: Figures, prefix: str, found: Tally) -> None:
    for shortest, longest in ((0.0, 8.0), (8.0, 24.0), (24.0, np.inf)):
        recall = found.recall_of(shortest, longest)
        if recall == recall:
            figures.add(f"{prefix}_recall_4h_from_{shortest:g}h", recall, f"of leaks below {longest:g} h")
    for kind, many in sorted(found.leads.items()):
        share = float(np.median([max(lead, 0.0) / lasts for lasts, lead in many if lasts > 0]))
        figures.add(f"{prefix}_{kind.replace(' ', '_')}_lead", share, f"of the time, median of {len(many)}")
    for kind, count in found.false_alarms.items():
        if count:
            figures.add(f"{prefix}_{kind.replace(' ', '_')}_false_alarms", count, "")


def _day_ahead(figures: Figures, name: str, series: Iterable[Floats]) -> None:
    outcomes = [outcome for y in series if (outcome := measured(y)) is not None]
    figures.add(f"forecast.{name}_mase_ratio", float(np.mean([o.mase_ratio for o in outcomes])), f"of {len(outcomes)}")
    figures.add(f"forecast.{name}_worst_mase_ratio", max(o.mase_ratio for o in outcomes), "")
    figures.add(f"forecast.{name}_coverage", float(np.mean([o.coverage for o in outcomes])), "of a band of 0.8")


if __name__ == "__main__":
    main()
