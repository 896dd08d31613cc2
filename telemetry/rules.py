"""The rules an envelope must keep: names, types, bounds, times, ranges.

For the function app and tools; the agent does not import it (pydantic alone would double its footprint).
`telemetry.validation` applies them, in two ways with one meaning.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any, Literal, NotRequired, TypedDict

import numpy as np
from pydantic import ConfigDict, Field, StringConstraints, TypeAdapter, with_config

from telemetry.errors import EnvelopeRejected, RejectReason
from telemetry.layout import Floats, Layout

NAME_PATTERN = r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,126}[A-Za-z0-9])?$"
"""Clusters and nodes: what Kubernetes allows and what a Table Storage key, a URL path and a blob name can carry."""
MAX_SAMPLES = 600
MAX_CLASSES = 16
MAX_DEVICES = 256
MAX_CONSTANTS = 16
MAX_KEYS = 256
"""Metrics of a node, or of each device of a class; four times what the catalogue has."""
MAX_NAME_BYTES = 128 * 1024
"""Of all device names of an envelope together, in UTF-8; 250 pods have some 15 kB. A node's state is an entity of Table
Storage, which holds 1 MiB: 0.6 MB for the numbers of 256 devices of every class, and the names."""
MAX_COLUMNS = 8192
"""Numbers in one sample; 256 devices of every class need 6,693."""
MAX_NUMBERS = 250_000
"""Numbers in one envelope; the agent publishes when it has 100,000."""
MAX_AGE_MS = 7 * 24 * 3600 * 1000
"""Older than this when Event Hubs received it: the retention of the Standard tier, and of any agent's spool."""
MAX_AHEAD_MS = 10 * 60 * 1000
"""A node's clock may be this far ahead of Event Hubs' clock."""
MAX_SPAN_MS = 2 * 3600 * 1000
"""From the first to the last sample of an envelope: twice the longest publish interval of the agent."""
MAX_SEQ = 2**53

Devices = tuple[tuple[str, ...], ...]
Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
ResourceValue = (
    Annotated[str, StringConstraints(max_length=128, pattern=r"^\P{C}*$")]  # no control characters: stores refuse them
    | Annotated[int, Field(ge=-(2**63), lt=2**63)]
    | float
)
Resource = Annotated[
    dict[Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,31}$")], ResourceValue],
    Field(max_length=MAX_CONSTANTS),
]


@with_config(ConfigDict(strict=True, allow_inf_nan=False, extra="forbid"))
class Head(TypedDict):
    """Who speaks, and when; the numbers stand beside it."""

    version: Literal[1]
    cluster: Name
    node: Name
    instance: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{8,32}$")]
    seq: Annotated[int, Field(ge=1, le=MAX_SEQ)]
    time: list[Annotated[int, Field(ge=-(2**63), lt=2**63)]]  # pydantic's own parser reads longer ones, orjson does not
    resource: NotRequired[Resource]


HEAD = TypeAdapter(Head)


@dataclass(slots=True)
class Frame:
    """One parsed envelope: who and when; its numbers are described by `layout`."""

    cluster: str
    node: str
    instance: str
    seq: int
    time: list[int]
    layout: Layout
    devices: Devices
    """Device names, one tuple per class in catalogue order."""
    resource: dict[str, str | int | float] | None
    values: bytes = b""
    """layout.width columns of len(time) doubles, column after column; NaN where the agent said null.
    Empty when it was read in a batch, which keeps the numbers of all its frames together."""
    row: int = 0
    """Which row of the batch's numbers of this layout is its own."""


class _GoodNames:
    """Lists of names that were looked at before and found good; forgets all when they are too many."""

    def __init__(self) -> None:
        self._lists: set[tuple[str, ...]] = set()
        self._names = 0

    def __contains__(self, names: tuple[Any, ...]) -> bool:
        return names in self._lists

    def add(self, names: tuple[str, ...]) -> None:
        """Remembers a list."""
        self._names += len(names)
        if self._names > _MAX_REMEMBERED:
            self._lists.clear()
            self._names = len(names)
        self._lists.add(names)


