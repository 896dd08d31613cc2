"""Reads labelled series in the layout of the Numenta Anomaly Benchmark: CSV files and windows of anomalies.

    data/CATEGORY/FILE.csv   columns timestamp,value; times without zone are UTC; an empty value is missing
    windows.json             {"CATEGORY/FILE.csv": [[first, last], ...]}; an empty list: no anomaly in this file

A checkout of NAB itself is read too: there the windows are labels/combined_windows.json.
"""

from __future__ import annotations

import csv
import json
import math
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from telemetry.layout import Floats

WINDOW_FILES = ("windows.json", "labels/combined_windows.json")
HEADER = ["timestamp", "value"]
_SHOWN = 20
"""Problems told at once."""


class LabelledDataUnusable(ValueError):
    """The folder, a file or a line of it is not as it should be; the text says where and what would be right."""


@dataclass(frozen=True, slots=True)
class LabelledSeries:
    """One file."""

    name: str
    """Its path below data/."""
    time: Floats
    """Epoch seconds, as they stand in the file: they may repeat, skip, or go back."""
    values: Floats
    windows: tuple[tuple[int, int], ...]
    """First and last row of each anomaly, ascending."""


def read_labelled(folder: Path) -> list[LabelledSeries]:
    """Every series of a folder, by name. Raises LabelledDataUnusable with all problems found, at most one a file."""
    windows_file = next((folder / name for name in WINDOW_FILES if (folder / name).is_file()), None)
    if windows_file is None:
        raise LabelledDataUnusable(f"{folder}: has neither {' nor '.join(WINDOW_FILES)}; give a folder in NAB's layout")
    windows = _read_windows(windows_file)
    files = {path.relative_to(folder / "data").as_posix(): path for path in sorted((folder / "data").glob("**/*.csv"))}
    problems = [
        f"{windows_file}: names {name!r}, but {folder / 'data' / name} is not there"
        for name in windows
        if name not in files
    ]
    problems += [
        f'{path}: {windows_file.name} does not name it; add "{name}": [] if it has no anomaly'
        for name, path in files.items()
        if name not in windows
    ]
    found = []
    for name, path in files.items():
        if name in windows:
            try:
                time, values = _read_csv(path)
                found.append(LabelledSeries(name, time, values, _rows_of(windows[name], time, path, windows_file)))
            except LabelledDataUnusable as error:
                problems.append(str(error))
    if problems:
        more = [f"... and {len(problems) - _SHOWN} more"] if len(problems) > _SHOWN else []
        raise LabelledDataUnusable("\n".join([*problems[:_SHOWN], *more]))
    if not found:
        raise LabelledDataUnusable(f"{folder / 'data'}: no CSV file is in it")
    return found


def _read_windows(path: Path) -> dict[str, list[tuple[str, str]]]:
    try:
        document: Any = json.loads(path.read_bytes())
    except ValueError as error:
        raise LabelledDataUnusable(f"{path}: is no JSON: {error}") from error
    if not isinstance(document, dict):
        raise LabelledDataUnusable(f'{path}: must be an object like {{"a/b.csv": []}}, got {_short(document)}')
    for name, windows in document.items():
        if not isinstance(windows, list) or not all(_is_pair(window) for window in windows):
            raise LabelledDataUnusable(
                f"{path}: {name!r} must have a list of [first, last] times, got {_short(windows)}"
            )
    return document


def _is_pair(window: object) -> bool:
    return isinstance(window, list) and len(window) == 2 and all(isinstance(time, str) for time in window)


def _read_csv(path: Path) -> tuple[Floats, Floats]:
    times: list[float] = []
    values: list[float] = []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.reader(file)
            header = next(rows, None)
            if header is None:
                raise LabelledDataUnusable(f"{path}: is empty; a header and rows would be right")
            if header != HEADER:
                raise LabelledDataUnusable(f"{path}:1: must be {','.join(HEADER)}, got {_short(','.join(header))}")
            for row in rows:
                if len(row) != 2:
                    raise LabelledDataUnusable(f"{path}:{rows.line_num}: must have 2 columns, has {len(row)}")
                times.append(_epoch(row[0], f"{path}:{rows.line_num}"))
                values.append(_number(row[1], f"{path}:{rows.line_num}"))
    except (UnicodeDecodeError, csv.Error) as error:
        raise LabelledDataUnusable(f"{path}: cannot be read as CSV in UTF-8: {error}") from error
    if not times:
        raise LabelledDataUnusable(f"{path}: has a header but no rows")
    return np.array(times), np.array(values)


def _epoch(text: str, place: str) -> float:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise LabelledDataUnusable(f"{place}: time must be like 2014-04-01 00:05:00, got {_short(text)}") from None
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()


def _number(text: str, place: str) -> float:
    if not text.strip():
        return math.nan
    try:
        return float(text)
    except ValueError:
        raise LabelledDataUnusable(
            f"{place}: value must be a number, or empty where it is missing, got {_short(text)}"
        ) from None


def _rows_of(windows: list[tuple[str, str]], time: Floats, path: Path, source: Path) -> tuple[tuple[int, int], ...]:
    """Windows as rows of the file."""
    found = []
    for first, last in windows:
        place = f"{source}: window of {path.name}"
        inside = np.flatnonzero((time >= _epoch(first, place)) & (time <= _epoch(last, place)))
        if inside.size == 0:
            raise LabelledDataUnusable(f"{place}: no row is from {first} to {last}")
        found.append((int(inside[0]), int(inside[-1])))
    found.sort()
    for (_, end), (start, _) in pairwise(found):
        if start <= end:
            raise LabelledDataUnusable(f"{source}: windows of {path.name} overlap; join them")
    return tuple(found)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
