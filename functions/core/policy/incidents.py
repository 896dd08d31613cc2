"""Incidents: one per episode and node, however many metrics take part; when it begins, changes and ends.

Pure; for `watch`, rows and snapshots. What is kept of a node (`Watched`) is a part of its state.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from hashlib import blake2b
from typing import NamedTuple

from functions.core.policy.deviations import CALM, Course
from functions.core.policy.rules import CRITICAL, METRICS, RULES, Severity

ENDS_AFTER = 15
"""Minutes without any of its changes until an incident is over; what comes back earlier is the same episode."""
LONGEST = 24 * 60
"""Minutes after which an incident is told to end although it goes on: by now it is known, or usual."""
MANY = 3
"""Metrics that make an incident worse than the worst of them alone."""
EPISODES = 8
"""Past incidents that are remembered of a node."""
ALIKE = 0.5
"""Share of metrics that two episodes have in common, of those that either has, to be called similar."""


class Kind(StrEnum):
    """What an incident is about."""

    UNUSUAL = "unusual"
    """Metrics of a node are not as they usually are."""
    POOL = "pool"
    """The same, of a large share of the pool's nodes at once."""
    SILENT = "silent"
    """A node has stopped reporting."""
    CLOCK = "clock"
    """A node's clock is wrong."""
    OUTLIER = "outlier"
    """A node is unlike the others of its pool."""
    EXHAUSTION = "exhaustion"
    """Something of a node will be used up: a filesystem, memory, open files."""


class Phase(StrEnum):
    """What a row says of an incident."""

    BEGIN = "begin"
    UPDATE = "update"
    """It became worse, or maintenance ended and it did not."""
    END = "end"


@dataclass(slots=True)
class Finding:
    """What an incident has found in one metric, where it was strongest."""

    metric: str
    since: int
    """Minute."""
    value: float
    lower: float
    upper: float
    """Of the band of what was usual then."""
    strength: float
    """How far the change goes beyond what begins to matter: 1 is just there."""


@dataclass(slots=True)
class Incident:
    """Something that is wrong with a node."""

    id: str
    """The same whoever finds it from the same windows."""
    kind: Kind
    since: int
    """Minute it began in, which is some minutes before it was told."""
    last: int
    """Latest minute in which it was seen."""
    severity: Severity
    suppressed: bool
    """Whether it is of a time of maintenance: recorded, and nobody need come."""
    findings: dict[str, Finding] = field(default_factory=dict)

    @property
    def strongest_first(self) -> list[Finding]:
        """Its findings; those of equal strength in the order of the rules."""
        return sorted(self.findings.values(), key=lambda finding: (-finding.strength, METRICS.index(finding.metric)))

    @property
    def minutes(self) -> int:
        """How long it has lasted."""
        return self.last - self.since + 1


class Episode(NamedTuple):
    """What is remembered of a past incident."""

    since: int
    minutes: int
    metrics: tuple[str, ...]


@dataclass(slots=True)
class Watched:
    """What the policy remembers of a node."""

    minute: int = -1
    """Of the latest window that was judged."""
    course: Course = CALM
    incident: Incident | None = None
    episodes: tuple[Episode, ...] = ()
    """The latest last."""


class Told(NamedTuple):
    """One thing to tell of an incident, as it was at that moment."""

    phase: Phase
    incident: Incident
    similar: Episode | None


def incident_id(*of: str | int) -> str:
    """A name for an incident that whoever finds the same makes the same: 16 hex digits."""
    return blake2b("/".join(map(str, of)).encode(), digest_size=8).hexdigest()


def begin(
    watched: Watched, identity: str, kind: Kind, minute: int, findings: Iterable[Finding], *, suppressed: bool
) -> Told:
    """Begins an incident of a node that has none."""
    found = {finding.metric: finding for finding in findings}
    since = min(finding.since for finding in found.values())
    incident = Incident(identity, kind, since, minute, _severity(found), suppressed, found)
    watched.incident = incident
    return Told(Phase.BEGIN, _copy(incident), similar_episode(incident, watched.episodes))


def go_on(
    watched: Watched, minute: int, present: Iterable[Finding], joining: Iterable[Finding], *, suppressed: bool
) -> Told | None:
    """Continues the node's incident with this minute's values of its metrics, and with metrics that join it."""
    incident = watched.incident
    assert incident is not None
    for finding in (*present, *joining):
        known = incident.findings.get(finding.metric)
        if known is not None:
            finding.since = known.since
        if known is None or finding.strength > known.strength:
            incident.findings[finding.metric] = finding
        incident.last = minute
    if minute - incident.last >= ENDS_AFTER or minute - incident.since >= LONGEST:
        return end(watched)
    severity = max(incident.severity, _severity(incident.findings))
    still_suppressed = incident.suppressed and suppressed
    if (severity, still_suppressed) == (incident.severity, incident.suppressed):
        return None
    incident.severity, incident.suppressed = severity, still_suppressed
    return Told(Phase.UPDATE, _copy(incident), similar_episode(incident, watched.episodes))


def end(watched: Watched) -> Told:
    """Ends the node's incident and remembers it."""
    incident = watched.incident
    assert incident is not None
    similar = similar_episode(incident, watched.episodes)
    metrics = tuple(finding.metric for finding in incident.strongest_first)
    watched.episodes = (*watched.episodes, Episode(incident.since, incident.minutes, metrics))[-EPISODES:]
    watched.incident = None
    return Told(Phase.END, incident, similar)


def similar_episode(incident: Incident, episodes: Sequence[Episode]) -> Episode | None:
    """The past episode that has most metrics in common with the incident, the latest of equal ones."""
    own = set(incident.findings)

    def common(episode: Episode) -> float:
        return len(own.intersection(episode.metrics)) / len(own.union(episode.metrics))

    best = max(reversed(episodes), key=common, default=None)
    return best if best is not None and common(best) >= ALIKE else None


def _copy(incident: Incident) -> Incident:
    return replace(incident, findings=dict(incident.findings))


_SEVERITIES = {rule.metric: rule.severity for rule in RULES}
_CRITICAL = dict(zip(METRICS, CRITICAL.tolist(), strict=True))


def _severity(findings: dict[str, Finding]) -> Severity:
    if any(finding.value >= _CRITICAL[finding.metric] for finding in findings.values()):
        return Severity.CRITICAL
    worst = max(_SEVERITIES[metric] for metric in findings)
    return Severity(min(worst + (len(findings) >= MANY), Severity.ERROR))
