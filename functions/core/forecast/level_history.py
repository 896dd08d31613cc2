"""What is remembered of one level (a used share, 0 to 1): a week by the hour, six hours by the quarter; its bytes.

Pure; for `exhaustion.py`. A record has a fixed size below 1 kB. Bytes are versioned and checked by a CRC, never
pickled. Levels are kept as whole numbers of 1/50,000, which is finer than what agents send.
"""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np

from telemetry.layout import Floats, Indexes

BIN_S = 900
"""Seconds of one point: its highest and lowest level."""
BINS_PER_HOUR = 3600 // BIN_S
HOURS = 168
"""Hours that are remembered: on Monday morning still the one before."""
BINS = 24
"""Points that are remembered one by one."""
HIGHEST = 1.3
"""What a level is cut at; a share is above 1 by rounding or reservation only."""

LEVELS = np.dtype(
    [
        ("bin", "<i8"),
        ("raw", "<u2"),
        ("high", "<u2", HOURS),
        ("low", "<u2", HOURS),
        ("recent", "<u2", BINS),
        ("open", "<u1"),
        ("quiet", "<u2"),
    ]
)
"""One series: its newest point, its levels by hour and by point (each at its number modulo the length), its episode."""
States = np.ndarray[Any, np.dtype[np.void]]
Flags = np.ndarray[Any, np.dtype[np.bool_]]
Stored = np.ndarray[Any, np.dtype[np.uint16]]

_STEPS = 50_000.0
_MISSING = np.uint16(65_535)
_VERSION = 1
_MAGIC = b"DML" + bytes([_VERSION])


class LevelsUnreadable(ValueError):
    """State bytes are truncated, flipped, or of another version: begin anew."""


def new_levels(count: int) -> States:
    """States of series nothing is known of."""
    states = np.zeros(count, LEVELS)
    for field in ("raw", "high", "low", "recent"):
        states[field] = _MISSING
    states["bin"] = -1
    return states


def encode_levels(states: States) -> bytes:
    """States as bytes: magic and version, CRC, records."""
    body = np.ascontiguousarray(states).tobytes()
    return _MAGIC + zlib.crc32(body).to_bytes(4, "little") + body


def decode_levels(blob: bytes, count: int) -> States:
    """States of `count` series from their bytes. Raises LevelsUnreadable."""
    header, body = blob[:8], blob[8:]
    if header[:4] != _MAGIC:
        raise LevelsUnreadable(f"levels begin with {header[:4]!r}; this build reads {_MAGIC!r}")
    if len(body) != count * LEVELS.itemsize:
        raise LevelsUnreadable(
            f"levels have {len(body)} bytes; {count} series of {LEVELS.itemsize} make {count * LEVELS.itemsize}"
        )
    if zlib.crc32(body) != int.from_bytes(header[4:], "little"):
        raise LevelsUnreadable("levels do not match their checksum")
    return np.frombuffer(body, LEVELS).copy()


def stored(levels: Floats) -> Stored:
    """Levels as they are kept; what is no finite number is missing."""
    finite = np.isfinite(levels)
    cut = np.clip(np.where(finite, levels, 0.0), 0.0, HIGHEST)
    return np.where(finite, np.rint(cut * _STEPS), _MISSING).astype(np.uint16)


def levels(kept: Stored) -> Floats:
    """Kept levels as numbers; NaN where missing."""
    return np.where(kept == _MISSING, np.nan, kept / _STEPS)


def remember(states: States, time: float, low: Floats, high: Floats) -> Flags:
    """Adds the point that begins at `time` (epoch s) to each series, in place; says which took it.

    Not taken: missing values, and points that are not newer than the newest. What is kept as a level is the lower
    peak of two neighbouring points: a spike is no level.
    """
    number = int(time // BIN_S)
    low_kept, raw = stored(np.minimum(low, high)), stored(np.maximum(low, high))
    taken: Flags = (raw != _MISSING) & (states["bin"] < number)
    at = np.flatnonzero(taken)
    some = states[at]
    _forget(some, number)
    level = np.where(some["bin"] == number - 1, np.minimum(raw[at], some["raw"]), raw[at])
    hour = number // BINS_PER_HOUR % HOURS
    some["recent"][:, number % BINS] = level
    some["high"][:, hour] = np.where(some["high"][:, hour] == _MISSING, level, np.maximum(some["high"][:, hour], level))
    some["low"][:, hour] = np.minimum(some["low"][:, hour], low_kept[at])
    some["raw"], some["bin"] = raw[at], number
    states[at] = some
    return taken


def recent(states: States) -> Floats:
    """Levels of the newest points, (series, BINS), the newest last; the series must have the same newest point."""
    return levels(states["recent"][:, _order(states["bin"][0], BINS)])


def hours(states: States, field: str) -> Floats:
    """Levels by the hour, (series, HOURS), the current hour last; the series must have the same newest point."""
    return levels(states[field][:, _order(states["bin"][0] // BINS_PER_HOUR, HOURS)])


def _order(newest: int, length: int) -> Indexes:
    return (int(newest) + 1 + np.arange(length)) % length


def _forget(states: States, number: int) -> None:
    """Clears what is older than the memory: the places that the points up to `number` take."""
    for fields, unit, length in ((("recent",), 1, BINS), (("high", "low"), BINS_PER_HOUR, HOURS)):
        now = number // unit
        newest = now - (now - np.arange(length)) % length
        stale = newest > (states["bin"] // unit)[:, None]
        if stale[:, now % length].any():
            for field in fields:
                states[field][stale] = _MISSING
