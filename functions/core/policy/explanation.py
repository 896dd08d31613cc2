"""Says in words and numbers why there is an incident: which metrics, what was usual, since when, when it was alike.

Pure; for rows and snapshots.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from functions.core.policy.incidents import LONGEST, Episode, Finding, Incident, Kind, Phase
from telemetry.catalogue import DEVICE_CLASSES, NODE_METRICS, Metric

MOST_NAMED = 3
"""Metrics named in a sentence; all of them are in the list beside it."""
_METRICS: dict[str, Metric] = {
    metric.column: metric for metrics in (NODE_METRICS, *(c.metrics for c in DEVICE_CLASSES)) for metric in metrics
}
_PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def sentence(incident: Incident, similar: Episode | None, phase: Phase = Phase.BEGIN) -> str:
    """One line for people: `CpuUtilization 98 % (usually 34 to 58 %) since 10:42 UTC; like ...`."""
    findings = incident.strongest_first
    parts = [_told(finding) for finding in findings[:MOST_NAMED]]
    if len(findings) > MOST_NAMED:
        parts.append(f"and {len(findings) - MOST_NAMED} more")
    if incident.kind is Kind.POOL:
        parts[0] = f"on many nodes of the pool at once: {parts[0]}"
    if similar is not None:
        parts.append(f"like {_day(similar.since)}, which lasted {similar.minutes} min")
    if phase is Phase.END and incident.minutes < LONGEST:
        parts.append(f"over after {incident.minutes} min")
    elif phase is Phase.END:
        parts.append(f"goes on after {LONGEST // 60} h and is not told any more")
    return "; ".join(parts)


def findings_of(incident: Incident) -> list[dict[str, Any]]:
    """Its metrics, the strongest first, as rows and answers have them."""
    return [
        {
            "Metric": finding.metric,
            "Value": rounded(finding.value),
            "Lower": rounded(finding.lower),
            "Upper": rounded(finding.upper),
            "Since": _iso(finding.since),
            "Strength": round(finding.strength, 2),
        }
        for finding in incident.strongest_first
    ]


def worded(metric: str, value: float) -> str:
    """A value of a metric, named by its column without the statistic, as people write it."""
    return _number(_METRICS[metric], value)


def rounded(value: float) -> float:
    """To five significant digits."""
    return float(f"{value:.5g}")


def _told(finding: Finding) -> str:
    metric = _METRICS[finding.metric]
    value, lower, upper = (_number(metric, number) for number in (finding.value, finding.lower, finding.upper))
    return f"{finding.metric} {value} (usually {lower} to {upper}) since {_iso(finding.since)[11:16]} UTC"


def _number(metric: Metric, value: float) -> str:
    if metric.unit == "1":
        return f"{100 * value:.3g} %"
    unit = metric.unit.replace("By", "B") if metric.unit.startswith("By") else ""
    for factor, prefix in _PREFIXES:
        if abs(value) >= factor:
            return f"{value / factor:.3g} {prefix}{unit}".rstrip()
    return f"{value:.3g} {unit}".rstrip()


def _iso(minute: int) -> str:
    return datetime.fromtimestamp(minute * 60, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _day(minute: int) -> str:
    return datetime.fromtimestamp(minute * 60, UTC).strftime("%Y-%m-%d %H:%M")
