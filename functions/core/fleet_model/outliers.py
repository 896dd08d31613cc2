"""Scores the windows of a batch with the fleet model, and makes an incident of a node that stays unlike its pool.

Pure. One `Outliers` per partition; what belongs to a node (`Course`) is a part of its state. An incident begins when
ten of twelve windows are above the alarm, which single ones are one in a thousand times by chance. What many nodes of
a pool do at once makes none of them an outlier. A model that does not know a whole week scores and tells nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from functions.core.fleet_model.model import ALARM, NO_POOL, Contribution, FleetModel
from functions.core.policy.incidents import ENDS_AFTER, LONGEST, Kind, Phase, incident_id
from functions.core.policy.maintenance import MaintenanceWindow, in_maintenance
from functions.core.policy.pools import Pools
from functions.core.policy.rules import LASTING
from functions.core.ports import NodeKey
from functions.core.windows import WINDOW_MS
from telemetry.layout import Floats, Indexes

_MASK = (1 << LASTING.of) - 1
_UNLIKE = [0]
"""The one thing noted of nodes in `Pools`: that they are above the alarm."""


@dataclass(slots=True)
class Course:
    """What is remembered of a node."""

    minute: int = -1
    """Of the latest window that was judged."""
    above: int = 0
    """The latest windows, one bit each, the newest lowest: 1 is above the alarm."""
    quiet: int = 0
    """Minutes since one was above."""
    since: int = -1
    """Minute the open incident began in; -1: none is open."""
    muted: bool = False
    """Whether it has been told for the longest time and goes on: known, and not told again until it has ended."""

    @property
    def is_calm(self) -> bool:
        """Whether nothing is going on and nothing was."""
        return not self.above and self.since < 0 and not self.muted

    def to_document(self) -> list[int]:
        """As lists and numbers."""
        return [self.minute, self.above, self.quiet, self.since, int(self.muted)]


def course_of(document: Any) -> Course:
    """The course back; a state of before there were fleet models has none. Raises ValueError or TypeError."""
    if document is None:
        return Course()
    minute, above, quiet, since, muted = map(int, document)
    return Course(minute, above & _MASK, quiet, since, bool(muted))


class Scored(NamedTuple):
    """A window that is to be scored."""

    key: NodeKey
    pool: str
    minute: int
    course: Course


class OutlierTold(NamedTuple):
    """One thing to tell of a node that is unlike its pool, or no longer."""

    phase: Phase
    id: str
    since: int
    lasted: int
    """Minutes."""
    contributions: tuple[Contribution, ...] = ()
    """The strongest first; of an end none."""
    suppressed: bool = False


class Verdict(NamedTuple):
    """What is said of a window."""

    score: float | None
    """Calibrated; None where there is no model, the pool is too small, or too much is missing."""
    told: OutlierTold | None = None


_NOTHING = Verdict(None)


class Outliers:
    """What the pools of a partition do together; never stored."""

    def __init__(self) -> None:
        self._pools = Pools()

    def judge(
        self,
        model: FleetModel | None,
        windows: Sequence[Scored],
        features: Floats,
        maintenance: Collection[MaintenanceWindow] = (),
    ) -> list[Verdict]:
        """Scores windows and decides what is told, of each node in the order of its time.

        A window that is not newer than what was judged of its node before is scored and decides nothing.
        """
        if model is None and all(window.course.is_calm for window in windows):
            return [_NOTHING] * len(windows)
        places, scores = _scores(model, windows, features)
        shown = [None if np.isnan(score) else score for score in np.round(scores, 5).tolist()]
        tells = model is not None and model.knows_a_week
        above = (scores >= ALARM).tolist() if tells else [False] * len(windows)
        told: dict[int, OutlierTold] = {}
        for index in sorted(range(len(windows)), key=lambda index: windows[index].minute):
            window = windows[index]
            step = window.minute - window.course.minute
            if step <= 0:
                continue
            self._pools.note(window.key, window.pool, window.minute, _UNLIKE if above[index] else [])
            _advance(window.course, window.minute, step, above[index])
            if window.course.is_calm:
                continue
            news = self._decide(window)
            if news is not None:
                suppressed = in_maintenance(maintenance, *window.key, window.pool, window.minute * WINDOW_MS)
                found: tuple[Contribution, ...] = ()
                if news.phase is Phase.BEGIN and model is not None:
                    found = tuple(model.explain(int(places[index]), window.minute, features[index]))
                told[index] = news._replace(contributions=found, suppressed=suppressed)
        return [Verdict(score, told.get(index)) for index, score in enumerate(shown)]

    def forget(self, keys: list[NodeKey]) -> None:
        """Lets go of nodes nobody keeps any more."""
        self._pools.forget(keys)

    def _decide(self, window: Scored) -> OutlierTold | None:
        (cluster, node), pool, minute, course = window
        if course.since >= 0:
            lasted = minute - course.since + 1
            if course.quiet >= ENDS_AFTER:
                return ended(window.key, course, lasted - course.quiet)
            if lasted >= LONGEST:
                course.muted = True
                return ended(window.key, course, LONGEST)
            return None
        if course.muted:
            course.muted = course.quiet < ENDS_AFTER
            return None
        lasts = course.above & 1 and course.above.bit_count() >= LASTING.need
        if not lasts or self._pools.shared(cluster, pool, minute, _UNLIKE):
            return None
        course.since = minute - course.above.bit_length() + 1
        identity = incident_id(cluster, node, Kind.OUTLIER, course.since)
        return OutlierTold(Phase.BEGIN, identity, course.since, minute - course.since + 1)


def ended(key: NodeKey, course: Course, lasted: int) -> OutlierTold:
    """Ends the open incident of a node."""
    identity, since = incident_id(*key, Kind.OUTLIER, course.since), course.since
    course.since = -1
    return OutlierTold(Phase.END, identity, since, max(lasted, 1))


def _scores(model: FleetModel | None, windows: Sequence[Scored], features: Floats) -> tuple[Indexes, Floats]:
    """Where the windows' pools are in the model, and their scores."""
    if model is None:
        return np.full(len(windows), NO_POOL, np.intp), np.full(len(windows), np.nan)
    places = model.pool_places([(window.key[0], window.pool) for window in windows])
    minutes = np.array([window.minute for window in windows], np.intp)
    return places, model.scores(places, minutes, features)


def _advance(course: Course, minute: int, step: int, is_above: bool) -> None:
    course.above = (course.above << min(step, LASTING.of) | is_above) & _MASK
    course.quiet = 0 if is_above else course.quiet + step
    course.minute = minute
