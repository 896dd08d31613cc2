"""The report's pictures.

Colours mean the same everywhere: blue is the series and what is usual of it, amber a label, green an alarm that is
right, red one that is not.
"""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from PIL import Image

from bench.eval.fleet import FleetResult
from bench.eval.fleet_score import FalseAlarm
from bench.eval.layout import Flags
from bench.eval.nab import JudgedFile
from bench.eval.nab_score import probation
from bench.eval.schedule import FAULT_KINDS
from bench.eval.series import SHIPPED, Compared
from bench.eval.shipped import Judged
from bench.eval.simulated_series import MAIN_METRICS, SimulatedSeries
from functions.core.detectors.streaming import LIMIT
from functions.core.policy.incidents import Kind
from telemetry.layout import Floats

LINE, BAND, LABEL, RIGHT, WRONG, MUTED = "#1f4e79", "#cfe0f0", "#f6c667", "#2e8b57", "#c0392b", "#8a94a0"
_OF_DETECTOR = {SHIPPED: LINE, "rolling_mad": "#d98c3f", "ewma_z": "#8a94a0", "knn": "#7b5ea7"}
NAMES = {SHIPPED: "this product", "rolling_mad": "rolling median / MAD", "ewma_z": "EWMA z-score", "knn": "kNN"}
_SHOWN = ("cpu_runaway", "memory_leak", "disk_filling_fast", "io_stall")
"""Kinds of which one series is drawn, the first metric of the first node with it."""
_OF_CAUSE = {
    "nothing going on": WRONG,
    "nightly backup": "#d98c3f",
    "deployment wave": "#7b5ea7",
    "foreseen, did not come": LINE,
}
"""Of a false alarm."""
_STYLE: dict[Any, Any] = {
    "font.size": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": MUTED,
    "axes.titlesize": 10.0,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "xtick.color": "#4a5560",
    "ytick.color": "#4a5560",
    "legend.frameon": False,
    "figure.facecolor": "white",
    "savefig.dpi": 110,
}


def draw_series(compared: Compared, path: Path) -> None:
    """A few of the simulated series around both their faults: value, usual range, score, alarms, labels."""
    chosen = [next(i for i, one in enumerate(compared.series) if one.fault == kind) for kind in _SHOWN]
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(10.5, 2.1 * len(chosen) + 0.5), layout="constrained")
        grid = figure.subplots(2 * len(chosen), 2, height_ratios=[3.0, 1.0] * len(chosen), sharey="row")
        for row, index in enumerate(chosen):
            series = compared.series[index]
            begins = np.flatnonzero(np.diff(series.labels.astype(np.int8)) == 1) + 1
            for column, begin in enumerate(begins.tolist()):
                end = begin + int(np.argmin(series.labels[begin:]))
                span = slice(max(begin - 240, 0), min(end + 150, len(series.values)))
                _draw_one(grid[2 * row : 2 * row + 2, column], series, compared.judged[index], span, begin)
            grid[2 * row, 0].set_title(f"{series.fault.replace('_', ' ')}: {series.metric}")
            grid[2 * row, 1].set_title("the same again, days later", fontweight="normal", color=MUTED)
            grid[2 * row + 1, 0].set_ylabel("score", rotation=0, ha="right", va="center")
        for axes in grid[-1]:
            axes.set_xlabel("hours since the fault began")
        figure.legend(handles=_legend(), loc="outside lower center", ncols=6)
        _save(figure, path)


def _draw_one(pair: Any, series: SimulatedSeries, judged: Judged, span: slice, begin: int) -> None:
    values, scores = pair
    hours = (np.arange(len(series.values))[span] - begin) / 60.0
    x = series.values[span]
    values.plot(hours, x, color=LINE, linewidth=0.9)
    _fit(values, x)
    values.fill_between(hours, judged.lower[span], judged.upper[span], color=BAND, linewidth=0)
    for axes in (values, scores):
        _shade(axes, hours, series.labels[span])
        axes.set_xlim(hours[0], hours[-1])
    low, high = values.get_ylim()
    _mark(values, hours, x + 0.09 * (high - low), judged.alarm[span], series.labels[span])
    values.tick_params(labelbottom=False, length=0)
    values.spines["bottom"].set_visible(False)
    scores.fill_between(hours, judged.score[span], color=MUTED, linewidth=0)
    scores.set_ylim(0, 1)
    scores.set_yticks([0, 1])


