"""Reads labelled series in the layout of the Numenta Anomaly Benchmark: CSV files and windows of anomalies.

    data/CATEGORY/FILE.csv   columns timestamp,value; times without zone are UTC; an empty value is missing
    windows.json             {"CATEGORY/FILE.csv": [[first, last], ...]}

A checkout of NAB itself is read too: there the windows are labels/combined_windows.json. Without a folder `data` the
files lie beside windows.json. A file that windows.json does not name, or names with an empty list, has no anomaly.
"""

from __future__ import annotations

import csv
import json
import math
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from telemetry.layout import Floats

WINDOW_FILES = ("windows.json", "labels/combined_windows.json")
HEADER = ["timestamp", "value"]
_LAYOUT = "data/**/*.csv with timestamp,value, and windows.json beside data, or beside the files"
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


class Labelled(NamedTuple):
    """A folder."""

    series: list[LabelledSeries]
    """By name."""
    odd: list[str]
    """What is not as one would expect it, but can be evaluated."""


def read_labelled(folder: Path) -> Labelled:
    """Every series of a folder. Raises LabelledDataUnusable with all problems found, at most one a file."""
    if not folder.is_dir():
        raise LabelledDataUnusable(f"{folder}: is no folder; give one in NAB's layout: {_LAYOUT}")
    windows_file = next((folder / name for name in WINDOW_FILES if (folder / name).is_file()), None)
    if windows_file is None:
        raise LabelledDataUnusable(f"{folder}: has neither {' nor '.join(WINDOW_FILES)}; right would be {_LAYOUT}")
    windows = _read_windows(windows_file)
    data = folder / "data" if (folder / "data").is_dir() else folder
    files = {path.relative_to(data).as_posix(): path for path in sorted(data.glob("**/*.csv")) if path.is_file()}
    problems = [
        f"{windows_file}: names {name!r}, but {data / name} is not there; add the file or remove its name"
        for name in windows
        if name not in files
    ]
    odd = [
        f"{path}: {windows_file.name} does not name it; it is taken to have no anomaly"
        for name, path in files.items()
        if name not in windows
    ]
    found = []
    for name, path in files.items():
        try:
            time, values, lines = _read_csv(path)
            found.append(LabelledSeries(name, time, values, _rows_of(windows.get(name, []), time, path, windows_file)))
        except LabelledDataUnusable as error:
            problems.append(str(error))
            continue
        odd += _out_of_order(path, time, lines)
    if problems:
        more = [f"... and {len(problems) - _SHOWN} more"] if len(problems) > _SHOWN else []
        raise LabelledDataUnusable("\n".join([*problems[:_SHOWN], *more]))
    if not found:
        raise LabelledDataUnusable(f"{data}: no CSV file is in it")
    return Labelled(found, odd)


def _out_of_order(path: Path, time: Floats, lines: list[int]) -> list[str]:
    """Files of life repeat hours and stand still: that is told, and detectors have to bear it."""
    rows = np.flatnonzero(np.diff(time) <= 0.0) + 1
    if not rows.size:
        return []
    row = int(rows[0])
    now, before = (datetime.fromtimestamp(time[at], UTC).strftime("%Y-%m-%d %H:%M:%S") for at in (row, row - 1))
    place, others = f"{path}:{lines[row]}", f", as are {rows.size - 1} more" if rows.size > 1 else ""
    return [f"{place}: {now} is not after {before}{others}; taken as it is, ascending times would be right"]


def _read_windows(path: Path) -> dict[str, list[tuple[str, str]]]:
    try:
        document: Any = json.loads(path.read_bytes())
    except OSError as error:
        raise LabelledDataUnusable(f"{path}: cannot be read: {error.strerror}") from error
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


def _read_csv(path: Path) -> tuple[Floats, Floats, list[int]]:
    """Times, values, and the line each is from."""
    lines: list[int] = []
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
                lines.append(rows.line_num)
                times.append(_epoch(row[0], f"{path}:{rows.line_num}"))
                values.append(_number(row[1], f"{path}:{rows.line_num}"))
    except OSError as error:
        raise LabelledDataUnusable(f"{path}: cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise LabelledDataUnusable(f"{path}: cannot be read as CSV in UTF-8: {error}") from error
    if not times:
        raise LabelledDataUnusable(f"{path}: has a header but no rows")
    return np.array(times), np.array(values), lines


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
        if "_" not in text:  # which Python would take as a number's
            return float(text)
    except ValueError:
        pass
    raise LabelledDataUnusable(f"{place}: value must be a number, or empty where it is missing, got {_short(text)}")


def _rows_of(windows: list[tuple[str, str]], time: Floats, path: Path, source: Path) -> tuple[tuple[int, int], ...]:
    """Windows as rows of the file."""
    found = []
    for first, last in windows:
        place = f"{source}: window of {path.name}"
        begin, end = _epoch(first, place), _epoch(last, place)
        if begin > end:
            raise LabelledDataUnusable(f"{place}: ends before it begins: {first} to {last}; exchange them")
        inside = np.flatnonzero((time >= begin) & (time <= end))
        if inside.size == 0:
            raise LabelledDataUnusable(f"{place}: no row is from {first} to {last}")
        found.append((int(inside[0]), int(inside[-1])))
    found.sort()
    for (_, reached), (start, _) in pairwise(found):
        if start <= reached:
            raise LabelledDataUnusable(f"{source}: windows of {path.name} overlap; join them")
    return tuple(found)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
