"""`make eval`: how good the shipped detectors are, printed as `name value unit`, with a report and pictures.

Three parts: labelled files (only where a folder is given), simulated minute series, a simulated fleet.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.eval import fleet, nab, series
from bench.eval.labelled import LabelledDataUnusable
from bench.eval.progress import Progress
from bench.eval.report import Report
from bench.eval.schedule import FAULT_KINDS, plan
from bench.eval.sources import PRODUCT, SOURCES
from bench.figures import Figures

PARTS = ("files", "series", "fleet")
OUT = Path(".local/eval")
_QUICK_NODES, _QUICK_DAYS = 40, 5.0
_NO_DATA = (
    "left out: no folder was given. Give one in the layout of the Numenta Anomaly Benchmark (data/**/*.csv with "
    "timestamp,value and windows.json), for example a checkout of it: make eval DATA=/path/to/folder"
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Evaluates; 2 when an argument or the labelled data cannot be used."""
    given = _parser().parse_args(arguments)
    nodes, days = (_QUICK_NODES, _QUICK_DAYS) if given.quick else (given.nodes, given.days)
    parts = given.only or PARTS
    progress, figures = Progress(), Figures()
    report = Report(given.out, shlex.join(["python", "-m", "bench.eval", *(arguments or sys.argv[1:])]))
    try:
        if "files" in parts:
            _files(given.data, progress, figures, report)
    except LabelledDataUnusable as error:
        print(error, file=sys.stderr)
        return 2
    if "series" in parts:
        compared = series.compare(given.seed, progress)
        series.add_figures(figures, compared)
        report.add_series(compared)
    if "fleet" in parts:
        began = time.monotonic()
        sources = list(dict.fromkeys([given.source, *(given.beside or ())]))
        result = fleet.evaluate_fleet(plan(nodes, days, given.seed), sources, given.jobs, progress)
        fleet.add_figures(figures, result, given.source)
        figures.add("eval.fleet_seconds", time.monotonic() - began, f"s, {given.jobs} processes")
        for source in sources:
            report.add_fleet(result, source)
    report.add_figures(figures)
    figures.write(given.out / "results.json")
    progress.step(f"report: {report.write()}")
    return 0


def _files(data: Path | None, progress: Progress, figures: Figures, report: Report) -> None:
    if data is None:
        progress.step(f"labelled files: {_NO_DATA}")
        report.left_out("Labelled files", _NO_DATA)
        return
    files = nab.judge_files(data, progress)
    nab.add_figures(figures, files)
    report.add_files(files)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.eval", description=__doc__)
    parser.add_argument("--data", type=Path, help="folder with labelled files in NAB's layout (default: none)")
    parser.add_argument("--seed", type=_whole(0, 2**31), default=1, help="of all simulations (default %(default)s)")
    parser.add_argument(
        "--nodes", type=_whole(2 * len(FAULT_KINDS), 10_000), default=200, help="of the fleet (default %(default)s)"
    )
    parser.add_argument("--days", type=_days, default=14.0, help="of the fleet (default %(default)s)")
    parser.add_argument(
        "--quick", action="store_true", help=f"a fleet of {_QUICK_NODES} nodes and {_QUICK_DAYS:g} days"
    )
    parser.add_argument("--only", action="append", choices=PARTS, help="this part alone; may be given again")
    parser.add_argument("--source", choices=SOURCES, default=PRODUCT, help="who decides (default %(default)s)")
    parser.add_argument("--beside", action="append", choices=SOURCES, help="decides beside it; may be given again")
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
