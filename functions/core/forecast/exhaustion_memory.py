"""What `exhaustion_watch.py` remembers: the levels of every series, the alarms that are open, how far it has come.

Pure. `sealed.py` says what its bytes look like.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from functions.core.forecast.level_history import BINS_PER_HOUR, HOURS, States, decode_levels, encode_levels, new_levels
from functions.core.forecast.resources import RESOURCES
from functions.core.forecast.sealed import ForecastStateUnreadable, seal, unseal
from functions.core.policy.rules import Severity
from telemetry.layout import Floats

REMEMBERED = HOURS * BINS_PER_HOUR
"""Points of 15 minutes that are remembered; a series that has none of them is forgotten."""
_MAGIC = b"DMX\x01"


class Series(NamedTuple):
    """Something of a node that can run out."""

    cluster: str
    node: str
    metric: str
    device: str


@dataclass(slots=True)
class Alarm:
    """Exhaustion that people were told of."""

    id: str
    pool: str
    """As it was told with: an incident keeps its pool."""
    since_ms: int
    severity: Severity
    suppressed: bool


@dataclass(slots=True)
class ExhaustionMemory:
    """Levels of all series of all nodes."""

    newest: int
    """Number of the newest point (of 15 minutes since 1970) that was looked at."""
    tells_from: int
    """Points before this one were only learnt from: it began to watch there."""
    series: list[Series] = field(default_factory=list)
    pools: list[str] = field(default_factory=list)
    states: States = field(default_factory=lambda: new_levels(0))
    alarms: dict[Series, Alarm] = field(default_factory=dict)
    places: dict[Series, int] = field(init=False)

    def __post_init__(self) -> None:
        self._find_places()

    def admit(self, found: dict[Series, str]) -> None:
        """Begins the series that are not known, and takes over the pools of all."""
        new = [series for series in found if series not in self.places]
        self.series += new
        self.pools += [""] * len(new)
        self.states = np.concatenate([self.states, new_levels(len(new))])
        self._find_places()
        for series, pool in found.items():
            self.pools[self.places[series]] = pool

    def adopt(self, alarms: dict[Series, Alarm]) -> None:
        """Takes alarms over that somebody else has told."""
        self.admit({series: alarm.pool for series, alarm in alarms.items()})
        self.alarms.update(alarms)

    def forget(self) -> None:
        """Lets go of series without a point in all the time that is remembered, and without an open alarm."""
        heard = self.states["bin"] > self.newest - REMEMBERED
        self._keep([i for i, series in enumerate(self.series) if heard[i] or series in self.alarms])

    def forget_unknown(self) -> None:
        """Lets go of what is no resource any more."""
        self._keep([i for i, series in enumerate(self.series) if series.metric in RESOURCES])
        self.alarms = {series: alarm for series, alarm in self.alarms.items() if series in self.places}

    @property
    def limits(self) -> Floats:
        """Share at which each series is used up."""
        return np.array([RESOURCES[series.metric].limit for series in self.series])

    def encode(self) -> bytes:
        """All of it as bytes."""
        header = {
            "newest": self.newest,
            "tells_from": self.tells_from,
            "series": [list(series) for series in self.series],
            "pools": self.pools,
            "alarms": [
                [*series, alarm.id, alarm.pool, alarm.since_ms, int(alarm.severity), alarm.suppressed]
                for series, alarm in self.alarms.items()
            ],
        }
        return seal(_MAGIC, header, encode_levels(self.states))

    def _keep(self, places: list[int]) -> None:
        self.series, self.pools = [self.series[i] for i in places], [self.pools[i] for i in places]
        self.states = self.states[places]
        self._find_places()

    def _find_places(self) -> None:
        self.places = {series: place for place, series in enumerate(self.series)}


def decode_exhaustion(blob: bytes) -> ExhaustionMemory:
    """The memory back from its bytes. Raises ForecastStateUnreadable. Resources that are not watched any more go."""
    header, body = unseal(_MAGIC, blob)
    try:
        series = [Series(*map(str, each)) for each in header["series"]]
        memory = ExhaustionMemory(
            int(header["newest"]),
            int(header["tells_from"]),
            series,
            [str(pool) for _, pool in zip(series, header["pools"], strict=True)],
            decode_levels(body, len(series)),
        )
        for *names, identity, pool, since_ms, severity, suppressed in header["alarms"]:
            alarm = Alarm(str(identity), str(pool), int(since_ms), Severity(severity), bool(suppressed))
            memory.alarms[Series(*map(str, names))] = alarm
    except (ValueError, LookupError, TypeError) as error:
        raise ForecastStateUnreadable(f"{len(blob)} bytes of levels cannot be read: {error}") from None
    memory.forget_unknown()
    return memory
