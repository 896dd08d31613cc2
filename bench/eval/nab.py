"""The labelled files' part of the evaluation: has the shipped detectors judge them, scores the alarms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from bench.eval.crew import Task
from bench.eval.labelled import LabelledSeries
from bench.eval.nab_score import LOW_FP, STANDARD, FileTally, probation, score, tally
from bench.eval.shipped import Judged, judge
from bench.figures import Figures


class JudgedFile(NamedTuple):
    """A labelled file and what the shipped detectors made of it."""

    series: LabelledSeries
    judged: Judged
    tally: FileTally

    @property
    def windows(self) -> int:
        """How many are scored."""
        return len(self.tally.detected)

    @property
    def detected(self) -> int:
        """How many of them have an alarm."""
        return sum(self.tally.detected)

    @property
    def alarms(self) -> int:
        """Right and false ones, without those in probation, which are not scored."""
        return int(self.judged.alarm[probation(len(self.judged.alarm)) :].sum())

    @property
    def score(self) -> float | None:
        """The file's own score in the standard profile; None where no window of it is scored."""
        return score([self.tally], STANDARD) if self.tally.detected else None


def file_tasks(files: Sequence[LabelledSeries]) -> list[Task]:
    """What is to be done for `judged_files`."""
    return [Task(judge, ([file.time for file in files], [file.values for file in files]))]


def judged_files(files: Sequence[LabelledSeries], results: Sequence[Sequence[Judged]]) -> list[JudgedFile]:
    """Scores what was found in files."""
    (judged,) = results
    return [
        JudgedFile(file, found, tally(found.alarm, file.windows)) for file, found in zip(files, judged, strict=True)
    ]


def add_figures(figures: Figures, files: Sequence[JudgedFile]) -> None:
    """The figures `eval.nab_*`, those of single files last."""
    tallies = [file.tally for file in files]
    windows, found = sum(file.windows for file in files), sum(file.detected for file in files)
    alarms, false = sum(file.alarms for file in files), sum(file.tally.false_alarms for file in files)
    if windows:
        figures.add("eval.nab_standard", score(tallies, STANDARD), "points")
        figures.add("eval.nab_low_fp", score(tallies, LOW_FP), "points")
        figures.add("eval.nab_detection_rate", found / windows, f"of {windows} windows")
    figures.add("eval.nab_detected", found, f"of {windows} windows")
    figures.add("eval.nab_alarms", alarms, f"in {len(files)} files")
    figures.add("eval.nab_false_alarms", false, f"in {len(files)} files")
    for file in files:
        name = file.series.name.removesuffix(".csv")
        if file.windows:
            figures.add(f"eval.nab_detection_rate:{name}", file.detected / file.windows, f"of {file.windows} windows")
        figures.add(f"eval.nab_alarms:{name}", file.alarms, f"of which {file.tally.false_alarms} false")