_MAX_REMEMBERED = 200_000
"""Names; some 20 MB, as few are long."""
_DEVICE_NAMES = _GoodNames()
_KEYS = _GoodNames()


def are_device_names(names: tuple[Any, ...]) -> bool:
    """Whether these are at most 256 different printable names of 1-255 characters; remembers the good ones."""
    return names in _DEVICE_NAMES or _are_good(
        _DEVICE_NAMES,
        names,
        len(names) <= MAX_DEVICES
        and all(type(name) is str and 0 < len(name) <= 255 and name.isprintable() for name in names)
        and len(set(names)) == len(names),
    )


def are_keys(keys: tuple[Any, ...]) -> bool:
    """Whether these are at most 256 different metric keys of 1-64 characters; remembers the good ones."""
    return keys in _KEYS or _are_good(
        _KEYS,
        keys,
        len(keys) <= MAX_KEYS
        and all(type(key) is str and 0 < len(key) <= 64 for key in keys)
        and len(set(keys)) == len(keys),
    )


def _are_good(remembered: _GoodNames, names: tuple[str, ...], good: bool) -> bool:
    if good:
        remembered.add(names)
    return good


def check_time(time: list[int], received_ms: int) -> None:
    """Raises EnvelopeRejected unless time stamps increase and are believable by Event Hubs' clock."""
    if not time:
        raise EnvelopeRejected(RejectReason.EMPTY, "time is []; an envelope has at least one sample")
    if len(time) > MAX_SAMPLES:
        raise EnvelopeRejected(
            RejectReason.TOO_MANY_SAMPLES, f"{len(time)} samples; an envelope has at most {MAX_SAMPLES}"
        )
    for index, (before, after) in enumerate(pairwise(time)):
        if after <= before:
            raise EnvelopeRejected(
                RejectReason.TIME_NOT_INCREASING, f"time.{index + 1} is {after}, not after {before} before it"
            )
    if time[0] < received_ms - MAX_AGE_MS:
        raise EnvelopeRejected(
            RejectReason.TIME_TOO_OLD,
            f"time.0 is {time[0]}, {(received_ms - time[0]) / 86_400_000:.1f} days before it was received; "
            "at most 7 days are accepted",
        )
    if time[-1] > received_ms + MAX_AHEAD_MS:
        raise EnvelopeRejected(
            RejectReason.TIME_IN_FUTURE,
            f"time.{len(time) - 1} is {time[-1]}, {(time[-1] - received_ms) / 60_000:.1f} min after it was received; "
            "at most 10 min are accepted: check the node's clock",
        )
    if time[-1] - time[0] > MAX_SPAN_MS:
        raise EnvelopeRejected(
            RejectReason.TIME_SPAN_TOO_LONG,
            f"{time[0]} to {time[-1]} is {(time[-1] - time[0]) / 3_600_000:.1f} h; an envelope spans at most 2 h",
        )


def check_ranges(layout: Layout, values: Floats) -> dict[int, EnvelopeRejected]:
    """Finds the frames with a number outside its metric's range: index -> why.

    `values` has shape (frames, layout.width, samples). NaN (null) is in range, infinity never is. Of metrics that
    this build does not know every number is: they are ignored, so that a newer agent can be rolled out first.
    """
    with np.errstate(invalid="ignore"):
        wrong = (values < 0.0) | (values > layout.upper[:, None]) | np.isinf(values)
    if layout.unknown:
        wrong &= np.isfinite(layout.upper)[:, None]
    if not wrong.any():
        return {}
    rejected = {}
    for index in np.flatnonzero(wrong.any(axis=(1, 2))).tolist():
        column, sample = (int(i) for i in np.argwhere(wrong[index])[0])
        rejected[index] = EnvelopeRejected(
            RejectReason.OUT_OF_RANGE,
            f"{layout.describe(column)} sample {sample} is {values[index, column, sample]:g}; "
            f"it must be 0 to {layout.upper[column]:g}",
        )
    return rejected
