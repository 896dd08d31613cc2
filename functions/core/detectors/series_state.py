"""What a detector knows of one series: a record of fixed size, and its bytes.

Pure; for the modules of this package. Bytes are versioned and checked by a CRC, never pickled.

All that is looked at with every point is one field of floats, `now`, so that an update reads and writes it at once:
`states["now"].T[LEVEL]` is the level of every series. The names of its columns are the constants below.
"""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np

from telemetry.layout import Floats

SIDE_NAMES = (
    "value",
    "smooth 5",
    "smooth 20",
    "smooth 80",
    "activity",
    "residual 5",
    "residual 20",
    "jump",
    "low smooth 5",
    "low residual 5",
    "low residual 20",
)
"""One-sided views of a series whose tails are watched, see `streaming.py`."""
SIDES = len(SIDE_NAMES)
OF_RESIDUAL = np.array(["residual" in name for name in SIDE_NAMES])
"""Sides that say nothing before the second day."""
OF_CHANGE = np.array([name in ("activity", "jump") for name in SIDE_NAMES])

VALUE, SMOOTH, ACTIVITY, RESIDUAL = 0, slice(1, 4), 4, slice(5, 7)
"""The first sides, as they were at the last point."""
JUMP, LOW = 7, slice(8, 11)
"""The other sides: sides only, not columns."""
LEVEL, NOISE = 7, 8
USUAL, SPREAD = 9, 10
"""Of the hour that runs, from the profile; NaN on the first day."""
COUNT, EXPECTED = 11, 12
"""Points known; those of them for which something was expected."""
WEEK_TIME, AGE = 13, 14
"""Seconds: of the last point, in its week (-1: none yet); seen, without gaps."""
HOUR_MEAN, HOUR_COUNT = 15, 16
"""Of the points of the hour that runs."""
QUIET, UNSEEN = 17, 18
"""Points since there was evidence; since there was anything that is not normal yet, see `REST` in `streaming.py`."""
NEWS, STRONGEST = 19, 20
"""Evidence there was in recent blocks, on average; at most since the incident began."""
BEFORE, LEARNT = 21, 22
"""The value two points ago; the last value as it was learnt, see `learnable` in `streaming.py`."""
OFF, RESTLESS = 23, 24
"""How far values usually are from the level; what the activity usually is."""
PEAK = slice(25, 25 + SIDES)
"""Highest of the block that runs, per side; -inf: nothing yet."""
CHANGING = slice(0, PEAK.stop)
"""What a point changes; the rest changes with a block."""
HIGHEST = slice(PEAK.stop, PEAK.stop + 2 * SIDES)
SCALE = slice(HIGHEST.stop, HIGHEST.stop + 2 * SIDES)
"""Of the tails, see `tails.py`: the sides of the fast ones, then of the slow ones."""
COLUMNS = SCALE.stop

FAST, SLOW = 15, 7
"""Peaks remembered per side, the one that has just been seen included, and the one that has to prove itself first."""
HOURS = 24
"""Of the daily profile."""
WEEKDAYS, PARTS = 7, 6
"""Of the weekly pattern: parts of four hours."""

State = np.ndarray[Any, np.dtype[np.void]]
"""Records of dtype SERIES, one per series."""
Halves = np.ndarray[Any, np.dtype[np.uint16]]

SERIES = np.dtype(
    [
        ("now", "<f4", COLUMNS),
        ("profile", "<f4", HOURS),
        ("spread", "<u2", HOURS),
        ("week", "<i1", (WEEKDAYS, PARTS)),
        ("week_unit", "<u1"),
        ("held", "<f4", SIDES),
        ("below_fast", "<f2", (SIDES, FAST - 1)),
        ("below_slow", "<f2", (SIDES, SLOW - 1)),
        ("held_episodes", "<u1", SIDES),
        ("held_blocks", "<u1", SIDES),
        ("calm", "<u2"),
        ("block_points", "<u1"),
    ]
)
"""Everything of one series.

`spread` is the upper half of a float's bits, see `upper_half`; `calm` a bit per side; `week_unit` a power of two, see
`weekly_pattern.py`.
"""

VERSION = 3
_MAGIC = b"DMD" + bytes([VERSION])
_HEADER_BYTES = len(_MAGIC) + 4


class DetectorStateUnreadable(ValueError):
    """State bytes are truncated, flipped, or of another version: begin anew."""


def new_states(count: int) -> State:
    """States of series nothing is known of."""
    states = np.zeros(count, SERIES)
    now = states["now"]
    now[:, [USUAL, SPREAD]] = np.nan
    now[:, WEEK_TIME] = -1.0
    now[:, [QUIET, UNSEEN]] = np.inf
    now[:, PEAK] = now[:, HIGHEST] = -np.inf
    now[:, SCALE] = 1.0
    states["profile"] = np.nan
    states["spread"] = upper_half(np.full(1, np.nan))
    for field in ("below_fast", "below_slow"):
        states[field] = np.inf
    states["held"] = -np.inf
    return states


def upper_half(values: Floats) -> Halves:
    """Numbers to three digits, in two bytes: a float's sign, exponent and first seven bits (bfloat16), rounded."""
    return ((values.astype(np.float32).view(np.uint32) + 0x8000) >> 16).astype(np.uint16)


def from_upper_half(halves: Halves) -> Floats:
    """What `upper_half` stored."""
    return (halves.astype(np.uint32) << 16).view(np.float32).astype(np.float64)


def encode_states(states: State) -> bytes:
    """States as bytes: magic and version, CRC, records."""
    body = np.ascontiguousarray(states).tobytes()
    return _MAGIC + zlib.crc32(body).to_bytes(4, "little") + body


def decode_states(blob: bytes, count: int) -> State:
    """States of `count` series from their bytes. Raises DetectorStateUnreadable."""
    header, body = blob[:_HEADER_BYTES], blob[_HEADER_BYTES:]
    if header[: len(_MAGIC)] != _MAGIC:
        raise DetectorStateUnreadable(f"detector state begins with {header[:4]!r}; this build reads {_MAGIC!r}")
    if len(body) != count * SERIES.itemsize:
        raise DetectorStateUnreadable(
            f"detector state has {len(body)} bytes; {count} series of {SERIES.itemsize} would be right"
        )
    if zlib.crc32(body) != int.from_bytes(header[len(_MAGIC) :], "little"):
        raise DetectorStateUnreadable("detector state does not match its checksum")
    return np.frombuffer(body, SERIES).copy()
