"""`make eval`: how good the shipped detectors are, printed as `name value unit`, with a report and pictures.

Five parts: labelled files (only where a folder is given), simulated minute series, series of any kind and cadence, a
simulated fleet, forecasts.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.eval import cadences, fleet, nab, series
from bench.eval.cadences import cadence_tasks
from bench.eval.crew import Crew, Task, Tell
from bench.eval.fleet import fleet_tasks
from bench.eval.labelled import LabelledDataUnusable, LabelledSeries, read_labelled
from bench.eval.nab import file_tasks
from bench.eval.progress import Progress
from bench.eval.report import Report
from bench.eval.schedule import FAULT_KINDS, plan
from bench.eval.series import series_tasks
from bench.eval.sources import CHOICES, FORESEEN, INCIDENTS, PRODUCT
from bench.figures import Figures
from bench.forecast.figures import forecast_figures

PARTS = FILES, SERIES, CADENCES, FLEET, FORECASTS = ("files", "series", "cadences", "fleet", "forecasts")
BESIDE = (FORESEEN, INCIDENTS, "static_thresholds")
"""Who decides beside the product, if nothing else is asked for."""
UNITS = {
    "eval.exhaustion_recall_4h": "of leaks of 4 h and more, told of 4 h ahead",
    "eval.exhaustion_leaks": "leaks of 4 h and more",
    "eval.exhaustion_leaks_below_4h": "leaks, not counted",
    "eval.exhaustion_false_alarms_per_node_week": "of a fleet of its own",
    "eval.forecast_mase_ratio": "of seasonal naive's error, mean of pools",
    "eval.forecast_worst_mase_ratio": "of seasonal naive's error",
    "eval.forecast_coverage": "of values were in the band for 0.8",
}
OUT = Path(".local/eval")
_QUICK_NODES, _QUICK_DAYS = 40, 5.0
_NO_DATA = (
    "left out: no folder was given. Give one in the layout of the Numenta Anomaly Benchmark (data/**/*.csv with "
    "timestamp,value and windows.json), for example a checkout of it: make eval DATA=/path/to/folder"
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Evaluates; 2 when an argument or the labelled data cannot be used, 130 after Ctrl-C."""
    given = _parser().parse_args(arguments)
    report = Report(given.out, shlex.join(["python", "-m", "bench.eval", *(arguments or sys.argv[1:])]))
    try:
        with Progress() as progress:
            labelled = _read(given, progress)
            given.out.mkdir(parents=True, exist_ok=True)
            with Crew(given.jobs, progress) as crew:
                _evaluate(given, labelled, crew, progress, report)
    except LabelledDataUnusable as error:
        print(error, file=sys.stderr)
        return 2
    except FileExistsError:
        print(f"--out must be a folder, {given.out} is a file; name another", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; nothing was written", file=sys.stderr)
        return 130
    return 0


def _read(given: argparse.Namespace, progress: Progress) -> list[LabelledSeries]:
    """The labelled files, before anything that takes long."""
    if given.data is None or FILES not in _parts(given):
        return []
    labelled = read_labelled(given.data)
    for odd in labelled.odd:
        progress.step(odd)
    return labelled.series


def _evaluate(
    given: argparse.Namespace, labelled: list[LabelledSeries], crew: Crew, progress: Progress, report: Report
) -> None:
    """All parts are begun at once; figures come in the order of PARTS."""
    figures, parts = Figures(), _parts(given)
    nodes, days = (_QUICK_NODES, _QUICK_DAYS) if given.quick else (given.nodes, given.days)
    planned = plan(nodes, days, given.seed)
    sources = list(dict.fromkeys([given.source, *(given.beside or BESIDE)]))
    begun = {}
    if labelled:
        points = sum(len(one.values) for one in labelled)
        begun[FILES] = crew.start(f"{len(labelled)} labelled files, {points} points", file_tasks(labelled))
    if SERIES in parts:
        begun[SERIES] = crew.start("simulated series", series_tasks(given.seed, quick=given.quick))
    if CADENCES in parts:
        begun[CADENCES] = crew.start("series of any cadence", cadence_tasks(given.seed, quick=given.quick))
    if FLEET in parts:
        begun[FLEET] = crew.start(f"fleet of {nodes} nodes, {days:g} days", fleet_tasks(planned, sources))
    if FORECASTS in parts:
        begun[FORECASTS] = crew.start("forecasts", [Task(_forecasts, (given.seed, given.quick))])
    if FILES in begun:
        files = nab.judged_files(labelled, crew.results(begun[FILES]))
        nab.add_figures(figures, files)
        report.add_files(files)
    elif FILES in parts:
        progress.step(f"labelled files: {_NO_DATA}")
        report.left_out("Labelled files", _NO_DATA)
    if SERIES in begun:
        compared = series.compared(crew.results(begun[SERIES]))
        series.add_figures(figures, compared)
        report.add_series(compared)
    if CADENCES in begun:
        of_cadences = crew.results(begun[CADENCES])
        cadences.add_figures(figures, of_cadences)
        report.add_cadences(of_cadences)
    if FLEET in begun:
        result = fleet.fleet_result(planned, crew.results(begun[FLEET]))
        fleet.add_figures(figures, result, given.source)
        for source in sources:
            report.add_fleet(result, source)
    if FORECASTS in begun:
        (found,) = crew.results(begun[FORECASTS])
        for name, value in found.items():
            figures.add(name, value, UNITS.get(name, ""))
    figures.add("eval.seconds", progress.seconds, f"s, {given.jobs} processes")
    report.add_figures(figures)
    figures.write(given.out / "results.json")
    progress.step(f"report: {report.write()}")


def _forecasts(seed: int, quick: bool, tell: Tell) -> dict[str, float]:
    return forecast_figures(seed, quick=quick)


def _parts(given: argparse.Namespace) -> Sequence[str]:
    return given.only or PARTS


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.eval", description=__doc__)
    parser.add_argument("--data", type=Path, help="folder with labelled files in NAB's layout (default: none)")
    parser.add_argument("--seed", type=_whole(0, 2**31), default=1, help="of all simulations (default %(default)s)")
    parser.add_argument(
        "--nodes", type=_whole(2 * len(FAULT_KINDS), 10_000), default=200, help="of the fleet (default %(default)s)"
    )
    parser.add_argument("--days", type=_days, default=14.0, help="of the fleet (default %(default)s)")
    parser.add_argument(
        "--quick", action="store_true", help=f"a fleet of {_QUICK_NODES} nodes and {_QUICK_DAYS:g} days, fewer series"
    )
    parser.add_argument("--only", action="append", choices=PARTS, help="this part alone; may be given again")
    parser.add_argument("--source", choices=CHOICES, default=PRODUCT, help="who decides (default %(default)s)")
    parser.add_argument(
        "--beside",
        action="append",
        choices=CHOICES,
        help=f"decides beside it; may be given again (default {', '.join(BESIDE)})",
    )
    parser.add_argument(
        "--jobs", type=_whole(1, 256), default=os.cpu_count() or 1, help="processes (default %(default)s)"
    )
    parser.add_argument("--out", type=Path, default=OUT, help="folder of the report (default %(default)s)")
    return parser


def _whole(lowest: int, highest: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not text.isascii() or not text.isdigit() or not lowest <= int(text) <= highest:
            raise argparse.ArgumentTypeError(f"must be a whole number {lowest}-{highest}, got {text!r}")
        return int(text)

    return read


def _days(text: str) -> float:
    try:
        days = float(text)
    except ValueError:
        days = -1.0
    if not 1.0 <= days <= 60.0:
        raise argparse.ArgumentTypeError(f"must be 1-60 days, got {text!r}")
    return days
