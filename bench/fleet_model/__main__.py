"""`python -m bench.fleet_model`: every figure of docs/fleet-model.md, as `name value unit`, and its picture."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from bench.figures import Figures
from bench.fleet_model.compare import Result, compare, fleet_of, incidents
from bench.fleet_model.healthy import GROWTH, checks
from bench.fleet_model.picture import Example, draw


def main() -> int:
    """Measures seed by seed; figures are means over them."""
    parser = argparse.ArgumentParser(prog="python -m bench.fleet_model", description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[11, 12, 13])
    parser.add_argument("--nodes", type=int, default=40)
    parser.add_argument("--only", choices=["compare", "healthy"])
    parser.add_argument("--results", type=Path, default=Path(".local/fleet_model/results.json"))
    parser.add_argument("--picture", type=Path, default=Path(".local/fleet_model/fleet-model.png"))
    options = parser.parse_args()
    figures = Figures()
    if options.only != "healthy":
        _compare(figures, options.nodes, options.seeds, options.picture)
    if options.only != "compare":
        _healthy(figures, options.nodes, options.seeds)
    figures.write(options.results)
    return 0


def _compare(figures: Figures, nodes: int, seeds: list[int], picture: Path) -> None:
    results: dict[str, list[Result]] = {}
    shipped: list[tuple[dict[str, list[bool]], float]] = []
    shares: list[float] = []
    example: Example | None = None
    for seed in seeds:
        fleet = fleet_of(nodes, seed)
        for name, result in compare(fleet).items():
            results.setdefault(name, []).append(result)
        found, false, scores = incidents(fleet)
        shares.append(float(fleet.judged.faulty.mean()))
        shipped.append((found, false))
        example = example or Example.of(fleet, scores)
        print(f"seed {seed} done", file=sys.stderr, flush=True)
    for name, of_seeds in results.items():
        figures.add(f"fleet_model.{name}.average_precision", _mean([one.average_precision for one in of_seeds]), "of 1")
        figures.add(f"fleet_model.{name}.recall_at_0.1_%", _mean([one.recall for one in of_seeds]), "of windows")
        figures.add(f"fleet_model.{name}.alarm_share", _mean([one.alarm_share for one in of_seeds]), "0.001 is asked")
        figures.add(f"fleet_model.{name}.faults_found", _mean([one.events for one in of_seeds]), "of 1")
        false_ones = _mean([one.false_per_node_week for one in of_seeds])
        figures.add(f"fleet_model.{name}.false_per_node_week", false_ones, "incidents")
        figures.add(f"fleet_model.{name}.us_per_window", _mean([one.us_per_window for one in of_seeds]), "us")
    figures.add("fleet_model.faulty_windows", _mean(shares), "of all: the average precision of chance")
    kinds = sorted({kind for found, _ in shipped for kind in found})
    for kind in kinds:
        ones = [one for found, _ in shipped for one in found.get(kind, [])]
        figures.add(f"fleet_model.incidents.{kind}", float(np.mean(ones)), f"of {len(ones)}")
    everything = [one for found, _ in shipped for ones in found.values() for one in ones]
    figures.add("fleet_model.incidents.found", float(np.mean(everything)), f"of {len(everything)}, minute by minute")
    figures.add("fleet_model.incidents.false_per_node_week", _mean([false for _, false in shipped]), "incidents")
    assert example is not None
    draw(picture, {name: _mean([one.average_precision for one in ones]) for name, ones in results.items()}, example)


def _healthy(figures: Figures, nodes: int, seeds: list[int]) -> None:
    both = [checks(nodes, seed) for seed in seeds]
    found = [one for one, _ in both]
    for one in found:
        for line in one.drifted:
            print(line, file=sys.stderr)
    days = sum(one.days for one in found)
    figures.add(
        "fleet_model.healthy.days_drifted", sum(len(one.drifted) for one in found) / days, f"share of {days} days"
    )
    for factor in GROWTH:
        share = sum(grown[factor] for _, grown in both) / days
        figures.add(
            f"fleet_model.grown_{factor:g}.days_drifted", share, f"share of {days} days, every feature times {factor:g}"
        )
    figures.add("fleet_model.healthy.features_drifted", _mean([one.features_drifted for one in found]), "of features")
    figures.add("fleet_model.healthy.features_beyond_0.25", _mean([one.beyond_convention for one in found]), "of them")
    for name in ("score_psi", "alarm_share", "drifted_features", "unscored_share"):
        values = [one.value or 0.0 for of in found for one in of.measures if one.name == name]
        figures.add(f"fleet_model.healthy.{name}_highest", max(values), "of any day")


def _mean(values: list[float]) -> float:
    return float(np.mean(values))


if __name__ == "__main__":
    sys.exit(main())