def _fit(axes: Axes, x: Floats) -> None:
    """Makes room for the values and for marks above them; bands reach as far as they will."""
    axes.set_autoscaley_on(False)
    axes.update_datalim([(0.0, x.min()), (0.0, x.max())])
    low, high = axes.dataLim.intervaly
    axes.set_ylim(low - 0.15 * (high - low), high + 0.2 * (high - low))


def draw_comparison(compared: Compared, path: Path) -> None:
    """VUS-PR per kind of fault and metric, of the shipped score and of what it is compared with."""
    rows = [(fault, metric) for fault, metrics in MAIN_METRICS.items() for metric in metrics]
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(10.5, 5.2), layout="constrained")
        for axes, volumes, title in zip(
            figure.subplots(1, 2, sharey=True),
            (compared.vus_pr, compared.exact),
            ("VUS-PR, published form (250 thresholds)", "VUS-PR, every value a threshold"),
            strict=True,
        ):
            for name, of_series in volumes.items():
                means = [
                    np.mean([v for v, one in zip(of_series, compared.series, strict=True) if one[:2] == row])
                    for row in rows
                ]
                size = 52 if name == SHIPPED else 26
                axes.scatter(means, range(len(rows)), s=size, color=_OF_DETECTOR[name], zorder=3 + (name == SHIPPED))
                mean = float(np.mean(of_series))
                axes.axvline(mean, color=_OF_DETECTOR[name], linewidth=1.0, linestyle=":", zorder=1)
            axes.set_title(title)
            axes.set_xlim(-0.02, 1.02)
            axes.set_ylim(len(rows) - 0.4, -0.6)
            axes.grid(axis="y", color="#eceff2", zorder=0)
            axes.set_yticks(range(len(rows)), [f"{fault.replace('_', ' ')}   {metric}" for fault, metric in rows])
            axes.tick_params(axis="y", length=0)
        handles = [
            Line2D([], [], color=colour, marker="o", linestyle=":", markersize=6, label=NAMES[name])
            for name, colour in _OF_DETECTOR.items()
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=4)
        _save(figure, path)


