"""What is remembered of a node, as JSON and back: a part of the node's state. Pure; for `node`.

Metrics go by name, so that a build with other rules reads what both know.
"""

from __future__ import annotations

from typing import Any

from functions.core.policy.deviations import CALM, NEVER, Course
from functions.core.policy.incidents import Episode, Finding, Incident, Kind, Watched
from functions.core.policy.rules import METRICS, Severity

_PLACES = {metric: place for place, metric in enumerate(METRICS)}


def to_document(watched: Watched) -> list[Any]:
    """The record as lists, dicts, strings and numbers."""
    course = []
    if watched.course is not CALM:
        pasts = zip(METRICS, watched.course.strong.tolist(), watched.course.quiet.tolist(), strict=True)
        course = [list(past) for past in pasts if past[1:] != (0, NEVER)]
    incident = watched.incident
    told = None
    if incident is not None:
        findings = [[f.metric, f.since, f.value, f.lower, f.upper, f.strength] for f in incident.findings.values()]
        about = [incident.id, incident.kind, incident.since, incident.last]
        told = [*about, int(incident.severity), incident.suppressed, findings]
    return [watched.minute, course, told, [[e.since, e.minutes, e.metrics] for e in watched.episodes]]


def from_document(document: Any) -> Watched:
    """The record back. Raises ValueError, LookupError or TypeError for what is none."""
    minute, course, told, episodes = document
    watched = Watched(int(minute), _course(course))
    watched.episodes = tuple(
        Episode(int(since), int(minutes), tuple(map(str, metrics))) for since, minutes, metrics in episodes
    )
    if told is not None:
        name, kind, since, last, severity, suppressed, findings = told
        known = {f[0]: Finding(f[0], int(f[1]), *map(float, f[2:6])) for f in findings if f[0] in _PLACES}
        if known:
            about = (str(name), Kind(kind), int(since), int(last), Severity(severity), bool(suppressed))
            watched.incident = Incident(*about, known)
    return watched


def _course(pasts: list[tuple[str, int, int]]) -> Course:
    if not pasts:
        return CALM
    strong, quiet = CALM.strong.copy(), CALM.quiet.copy()
    for metric, bits, windows in pasts:
        if metric in _PLACES:
            strong[_PLACES[metric]], quiet[_PLACES[metric]] = bits, windows
    return Course(strong, quiet)
