"""Draws the pictures of docs/forecasts.md: `python -m bench.forecast.pictures`. The seed was developed with.

Blue is what was measured, orange what was foreseen, green when people were told, red a limit.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.forecast.day_ahead import pools
from bench.forecast.exhaustion import WEEK
from bench.forecast.hard_series import hard
from bench.forecast.leaks import START_MS, Leak, Levels, simulated
from functions.core.forecast.day_ahead import DAY, STEP_S, day_ahead
from functions.core.forecast.exhaustion import Foreseen, update
from functions.core.forecast.level_history import BIN_S, new_levels
from telemetry.layout import Floats

IMAGES = Path("docs/images")
SEED = 3
MEASURED, FORESEEN, BAND, TOLD, LIMIT, MUTED = "#1f4e79", "#d9822b", "#f6dcc0", "#2e8b57", "#c0392b", "#8a94a0"
_STYLE: dict[Any, Any] = {
    "font.size": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10.0,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "legend.frameon": False,
    "savefig.dpi": 110,
}
_SHOWN_EVERY = 16
"""Points from one forecast that is drawn to the next: four hours."""


def main() -> None:
    """Draws both."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(_STYLE):
        exhaustion().savefig(IMAGES / "forecast-exhaustion.png", bbox_inches="tight")
        next_day().savefig(IMAGES / "forecast-day-ahead.png", bbox_inches="tight")


def exhaustion() -> Figure:
    """A leak, one below jobs that come and go, and what looks like leaks and is none."""
    figure = Figure(figsize=(10, 8), layout="constrained")
    axes = figure.subplots(4, 1)
    fleet = simulated(20, 14, SEED)
    disk = next(leak for leak in fleet.leaks if leak.kind == "disk_filling_slowly")
    restless = _most_restless(fleet, "memory_leak")
    misleading = hard(8, 14, SEED)
    _draw(axes[0], fleet, disk.series, disk, "A log that nobody rotates, and images that are collected")
    _draw(axes[1], fleet, restless.series, restless, "Memory that leaks below batch jobs that come and go")
    _draw(axes[2], misleading, _highest(misleading, "log rotation"), None, "Log rotation: never beyond its old peaks")
    _draw(axes[3], misleading, _highest(misleading, "cache"), None, "A cache that fills after each restart: it fades")
    axes[0].legend(loc="lower left", ncols=4, fontsize=8)
    axes[3].set_xlabel("hours")
    return figure


def _most_restless(levels: Levels, kind: str) -> Leak:
    """The leak of a kind whose series goes up and down most before it."""
    return max(
        (leak for leak in levels.leaks if leak.kind == kind),
        key=lambda leak: float(np.abs(np.diff(levels.high[: leak.begin, leak.series])).mean()),
    )


def _highest(levels: Levels, kind: str) -> int:
    """The series of a kind that goes up and down furthest of those that do not leak."""
    leaking = {leak.series for leak in levels.leaks}
    return max(
        (place for place, its in enumerate(levels.kind) if its == kind and place not in leaking),
        key=lambda place: float(np.ptp(levels.high[:, place])),
    )


def _draw(axes: Axes, levels: Levels, series: int, leak: Leak | None, title: str) -> None:
    found = _foreseen(levels, series)
    first = max(leak.begin - WEEK // 2, 0) if leak else WEEK // 2
    last = leak.end + 24 if leak else len(found)
    hours = (np.arange(len(found)) - first) / 4
    shown = slice(first, last)
    limit = float(levels.limit[series])
    axes.fill_between(
        hours[shown], levels.low[shown, series], levels.high[shown, series], color=MEASURED, lw=1.0, label="level"
    )
    axes.axhline(limit, color=LIMIT, lw=0.8, label="limit")
    marks = [point for point in range(first, last) if found[point].begins[0]]
    for number, point in enumerate(range(marks[0], last, _SHOWN_EVERY) if marks else ()):
        if found[point].foreseen[0]:
            ahead = hours[point] + float(found[point].seconds[0]) / 3600
            label = "foreseen from here" if number == 0 else None
            axes.plot([hours[point], ahead], [float(found[point].level[0]), limit], color=FORESEEN, lw=1, label=label)
    for number, point in enumerate(marks):
        axes.axvline(hours[point], color=TOLD, lw=1.5, label="told" if number == 0 else None)
    if leak:
        told = f"told {(leak.end - marks[0]) / 4:.0f} h before" if marks else "not told"
        title = f"{title}: {(leak.end - leak.begin) / 4:.0f} h, {told}"
    axes.set_title(title)
    axes.set_ylim(0, 1.05)
    axes.set_xlim(float(hours[first]), float(hours[last - 1]))
    axes.set_ylabel("share in use")


def _foreseen(levels: Levels, series: int) -> list[Foreseen]:
    states, one = new_levels(1), slice(series, series + 1)
    return [
        update(states, START_MS / 1000 + point * BIN_S, low[one], high[one], levels.limit[one])
        for point, (low, high) in enumerate(zip(levels.low, levels.high, strict=True))
    ]


def next_day() -> Figure:
    """Two pools: the last two days, the next one as it was forecast, and what came."""
    figure = Figure(figsize=(10, 5.5), layout="constrained")
    demand = pools(20, 16, SEED)
    for axes, name in zip(figure.subplots(2, 1), ("user cpu", "spot cpu"), strict=True):
        _draw_day(axes, demand[name], f"CPU demand of the pool {name.removesuffix(' cpu')}: the next 24 h")
    figure.axes[0].legend(loc="lower left", ncols=4, fontsize=8)
    figure.axes[1].set_xlabel("hours from the forecast")
    return figure


def _draw_day(axes: Axes, y: Floats, title: str) -> None:
    origin = 15 * DAY - 6 * 3600 // STEP_S
    found = day_ahead(y[:origin])
    assert found is not None
    came = y[origin : origin + DAY]
    before, after = np.arange(-2 * DAY, 0) * STEP_S / 3600, np.arange(DAY) * STEP_S / 3600
    held = ((came >= found.lower) & (came <= found.upper)).mean()
    axes.plot(before, y[origin - 2 * DAY : origin], color=MEASURED, lw=0.9, label="measured")
    axes.plot(after, came, color=MUTED, lw=0.9, label="what came")
    axes.fill_between(after, found.lower, found.upper, color=BAND, label="band")
    axes.plot(after, found.value, color=FORESEEN, lw=1.2, label="forecast")
    axes.axvline(0, color=MUTED, lw=0.8)
    axes.set_title(f"{title} ({100 * held:.0f} % of it within the band)")
    axes.set_ylabel("nodes' worth of work")
    axes.set_ylim(bottom=0)


if __name__ == "__main__":
    main()
