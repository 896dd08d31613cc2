"""Makes the figures and pictures of docs/detection.md anew: `python -m bench.eval.document [--data FOLDER]`.

Runs the evaluation with several seeds, which takes a quarter of an hour, and replaces what stands between the marks in
the document. Results are left in .local/eval/document, a folder for each part and seed; with --only one part is
measured anew, and of the others the results that are there are taken.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.eval.run import CADENCES, FILES, FLEET, FORECASTS, OUT, PARTS, SERIES, main
from bench.eval.sources import FORESEEN, INCIDENTS, PRODUCT

DOCUMENT, IMAGES = Path("docs/detection.md"), Path("docs/images")
BEGIN, END = "<!-- figures begin: python -m bench.eval.document -->", "<!-- figures end -->"
_PICTURED = 1
"""The seed whose pictures are shown."""
PICTURES = {
    f"{SERIES}/{_PICTURED}/series.png": "detection-series.png",
    f"{SERIES}/{_PICTURED}/comparison.png": "detection-comparison.png",
    f"{FLEET}/{_PICTURED}/fleet-{PRODUCT}.png": "detection-fleet.png",
}
"""Where pictures are made, and what they are called among the documents."""
SEEDS = (1, 2, 3, 501)
"""The first three were looked at while this was developed, the last one was not."""
BESIDE = (FORESEEN, INCIDENTS, "static_thresholds", "band")
_RESULTS = OUT / "document"
_NAB = {
    "NAB score, standard": "eval.nab_standard",
    "NAB score, low FP": "eval.nab_low_fp",
    "share of windows detected": "eval.nab_detection_rate",
    "false alarms": "eval.nab_false_alarms",
}
_DETECTORS = {
    "this product": "",
    "rolling median / MAD": "_rolling_mad",
    "EWMA z-score": "_ewma_z",
    "kNN": "_knn",
}
_CADENCES = {"1min": "every minute", "5min": "every five", "1h": "every hour"}
_DECIDERS = {
    "the product: incidents, predictive alerts, outliers": "",
    "its incidents and predictive alerts": f"_{FORESEEN}",
    "its incidents alone": f"_{INCIDENTS}",
    "static thresholds": "_static_thresholds",
    "a band of eight deviations": "_band",
}
_ALARMS = {
    "event-F1": "eval.event_f1",
    "faults found the first time": "eval.event_recall_first",
    "faults found when they came back": "eval.event_recall_again",
    "hours with a false alarm, per series and week": "eval.event_false_slots_per_week",
}
_FORECASTS = {
    "leaks foreseen 4 h ahead": "eval.exhaustion_recall_4h",
    "false alarms per node-week": "eval.exhaustion_false_alarms_per_node_week",
    "error of the next 24 h over that of seasonal naive": "eval.forecast_mase_ratio",
    "values within the band for 0.8": "eval.forecast_coverage",
}

Results = Mapping[str, float]
BySeed = Mapping[int, Results]


def document(arguments: Sequence[str] | None = None) -> int:
    """Evaluates with all seeds and rewrites the document."""
    parser = argparse.ArgumentParser(prog="python -m bench.eval.document", description=__doc__)
    parser.add_argument("--data", type=Path, help="folder with labelled files in NAB's layout")
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS, help="of simulations (default %(default)s)")
    parser.add_argument("--only", choices=PARTS, action="append", help="measure this part; may be given again")
    given = parser.parse_args(arguments)
    if not _has_place(DOCUMENT.read_text()):
        print(f"{DOCUMENT}: must have {BEGIN!r} and {END!r} once each", file=sys.stderr)
        return 2
    for part in given.only or PARTS:
        if part == FILES:
            _evaluate(FILES, ["--only", FILES, *(["--data", str(given.data)] if given.data else [])])
            continue
        shutil.rmtree(_RESULTS / part, ignore_errors=True)
        for seed in given.seeds:
            beside = [word for source in BESIDE for word in ("--beside", source)]
            _evaluate(f"{part}/{seed}", ["--only", part, "--seed", str(seed), *beside])
    missing = [made for made in PICTURES if not (_RESULTS / made).is_file()]
    if missing:
        print(f"{_RESULTS / missing[0]}: is not there; measure all parts, with seed {_PICTURED} too", file=sys.stderr)
        return 2
    for made, name in PICTURES.items():
        shutil.copyfile(_RESULTS / made, IMAGES / name)
    before, rest = DOCUMENT.read_text().split(BEGIN)  # people may have written in it meanwhile
    after = rest.split(END)[1]
    files = _read(_RESULTS / FILES)
    lines = tables(files, *(_by_seed(part) for part in (SERIES, CADENCES, FLEET, FORECASTS)))
    DOCUMENT.write_text("\n".join([f"{before}{BEGIN}", *lines, f"{END}{after}"]))
    return 0


def _has_place(text: str) -> bool:
    return text.count(BEGIN) == text.count(END) == 1


def tables(files: Results, series: BySeed, others: BySeed, fleet: BySeed, forecasts: BySeed) -> list[str]:
    """The tables, line by line."""
    lines = ["| Labelled files | |", "|---|---|"]
    lines += [f"| {text} | {_shown(files.get(name))} |" for text, name in _NAB.items()]
    lines += _head("Simulated series", series, "VUS-PR", "every value a threshold", "event-F1, best threshold")
    for text, suffix in _DETECTORS.items():
        best = f"eval.event_f1_best{suffix or '_shipped'}"
        lines.append(_row(text, series, f"eval.vus_pr{suffix}", f"eval.vus_pr_exact{suffix}", best))
    lines += _head("Shipped alarms on these series", series, "")
    lines += [_row(text, series, name) for text, name in _ALARMS.items()]
    lines += _head("VUS-PR on series of any kind, with points", others, *_CADENCES.values())
    for text, suffix in _DETECTORS.items():
        lines.append(_row(text, others, *(f"eval.vus_pr_{cadence}{suffix}" for cadence in _CADENCES)))
    rate = "eval.fleet_false_alarms_per_node_week"
    columns = ("recall", "of what came back", "false alarms per node-week", "in the second week")
    lines += _head("Simulated fleet, decided by", fleet, *columns)
    for text, suffix in _DECIDERS.items():
        recalls = (f"eval.fleet_recall{suffix}", f"eval.fleet_recall_again{suffix}")
        lines.append(_row(text, fleet, *recalls, f"{rate}{suffix}", f"{rate}{suffix}_later"))
    lines += _head("Forecasts", forecasts, "")
    lines += [_row(text, forecasts, name) for text, name in _FORECASTS.items()]
    return lines


def _head(title: str, results: BySeed, *columns: str) -> list[str]:
    seeds = ", ".join(map(str, results))
    return ["", f"| {title} (seeds {seeds}) | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]


def _row(text: str, results: BySeed, *names: str) -> str:
    cells = (", ".join(_shown(of_seed.get(name)) for of_seed in results.values()) for name in names)
    return f"| {text} | {' | '.join(cells)} |"


def _shown(value: float | None) -> str:
    return "" if value is None else f"{value:.0f}" if value >= 1_000 else f"{value:.3g}"


def _evaluate(name: str, arguments: Sequence[str]) -> None:
    if main([*arguments, "--out", str(_RESULTS / name)]) != 0:
        raise SystemExit(2)


def _by_seed(part: str) -> BySeed:
    return {int(folder.name): _read(folder) for folder in sorted((_RESULTS / part).glob("*"), key=_number)}


def _number(folder: Path) -> int:
    return int(folder.name)


def _read(folder: Path) -> Results:
    path = folder / "results.json"
    if not path.is_file():
        return {}
    return {name: found["value"] for name, found in json.loads(path.read_text())["figures"].items()}


if __name__ == "__main__":
    sys.exit(document())
