"""Makes the figures and pictures of docs/detection.md anew: `python -m bench.eval.document [--data FOLDER]`.

Runs the evaluation with several seeds, which takes half an hour, and replaces what stands between the marks in the
document. Without labelled files their lines stay empty. Results are left in .local/eval/document.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.eval.run import OUT, main
from bench.eval.sources import PRODUCT

DOCUMENT, IMAGES = Path("docs/detection.md"), Path("docs/images")
BEGIN, END = "<!-- figures begin: python -m bench.eval.document -->", "<!-- figures end -->"
PICTURES = {"series-1/series.png": "detection-series.png", "fleet-1/fleet-product.png": "detection-fleet.png"}
"""Where pictures are made, and what they are called among the documents."""
_SERIES = (
    ("this product", "eval.vus_pr", "eval.vus_pr_exact", "eval.event_f1_best_shipped"),
    ("rolling median / MAD", *(f"{name}_rolling_mad" for name in ("eval.vus_pr", "eval.vus_pr_exact")),
     "eval.event_f1_best_rolling_mad"),
    ("EWMA z-score", "eval.vus_pr_ewma_z", "eval.vus_pr_exact_ewma_z", "eval.event_f1_best_ewma_z"),
    ("kNN", "eval.vus_pr_knn", "eval.vus_pr_exact_knn", "eval.event_f1_best_knn"),
)  # fmt: skip
_ALARMS = {
    "event-F1 of the shipped alarms": "eval.event_f1",
    "faults found the first time": "eval.event_recall_first",
    "faults found when they came back": "eval.event_recall_again",
    "hours with a false alarm, per series and week": "eval.event_false_slots_per_week",
}
_FLEET = {
    "recall": "eval.fleet_recall",
    "recall of faults that came back to a node": "eval.fleet_recall_again",
    "false alarms per node-week": "eval.fleet_false_alarms_per_node_week",
    "the same in the second week": "eval.fleet_false_alarms_per_node_week_later",
    "recall as many alarms would have by chance": "eval.fleet_recall_by_chance",
}
_NAB = {
    "NAB score, standard": "eval.nab_standard",
    "NAB score, low FP": "eval.nab_low_fp",
    "windows detected": "eval.nab_detected",
    "false alarms": "eval.nab_false_alarms",
}
_BESIDE = ("static_thresholds", "band")

Results = Mapping[str, float]


def document(arguments: Sequence[str] | None = None) -> int:
    """Evaluates with all seeds and rewrites the document."""
    parser = argparse.ArgumentParser(prog="python -m bench.eval.document", description=__doc__)
    parser.add_argument("--data", type=Path, help="folder with labelled files in NAB's layout")
    parser.add_argument("--series", type=int, default=5, help="seeds of simulated series (default %(default)s)")
    parser.add_argument("--fleets", type=int, default=3, help="seeds of simulated fleets (default %(default)s)")
    given = parser.parse_args(arguments)
    text = DOCUMENT.read_text()
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        print(f"{DOCUMENT}: must have {BEGIN!r} and {END!r} once each", file=sys.stderr)
        return 2
    files = _results("files", ["--only", "files", "--data", str(given.data)]) if given.data is not None else {}
    series = [_results(f"series-{seed}", _only("series", seed)) for seed in range(1, given.series + 1)]
    fleets = [_results(f"fleet-{seed}", [*_only("fleet", seed), *_beside()]) for seed in range(1, given.fleets + 1)]
    for made, name in PICTURES.items():
        shutil.copyfile(OUT / "document" / made, IMAGES / name)
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    DOCUMENT.write_text("\n".join([f"{before}{BEGIN}", *tables(files, series, fleets, _commit()), f"{END}{after}"]))
    return 0


def tables(files: Results, series: Sequence[Results], fleets: Sequence[Results], commit: str) -> list[str]:
    """The tables, line by line."""
    lines = [f"Made at commit {commit} by `python -m bench.eval.document`.", "", "| Labelled files | |", "|---|---|"]
    lines += [f"| {text} | {_shown(files.get(name))} |" for text, name in _NAB.items()]
    lines += ["", f"| Simulated series, seeds 1 to {len(series)} | VUS-PR | every threshold | best event-F1 |"]
    lines.append("|---|---|---|---|")
    for text, *names in _SERIES:
        lines.append(f"| {text} | {' | '.join(_all(series, name) for name in names)} |")
    lines += ["", *_by_seed("Shipped alarms on the same series", _ALARMS, "", series)]
    for source in (PRODUCT, *_BESIDE):
        suffix = "" if source == PRODUCT else f"_{source}"
        lines += ["", *_by_seed(f"Simulated fleet, decided by {source.replace('_', ' ')}", _FLEET, suffix, fleets)]
    return lines


def _by_seed(title: str, rows: Mapping[str, str], suffix: str, results: Sequence[Results]) -> list[str]:
    seeds = [f"seed {seed}" for seed in range(1, len(results) + 1)]
    lines = [f"| {title} | {' | '.join(seeds)} |", "|---" * (len(seeds) + 1) + "|"]
    for text, name in rows.items():
        stem, later = (name.removesuffix("_later"), "_later") if name.endswith("_later") else (name, "")
        values = (_shown(one.get(f"{stem}{suffix}{later}")) for one in results)
        lines.append(f"| {text} | {' | '.join(values)} |")
    return lines


def _all(results: Sequence[Results], name: str) -> str:
    return ", ".join(_shown(one.get(name)) for one in results)


def _shown(value: float | None) -> str:
    return "" if value is None else f"{value:.0f}" if value >= 1_000 else f"{value:.3g}"


def _only(part: str, seed: int) -> list[str]:
    return ["--only", part, "--seed", str(seed)]


def _beside() -> list[str]:
    return [word for source in _BESIDE for word in ("--beside", source)]


def _results(name: str, arguments: Sequence[str]) -> Results:
    out = OUT / "document" / name
    if main([*arguments, "--out", str(out)]) != 0:
        raise SystemExit(2)
    figures = json.loads((out / "results.json").read_text())["figures"]
    return {figure: found["value"] for figure, found in figures.items()}


def _commit() -> str:
    """The one checked out; "dirty" where files were changed since."""
    told = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=True)
    return told.stdout.strip()


if __name__ == "__main__":
    sys.exit(document())