def draw_fleet(result: FleetResult, source: str, path: Path) -> None:
    """Recall and delay per kind of fault, and when false alarms were raised."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(11.0, 3.9), layout="constrained")
        recall, delay, false = figure.subplots(1, 3, width_ratios=[1.0, 1.3, 1.25])
        _draw_recall(recall, result, source)
        _draw_delays(delay, result, source)
        _draw_false_alarms(false, result, source)
        _save(figure, path)


def _draw_recall(axes: Axes, result: FleetResult, source: str) -> None:
    for row, kind in enumerate(FAULT_KINDS):
        found = result.outcome_of(kind, source)
        axes.barh(row, found.faults, color="#eef1f4")
        axes.barh(row, found.found, color=RIGHT)
        again = f"; again {found.found_again} of {found.again}" if found.again else ""
        axes.text(found.faults, row, f" {found.found} of {found.faults}{again}", va="center", color="#4a5560")
    axes.set_yticks(range(len(FAULT_KINDS)), [kind.replace("_", " ") for kind in FAULT_KINDS])
    axes.set_ylim(len(FAULT_KINDS) - 0.4, -0.6)
    axes.tick_params(length=0)
    axes.set_xticks([])
    axes.spines[["bottom", "left"]].set_visible(False)
    axes.margins(x=0.5)
    axes.set_title("Faults found")


def _draw_delays(axes: Axes, result: FleetResult, source: str) -> None:
    outcomes = [*result.by_source[source].first, *result.whole_nodes.first]
    for row, kind in enumerate(FAULT_KINDS):
        delays = [max(one.delay, 30.0) / 60 for one in outcomes if one.label.kind == kind and one.delay is not None]
        axes.scatter(delays, np.full(len(delays), row), s=22, color=RIGHT, alpha=0.55, linewidth=0)
        if delays:
            axes.plot([np.median(delays)] * 2, [row - 0.32, row + 0.32], color=LINE, linewidth=2)
    axes.set_xscale("log")
    axes.set_xlim(0.4, 14 * 1440)
    axes.set_xticks([1, 10, 60, 360, 1440, 7200], ["1 min", "10 min", "1 h", "6 h", "1 d", "5 d"])
    axes.minorticks_off()
    axes.set_ylim(len(FAULT_KINDS) - 0.4, -0.6)
    axes.set_yticks([])
    axes.grid(axis="x", color="#eceff2")
    axes.set_title("How long it took (line: median)")


def _draw_false_alarms(axes: Axes, result: FleetResult, source: str) -> None:
    tally = result.by_source[source]
    days = int(np.ceil(result.plan.days))
    bottom = np.zeros(days)
    for cause, colour in _OF_CAUSE.items():
        on_day = [int(one.told.at // 86_400) for one in tally.false_alarms if _cause(one) == cause]
        count = np.bincount(np.minimum(on_day, days - 1), minlength=days) if on_day else np.zeros(days, np.int64)
        axes.bar(np.arange(days) + 1, count, bottom=bottom, color=colour, width=0.75, label=f"{cause}: {len(on_day)}")
        bottom = bottom + count
    axes.set_xlabel("day of the simulation")
    axes.set_title(f"False alarms: {tally.false_alarms_per_node_week:.2g} a node-week")
    axes.set_xlim(0.3, days + 0.7)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylim(0, max(1.0, 1.35 * float(bottom.max())))
    axes.legend(loc="upper right", fontsize=8)


def _cause(one: FalseAlarm) -> str:
    if one.told.kind == Kind.EXHAUSTION:
        return "foreseen, did not come"
    return one.during.replace("_", " ") or "nothing going on"


def draw_files(files: Sequence[JudgedFile], path: Path) -> None:
    """Every labelled file with its windows and alarms."""
    columns = 4
    rows = -(-len(files) // columns)
    with mpl.rc_context({**_STYLE, "axes.titlesize": 7.5, "axes.titleweight": "normal"}):
        figure = Figure(figsize=(13, 1.45 * rows + 0.4), layout="constrained")
        grid = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes in grid:
            axes.set_axis_off()
        for axes, file in zip(grid, files, strict=False):
            _draw_file(axes, file)
        figure.legend(handles=_legend()[1:], loc="outside lower center", ncols=5)
        _save(figure, path)


def _draw_file(axes: Axes, file: JudgedFile) -> None:
    values = np.where(np.abs(file.series.values) <= LIMIT, file.series.values, np.nan)
    rows = np.arange(len(values), dtype=np.float64)
    labels = np.zeros(len(rows), np.bool_)
    for first, last in file.series.windows:
        labels[first : last + 1] = True
    axes.plot(rows, values, color=LINE, linewidth=0.4)
    _shade(axes, rows, labels)
    axes.axvspan(0, probation(len(rows)), color="#eef1f4", linewidth=0, zorder=0)
    known = values[~np.isnan(values)]
    low, high = (known.min(), known.max()) if known.size else (0.0, 0.0)
    scored = file.judged.alarm & (rows >= probation(len(rows)))
    _mark(axes, rows, np.full(len(rows), high + 0.12 * (high - low or 1.0)), scored, labels)
    name = Path(file.series.name).stem
    own = f", score {file.score:.0f}" if file.score is not None else ""
    axes.set_title(
        f"{name}: {sum(file.tally.detected)} of {len(file.tally.detected)}, {file.tally.false_alarms} false{own}"
    )


def _legend() -> list[Any]:
    return [
        Patch(color=BAND, label="no news in here"),
        Line2D([], [], color=LINE, label="value"),
        Patch(color=LABEL, alpha=0.45, label="labelled anomaly"),
        Line2D([], [], color=RIGHT, marker="v", linestyle="", label="alarm, right"),
        Line2D([], [], color=WRONG, marker="v", linestyle="", label="alarm, false"),
    ]


def _shade(axes: Axes, at: Floats, labels: Flags) -> None:
    edges = np.flatnonzero(np.diff(np.concatenate([[0], labels.astype(np.int8), [0]])))
    for first, end in zip(edges[::2], edges[1::2], strict=True):
        axes.axvspan(float(at[first]), float(at[end - 1]), color=LABEL, alpha=0.45, linewidth=0, zorder=0)


def _mark(axes: Axes, at: Floats, height: Floats, alarms: Flags, labels: Flags) -> None:
    for where, colour in ((alarms & labels, RIGHT), (alarms & ~labels, WRONG)):
        axes.scatter(at[where], height[where], marker="v", s=30, color=colour, zorder=5, linewidth=0)


def _save(figure: Figure, path: Path) -> None:
    """As a PNG with a palette, a third of the size: pictures of documents are kept in the repository."""
    path.parent.mkdir(parents=True, exist_ok=True)
    drawn = BytesIO()
    figure.savefig(drawn, format="png")
    Image.open(drawn).convert("RGB").quantize(method=Image.Quantize.MAXCOVERAGE).save(path, optimize=True)
