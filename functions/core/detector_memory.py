"""What the detectors know of the nodes of one partition, in memory and as bytes.

Pure; used by `watch`. What a batch teaches counts once it is kept, which is when the batch is committed: a batch that
runs again must not teach twice. The bytes are versioned, checked by CRCs, never pickled: magic and version, then gzip
of: header length, header (JSON: metrics, nodes), states.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from typing import Any, cast

import numpy as np
import orjson
from isal import igzip, isal_zlib

from functions.core.detectors.series_state import (
    SERIES,
    DetectorStateUnreadable,
    State,
    decode_states,
    encode_states,
    new_states,
)
from functions.core.policy.rules import METRICS
from functions.core.ports import NodeKey

FORGOTTEN_AFTER = 14 * 24 * 60
"""Minutes after which a node that was not heard of is not stored any more."""
_MAGIC = b"DMM\x01"
_WIDTH = len(METRICS)
_Bytes = np.ndarray[Any, np.dtype[np.uint8]]
_NEW: _Bytes = new_states(_WIDTH).view(np.uint8)
_GzipError = cast(type[Exception], isal_zlib.error)


class DetectorMemory:
    """States of the nodes of a partition, each (METRICS) of SERIES."""

    def __init__(self) -> None:
        self._states: dict[NodeKey, _Bytes] = {}
        self._heard: dict[NodeKey, int] = {}
        self._buffer: _Bytes = np.empty((0, _NEW.size), np.uint8)
        self._is_lent = False

    def __len__(self) -> int:
        return len(self._states)

    def take(self, keys: Sequence[NodeKey]) -> State:
        """Copies of the nodes' states (keys, METRICS), to be changed and kept; new ones for nodes not known.

        They are good until states are taken after something was kept: a batch's array is used again by the next.
        """
        if self._is_lent:
            return self._copies(keys, np.empty((len(keys), _NEW.size), np.uint8))
        if len(self._buffer) < len(keys):
            self._buffer = np.empty((len(keys), _NEW.size), np.uint8)
        self._is_lent = True
        return self._copies(keys, self._buffer[: len(keys)])

    def keep(self, keys: Sequence[NodeKey], states: State, minutes: Sequence[int]) -> None:
        """Replaces what is known of nodes; `minutes` are the latest ones they were heard of."""
        for key, row in zip(keys, states.view(np.uint8), strict=True):
            known = self._states.get(key)
            if known is None:
                self._states[key] = row.copy()
            else:
                known[:] = row
        self._heard.update(zip(keys, minutes, strict=True))
        self._is_lent = False

    def forget(self, keys: Iterable[NodeKey]) -> None:
        """Lets go of nodes."""
        for key in keys:
            self._states.pop(key, None)
            self._heard.pop(key, None)

    def _copies(self, keys: Sequence[NodeKey], into: _Bytes) -> State:
        for row, key in enumerate(keys):
            into[row] = self._states.get(key, _NEW)
        return into.view(SERIES)

    def encode(self) -> bytes:
        """Everything known, but for nodes not heard of for long."""
        newest = max(self._heard.values(), default=0)
        kept = [key for key, minute in self._heard.items() if newest - minute < FORGOTTEN_AFTER]
        nodes = [[*key, self._heard[key]] for key in kept]
        header = orjson.dumps({"metrics": METRICS, "nodes": nodes})
        states = self._copies(kept, np.empty((len(kept), _NEW.size), np.uint8))
        return _MAGIC + igzip.compress(len(header).to_bytes(4, "little") + header + encode_states(states), 1, mtime=0)


def decode_memory(blob: bytes) -> DetectorMemory:
    """The memory back from its bytes. Raises DetectorStateUnreadable.

    Metrics that the bytes do not have begin anew; those that are not watched any more are left behind.
    """
    if blob[: len(_MAGIC)] != _MAGIC:
        raise DetectorStateUnreadable(f"detector memory begins with {blob[:4]!r}; this build reads {_MAGIC!r}")
    memory = DetectorMemory()
    try:
        data: bytes = igzip.decompress(blob[len(_MAGIC) :])  # type: ignore[no-untyped-call]
        size = 4 + int.from_bytes(data[:4], "little")
        header = orjson.loads(data[4:size])
        metrics = header["metrics"]
        nodes = [((str(cluster), str(node)), int(minute)) for cluster, node, minute in header["nodes"]]
        stored = decode_states(data[size:], len(nodes) * len(metrics)).reshape(len(nodes), len(metrics))
        states = new_states(len(nodes) * _WIDTH).reshape(-1, _WIDTH)
        common = [(METRICS.index(metric), place) for place, metric in enumerate(metrics) if metric in METRICS]
        for target, source in common:
            states[:, target] = stored[:, source]
        if nodes:
            memory.keep([key for key, _ in nodes], states, [minute for _, minute in nodes])
    except DetectorStateUnreadable:
        raise
    except (ValueError, LookupError, TypeError, OverflowError, EOFError, OSError, _GzipError, zlib.error) as error:
        raise DetectorStateUnreadable(f"{len(blob)} bytes of detector memory cannot be read: {error}") from None
    return memory
