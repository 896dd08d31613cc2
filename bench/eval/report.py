"""The report of an evaluation: tables and pictures in one Markdown file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean

from bench.eval.cadences import OfCadence
from bench.eval.fleet import FleetResult
from bench.eval.nab import JudgedFile
from bench.eval.plots import NAMES, draw_comparison, draw_files, draw_fleet, draw_series
from bench.eval.schedule import FAULT_KINDS
from bench.eval.series import Compared
from bench.eval.simulated_series import MAIN_METRICS
from bench.figures import Figures

FILE = "report.md"


class Report:
    """Grows section by section; each draws its pictures beside the report."""

    def __init__(self, folder: Path, command: str) -> None:
        self._folder = folder
        when = datetime.now(UTC).isoformat(timespec="minutes")
        self._lines = ["# Evaluation of the detectors", "", f"Made {when} by `{command}`.", ""]

    def left_out(self, title: str, why: str) -> None:
        """A section that says why there is none."""
        self._section(title, why)

    def add_files(self, files: Sequence[JudgedFile]) -> None:
        """The labelled files."""
        draw_files(files, self._folder / "files.png")
        self._section(
            "Labelled files",
            "![Every file with its windows and alarms](files.png)",
            *_table(
                "| File | Windows | Detected | Missed | False alarms | Score |",
                (
                    (
                        file.series.name,
                        str(file.windows),
                        str(file.detected),
                        str(file.windows - file.detected),
                        str(file.tally.false_alarms),
                        "" if file.score is None else f"{file.score:.1f}",
                    )
                    for file in files
                ),
            ),
        )

    def add_series(self, compared: Compared) -> None:
        """The simulated series."""
        draw_series(compared, self._folder / "series.png")
        draw_comparison(compared, self._folder / "comparison.png")
        names = list(compared.vus_pr)
        self._section(
            "Simulated series",
            "![Some series with score and alarms](series.png)",
            "![VUS-PR by fault and metric](comparison.png)",
            *_table(
                f"| VUS-PR | {' | '.join(NAMES[name] for name in names)} |",
                (
                    (
                        f"{fault}, {metric}",
                        *(f"{fmean(_of(compared, compared.vus_pr[name], fault, metric)):.2f}" for name in names),
                    )
                    for fault, metrics in MAIN_METRICS.items()
                    for metric in metrics
                ),
            ),
        )

    def add_cadences(self, found: Sequence[OfCadence]) -> None:
        """The series of any kind and cadence."""
        names = list(found[0].vus_pr)
        self._section(
            "Series of any kind and cadence",
            *_table(
                f"| VUS-PR | {' | '.join(NAMES[name] for name in names)} |",
                (
                    (f"{kind}, {of.cadence}", *(f"{fmean(of.of_kind(kind, name)):.2f}" for name in names))
                    for of in found
                    for kind in dict.fromkeys(of.kinds)
                ),
            ),
        )

    def add_fleet(self, result: FleetResult, source: str) -> None:
        """The simulated fleet, as one source decided."""
        draw_fleet(result, source, self._folder / f"fleet-{source}.png")
        tally = result.by_source[source]
        during = [one.during or "nothing" for one in tally.false_alarms]
        self._section(
            f"Simulated fleet, decided by `{source}`",
            f"{result.plan.nodes} nodes, {result.plan.days:g} days, seed {result.plan.seed}: "
            f"recall {result.recall(source):.3f}, {tally.false_alarms_per_node_week:.3g} false alarms per node-week "
            f"({', '.join(f'{during.count(name)} during {name}' for name in sorted(set(during))) or 'none'}). "
            f"As many alarms at random would find {tally.recall_by_chance:.2f} of what metrics show.",
            f"![Faults found, delays, false alarms](fleet-{source}.png)",
            *_table(
                "| Fault | Injected | Found | Median, min | Longest | Told each | Named well | Again | Found again |",
                (_kind_row(result, kind, source) for kind in FAULT_KINDS),
            ),
            "Named well: the first metric named is one that the fault moves. Again: the node has had it before.",
            "Nodes that are gone and clocks that are wrong were sent as envelopes through ingest and sweep, for "
            f"{result.heard.seconds / 60:.0f} simulated minutes: {result.heard.dead_letters} dead letters, "
            f"{len(result.whole_nodes.false_alarms)} nodes said to be silent that were not.",
        )

    def add_figures(self, figures: Figures) -> None:
        """Every figure."""
        self._section(
            "Figures", *_table("| Figure | Value | |", ((name, value, unit) for name, value, unit in figures.lines()))
        )

    def write(self) -> Path:
        """Writes the file and says where it is."""
        path = self._folder / FILE
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(self._lines))
        return path

    def _section(self, title: str, *paragraphs: str) -> None:
        self._lines += [f"## {title}", ""]
        for paragraph in paragraphs:
            self._lines += [paragraph, ""]


def _of(compared: Compared, volumes: Sequence[float], fault: str, metric: str) -> list[float]:
    return [
        volume
        for volume, one in zip(volumes, compared.series, strict=True)
        if (one.fault, one.metric) == (fault, metric)
    ]


def _kind_row(result: FleetResult, kind: str, source: str) -> tuple[str, ...]:
    found = result.outcome_of(kind, source)
    delays = ("" if delay is None else f"{delay:.1f}" for delay in (found.median_delay, found.longest_delay))
    told = f"{found.told_per_fault:.1f}" if found.found else ""
    counts = (found.named, found.again, found.found_again)
    return kind, str(found.faults), str(found.found), *delays, told, *map(str, counts)


def _table(head: str, rows: Iterator[tuple[str, ...]]) -> Iterator[str]:
    """One paragraph."""
    columns = head.count("|") - 1
    yield "\n".join([head, "|---" * columns + "|", *(f"| {' | '.join(row)} |" for row in rows)])
