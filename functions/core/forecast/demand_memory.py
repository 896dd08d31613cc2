"""What is remembered of the demand of node pools: their last two weeks, and the newest forecast of each. Pure.

`sealed.py` says what the bytes look like. Forecasts have bytes of their own: they are small, and all that the capacity
endpoint needs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from functions.core.forecast.day_ahead import DAY, HISTORY, STEP_S, DayAhead
from functions.core.forecast.sealed import ForecastStateUnreadable, seal, unseal
from functions.core.ports import VersionedBlobs
from telemetry.layout import Floats

MEASURES = ("Cpu", "Memory", "Nodes")
"""Of every five minutes: sums of the nodes' shares in use, and the number of nodes."""
METRICS = {"Cpu": "CpuUtilization", "Memory": "MemoryUtilization"}
"""What is forecast, and the column of NodeMetrics_CL it is a sum of, without its statistic."""
MOST = 1e6
"""No pool has more nodes: more is no sum of their shares."""
PoolKey = tuple[str, str]
"""(cluster, pool)."""

_HISTORY_MAGIC, _FORECASTS_MAGIC = b"DMH\x01", b"DMF\x01"


@dataclass(slots=True)
class DemandHistory:
    """Two weeks of every pool, by five minutes; NaN is missing."""

    until: int
    """Number of the step (of five minutes since 1970) after the newest."""
    pools: dict[PoolKey, Floats] = field(default_factory=dict)
    """(measures, HISTORY), the newest last."""

    def move(self, until: int) -> None:
        """Makes room for what is newer, and lets go of what is too old and of pools without a value in the last day."""
        ahead = max(until - self.until, 0)
        for key, values in self.pools.items():
            moved = np.full_like(values, np.nan)
            if ahead < HISTORY:
                moved[:, : HISTORY - ahead] = values[:, ahead:]
            self.pools[key] = moved
        self.until = max(until, self.until)

    def put(self, key: PoolKey, number: int, values: tuple[float, ...]) -> None:
        """Notes the measures of one step; steps outside of the two weeks are left out."""
        place = number - self.until + HISTORY
        if 0 <= place < HISTORY:
            if key not in self.pools:
                self.pools[key] = np.full((len(MEASURES), HISTORY), np.nan)
            self.pools[key][:, place] = [value if 0.0 <= value <= MOST else np.nan for value in values]

    def forget(self) -> None:
        """Lets go of pools without a value in the last day."""
        self.pools = {k: values for k, values in self.pools.items() if not np.isnan(values[0, -DAY:]).all()}

    def encode(self) -> bytes:
        """All of it as bytes."""
        header = {"until": self.until, "pools": [list(key) for key in self.pools]}
        body = b"".join(values.astype("<f4").tobytes() for values in self.pools.values())
        return seal(_HISTORY_MAGIC, header, body)


class PoolForecast(NamedTuple):
    """What is known of the next 24 h of a pool."""

    nodes: int
    """That it had when the forecast was made."""
    known_s: int
    """How much of its last day is known."""
    ahead: dict[str, DayAhead]
    """By measure; empty while too little is known."""


class PoolForecasts(NamedTuple):
    """The newest forecasts of all pools."""

    at_s: int
    """When they begin, epoch s."""
    pools: dict[PoolKey, PoolForecast]

    def encode(self) -> bytes:
        """All of it as bytes."""
        pools = [[*key, pool.nodes, pool.known_s, list(pool.ahead)] for key, pool in self.pools.items()]
        curves = [np.array(ahead) for pool in self.pools.values() for ahead in pool.ahead.values()]
        return seal(_FORECASTS_MAGIC, {"at": self.at_s, "pools": pools}, np.array(curves, "<f4").tobytes())


def decode_history(blob: bytes) -> DemandHistory:
    """The history back from its bytes. Raises ForecastStateUnreadable."""
    header, body = unseal(_HISTORY_MAGIC, blob)
    try:
        keys = [(str(cluster), str(pool)) for cluster, pool in header["pools"]]
        values = np.frombuffer(body, "<f4").astype(np.float64).reshape(len(keys), len(MEASURES), HISTORY)
        return DemandHistory(int(header["until"]), dict(zip(keys, values, strict=True)))
    except (ValueError, LookupError, TypeError) as error:
        raise ForecastStateUnreadable(f"{len(blob)} bytes of pools' histories cannot be read: {error}") from None


def decode_forecasts(blob: bytes) -> PoolForecasts:
    """The forecasts back from their bytes. Raises ForecastStateUnreadable."""
    header, body = unseal(_FORECASTS_MAGIC, blob)
    try:
        curves = iter(np.frombuffer(body, "<f4").astype(np.float64).reshape(-1, 3, DAY))
        pools = {
            (str(cluster), str(pool)): PoolForecast(
                int(nodes), int(known_s), {str(measure): DayAhead(*next(curves)) for measure in measures}
            )
            for cluster, pool, nodes, known_s, measures in header["pools"]
        }
        return PoolForecasts(int(header["at"]), pools)
    except (ValueError, LookupError, TypeError, StopIteration, RuntimeError) as error:
        raise ForecastStateUnreadable(f"{len(blob)} bytes of pools' forecasts cannot be read: {error}") from None


def step_of(epoch_s: float) -> int:
    """Number of the step that a moment is in."""
    return int(epoch_s // STEP_S)


class NewestForecasts:
    """Reads the newest forecasts, and again only when there are newer ones. For many readers at once."""

    def __init__(self, blobs: VersionedBlobs, name: str) -> None:
        self._blobs, self._name = blobs, name
        self._known: tuple[str, PoolForecasts] | None = None

    def read(self) -> PoolForecasts | None:
        """What was forecast last; None if nothing was, or if it cannot be read any more. Raises StoreUnavailable."""
        known = self._known
        stored = self._blobs.load(self._name, unless=known[0] if known else None)
        if stored is None:
            assert known is not None
            return known[1]
        if stored.blob is None or stored.version is None:
            return None
        try:
            found = decode_forecasts(stored.blob)
        except ForecastStateUnreadable:  # told by whoever writes it anew
            return None
        self._known = stored.version, found
        return found
