"""`make bench`: every speed and size this project states, measured now and printed as `name value unit`."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from bench.chain import chain, chain_figures
from bench.core import CoreJob, core_seconds_per_sample
from bench.detect import detect_figures
from bench.detection_cost import detection_cost_figures
from bench.duckdb_rival import differences, rival
from bench.figures import RESULTS, Figures
from bench.fleet_model.cost import fleet_cost_figures
from bench.naive_rival import naive_seconds_per_sample
from bench.wire import wire_figures
from bench.workload import fleet_workload

SAMPLES = 60_000
"""Of each workload, about."""


def main() -> int:
    """Measures; exit code 1 when DuckDB's rows differ from ours, for then its ratio means nothing."""
    parser = argparse.ArgumentParser(prog="python -m bench.run", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a quarter of the work, for continuous integration")
    parser.add_argument("--skip-chain", action="store_true", help="only what needs no processes")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    figures = Figures()
    _wire(figures)
    detect_figures(figures)
    fleet_cost_figures(figures)
    agree = _core(figures, SAMPLES // 4 if options.quick else SAMPLES)
    if not options.skip_chain:
        with chain() as stack:
            chain_figures(figures, stack, quick=options.quick)
            detection_cost_figures(figures, stack, quick=options.quick)
    figures.write(options.results)
    return 0 if agree else 1


def _wire(figures: Figures) -> None:
    for interval, suffix in ((30.0, ""), (60.0, "_60s")):
        per_sample, nodes = wire_figures(interval)
        figures.add(f"wire.bytes_per_sample{suffix}", per_sample, "B")
        figures.add(f"wire.nodes_per_tu{suffix}", nodes, "nodes")


def _core(figures: Figures, samples: int) -> bool:
    agree = True
    for nodes in (10, 100, 1_000, 10_000):
        minutes = max(samples / nodes / 6, 2.5)
        workload = fleet_workload(nodes, minutes)
        ours = core_seconds_per_sample(workload)
        suffix = "" if nodes == 1_000 else f"_{nodes}_nodes"
        figures.add(f"core.samples_per_s{suffix}", 1 / ours, "samples/s")
        with tempfile.TemporaryDirectory(dir=_memory_folder()) as folder:
            result = rival(workload, Path(folder), repeats=2)
        figures.add(f"core.ratio_vs_duckdb{suffix}", result.seconds_per_sample / ours, f"({result.form})")
        if nodes == 1_000:
            bare, naive = core_seconds_per_sample(workload, detects=False), naive_seconds_per_sample(workload)
            figures.add("core.detection_cost", 1.0 - bare / ours, "share of samples/s")
            figures.add("core.ratio_vs_naive", naive / ours, "")
            figures.add("core.ratio_vs_naive_without_detection", naive / bare, "(the same work)")
            figures.add("core.ratio_vs_duckdb_without_detection", result.seconds_per_sample / bare, "(the same work)")
            job = CoreJob()
            job.run(workload.events, keep_rows=True)
            found = list(differences(job.rows, result.rows))
            figures.add("core.rows_compared", len(job.rows), "rows")
            figures.add("core.rows_different_from_duckdb", len(found), "values")
            for line in found[:5]:
                print(f"  {line}", file=sys.stderr)
            agree = not found
    return agree


def _memory_folder() -> str | None:
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


if __name__ == "__main__":
    sys.exit(main())
