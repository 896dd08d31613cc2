"""The picture of docs/fleet-model.md: how methods compare, and what an outlier looks like."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator
from PIL import Image

from bench.fleet_model.compare import SHIPPED, Fleet, deviations
from bench.fleet_model.fleets import DAY, TRAINED_DAYS, Event
from functions.core.fleet_model.model import ALARM
from telemetry.layout import Floats

_LINE, _OTHERS, _LABEL, _MUTED = "#1f4e79", "#9bb4cc", "#f6c667", "#8a94a0"
_NAMES = {
    SHIPPED: "largest deviation or broken\nrelation (shipped)",
    "largest_deviation": "largest deviation",
    "knn": "k nearest neighbours",
    "mahalanobis": "Mahalanobis, shrunk",
    "robust_covariance": "robust covariance",
    "pca_residual": "PCA residual",
    "isolation_forest": "isolation forest",
    "isolation_forest_large": "isolation forest, large",
}
_BEFORE, _AFTER = 90, 90


class Example(NamedTuple):
    """A fault of one node, and the other nodes of its pool at the same time."""

    event: Event
    minutes: Floats
    """Since the fault began."""
    own: Floats
    others: Floats
    """(minutes, nodes): raw scores."""
    threshold: float

    @classmethod
    def of(cls, fleet: Fleet, scores: Floats, kind: str = "cpu_runaway") -> Example:
        """The first fault of a kind that was found."""
        events = [one for one in fleet.judged.events if one.kind == kind and one.start > _BEFORE]
        event = max(events, key=lambda one: float(np.nanmean(scores[one.start : one.end, one.node] >= ALARM)))
        begin, end = event.start - _BEFORE, min(event.end + _AFTER, len(scores))
        times = TRAINED_DAYS * DAY + np.arange(begin, end)
        z = deviations(fleet, times, fleet.judged.features[begin:end])
        raw = fleet.model.raw_scores(z.reshape(-1, z.shape[2])).reshape(z.shape[:2])
        same = np.flatnonzero(fleet.simulated.pools == fleet.simulated.pools[event.node])
        threshold = float(np.interp(ALARM, fleet.model.calibration[1], fleet.model.calibration[0]))
        others = raw[:, same[same != event.node]]
        return cls(
            event, np.arange(-_BEFORE, end - event.start, dtype=np.float64), raw[:, event.node], others, threshold
        )


def draw(path: Path, precision: dict[str, float], example: Example) -> None:
    """Writes the picture."""
    with mpl.rc_context({"font.size": 9.0, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(10.0, 3.6), layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=[1.0, 1.25])
        names = sorted(precision, key=lambda name: precision[name])
        bars = left.barh(
            [_NAMES[name] for name in names],
            [precision[name] for name in names],
            color=[_LINE if name == SHIPPED else _OTHERS for name in names],
        )
        left.bar_label(bars, fmt="%.2f", padding=3, color="#4a5560")
        left.set_xlim(0.0, 1.0)
        left.set_title("Average precision on faulty windows", loc="left", fontweight="bold", fontsize=10)
        right.axvspan(0, example.event.end - example.event.start, color=_LABEL, alpha=0.35, lw=0)
        right.plot(example.minutes, example.others, color=_OTHERS, lw=0.5, alpha=0.7)
        right.plot([], [], color=_OTHERS, label=f"the other {example.others.shape[1]} nodes of its pool")
        right.plot(example.minutes, example.own, color=_LINE, lw=1.5, label="the node")
        right.axhline(example.threshold, color=_MUTED, ls="--", lw=1, label="alarm: 1 of 1,000 healthy windows")
        right.set_ylim(0.0, 1.35 * float(np.nanmax(example.own)))
        right.xaxis.set_major_locator(MultipleLocator(30))
        right.set_xlabel(f"minutes since the fault began ({example.event.kind.replace('_', ' ')}, shaded)")
        right.set_title(
            "Largest deviation; 1 is the longest of healthy nodes", loc="left", fontweight="bold", fontsize=10
        )
        right.legend(frameon=False, loc="upper left", fontsize=8)
        path.parent.mkdir(parents=True, exist_ok=True)
        drawn = BytesIO()
        figure.savefig(drawn, dpi=110)
    Image.open(drawn).convert("RGB").quantize(64).save(path, optimize=True)
