"""The labelled files' part of the evaluation: reads them, has the shipped detectors judge them, scores the alarms."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bench.eval.labelled import LabelledSeries, read_labelled
from bench.eval.nab_score import LOW_FP, STANDARD, FileTally, score, tally
from bench.eval.progress import Progress
from bench.eval.shipped import Judged, judge
from bench.figures import Figures


class JudgedFile(NamedTuple):
    """A labelled file and what the shipped detectors made of it."""

    series: LabelledSeries
    judged: Judged
    tally: FileTally

    @property
    def score(self) -> float | None:
        """The file's own score in the standard profile; None where no window of it is scored."""
        return score([self.tally], STANDARD) if self.tally.detected else None


def judge_files(folder: Path, progress: Progress) -> list[JudgedFile]:
    """Judges every file of a folder. Raises LabelledDataUnusable."""
    files = read_labelled(folder)
    points = sum(len(file.values) for file in files)
    progress.step(f"labelled files: {len(files)} with {points} points from {folder}")
    judged = judge(
        [file.time for file in files],
        [file.values for file in files],
        lambda done, total: progress.part("labelled files", done, total),
    )
    return [
        JudgedFile(file, found, tally(found.alarm, file.windows)) for file, found in zip(files, judged, strict=True)
    ]


def add_figures(figures: Figures, files: Sequence[JudgedFile]) -> None:
    """The figures `eval.nab_*`."""
    tallies = [file.tally for file in files]
    found = np.concatenate([np.array(one.detected, np.bool_) for one in tallies])
    if found.size:
        figures.add("eval.nab_standard", score(tallies, STANDARD), "points")
        figures.add("eval.nab_low_fp", score(tallies, LOW_FP), "points")
    figures.add("eval.nab_detected", int(found.sum()), f"of {found.size} windows")
    figures.add("eval.nab_false_alarms", sum(one.false_alarms for one in tallies), f"in {len(files)} files")
