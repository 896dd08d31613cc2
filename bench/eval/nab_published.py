"""Scores what NAB's own detectors alarmed on, and compares it with what NAB says: `python -m bench.eval.nab_published`.

Give it a checkout of the benchmark. Of each detector in results/ the published anomaly scores are cut at its published
threshold (config/thresholds.json), and the alarms are scored as this evaluation scores those of ours. The scores that
NAB gives (results/final_results.json) must come out; 1 is returned where they do not.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bench.eval.nab_score import LOW_FP, STANDARD, FileTally, score, tally

PROFILES = {"standard": STANDARD, "reward_low_FP_rate": LOW_FP}
_SAME = 0.005
"""Points, of 100."""


class Published(NamedTuple):
    """A detector's score in a profile."""

    detector: str
    profile: str
    ours: float
    theirs: float


def published(checkout: Path) -> Iterator[Published]:
    """Scores of all detectors whose thresholds are published.

    What is no checkout raises OSError, ValueError or LookupError.
    """
    windows = _json(checkout / "labels" / "combined_windows.json")
    final = _json(checkout / "results" / "final_results.json")
    for detector, of_profile in sorted(_json(checkout / "config" / "thresholds.json").items()):
        if detector not in final or not (checkout / "results" / detector).is_dir():
            continue
        files = [_file(checkout, detector, name, spans) for name, spans in windows.items()]
        for profile, cost in PROFILES.items():
            threshold = of_profile[profile]["threshold"]
            tallies: list[FileTally] = [tally(scores >= threshold, rows) for scores, rows in files]
            yield Published(detector, profile, score(tallies, cost), final[detector][profile])


def _file(
    checkout: Path, detector: str, name: str, spans: Sequence[Sequence[str]]
) -> tuple[Any, list[tuple[int, int]]]:
    """Scores of one file, and its windows as rows of it."""
    category, file = name.split("/")
    with (checkout / "results" / detector / category / f"{detector}_{file}").open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    times = [row["timestamp"][:19] for row in rows]
    windows = []
    for first, last in spans:
        inside = [row for row, time in enumerate(times) if first[:19] <= time <= last[:19]]
        windows.append((inside[0], inside[-1]))
    return np.array([float(row["anomaly_score"] or 0.0) for row in rows]), windows


def _json(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_bytes())
    return found


def main(arguments: Sequence[str]) -> int:
    """Prints a line per detector and profile."""
    if len(arguments) != 1:
        print("usage: python -m bench.eval.nab_published CHECKOUT_OF_NAB", file=sys.stderr)
        return 2
    wrong = 0
    try:
        for one in published(Path(arguments[0])):
            differs = abs(one.ours - one.theirs) > _SAME
            wrong += differs
            told = "  DIFFERS" if differs else ""
            print(f"{one.detector:<20} {one.profile:<20} {one.ours:7.2f}  published {one.theirs:7.2f}{told}")
    except (OSError, ValueError, LookupError) as error:
        print(f"{arguments[0]}: is no checkout of NAB: {error!r}", file=sys.stderr)
        return 2
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
