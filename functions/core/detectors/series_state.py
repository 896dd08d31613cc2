"""What a detector knows of one series: a record of fixed size, and its bytes.

Pure; for the modules of this package. Bytes are versioned and checked by a CRC, never pickled.
"""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np

SIDES = 11
"""One-sided views of a series whose tails are watched, see `streaming.py`."""
FAST, SLOW = 15, 7
"""Peaks remembered per side, the one that has just been seen included, and the one that has to prove itself first."""
BINS = 24
"""Parts of a day in the daily profile."""

State = np.ndarray[Any, np.dtype[np.void]]
"""Records of dtype SERIES, one per series."""


def _tail(peaks: int) -> np.dtype[np.void]:
    return np.dtype(
        [
            ("highest", "<f4", SIDES),
            ("scale", "<f4", SIDES),
            ("below", "<f2", (SIDES, peaks - 1)),
            ("count", "<u1", SIDES),
        ]
    )


SERIES = np.dtype(
    [
        ("count", "<f4"),
        ("value", "<f4"),
        ("level", "<f4"),
        ("noise", "<f4"),
        ("smooth", "<f4", 3),
        ("activity", "<f4"),
        ("expected_points", "<f4"),
        ("residual", "<f4", 2),
        ("bin", "<i1"),
        ("block_points", "<u1"),
        ("bin_count", "<u2"),
        ("bin_sum", "<f4"),
        ("profile", "<f4", BINS),
        ("spread", "<f4", BINS),
        ("peak", "<f4", SIDES),
        ("held", "<f4", SIDES),
        ("held_episodes", "<u1", SIDES),
        ("held_blocks", "<u1", SIDES),
        ("quiet_blocks", "<u1", SIDES),
        ("quiet_points", "<u2"),
        ("fast", _tail(FAST)),
        ("slow", _tail(SLOW)),
    ]
)
"""Everything of one series. NaN in `profile` and -inf in `peak` and `held`: nothing yet."""

VERSION = 1
_MAGIC = b"DMD" + bytes([VERSION])


class DetectorStateUnreadable(ValueError):
    """State bytes are truncated, flipped, or of another version: begin anew."""


def new_states(count: int) -> State:
    """States of series nothing is known of."""
    states = np.zeros(count, SERIES)
    for field in ("profile", "spread"):
        states[field] = np.nan
    for field in ("peak", "held"):
        states[field] = -np.inf
    states["bin"] = -1
    states["quiet_points"] = 60_000
    return states


def encode_states(states: State) -> bytes:
    """States as bytes: magic and version, CRC, records."""
    body = np.ascontiguousarray(states).tobytes()
    return _MAGIC + zlib.crc32(body).to_bytes(4, "little") + body


def decode_states(blob: bytes, count: int) -> State:
    """States of `count` series from their bytes. Raises DetectorStateUnreadable."""
    header, body = blob[:8], blob[8:]
    if header[:4] != _MAGIC:
        raise DetectorStateUnreadable(f"detector state begins with {header[:4]!r}; this build reads {_MAGIC!r}")
    if len(body) != count * SERIES.itemsize:
        raise DetectorStateUnreadable(
            f"detector state has {len(body)} bytes; {count} series of {SERIES.itemsize} would be right"
        )
    if zlib.crc32(body) != int.from_bytes(header[4:], "little"):
        raise DetectorStateUnreadable("detector state does not match its checksum")
    return np.frombuffer(body, SERIES).copy()
