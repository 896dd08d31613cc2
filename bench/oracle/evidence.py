"""What a run leaves behind, and the verdict on it. For the oracle; the verdict is pure, gathering is `witnesses`.

`SABOTAGES` spoil the evidence on purpose, one way each: an oracle that cannot fail proves nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from bench.oracle.comparison import (
    Discrepancy,
    Law,
    Row,
    compare_acknowledged,
    compare_dead_letters,
    compare_numbering,
    compare_runs,
    compare_windows,
)
from bench.oracle.reckoning import EnvelopeId, Logged, Place, Reckoning

LEAST_DUPLICATED = 0.01
"""Of the acknowledged envelopes, so many must have been in the log more than once."""


@dataclass(frozen=True)
class Evidence:
    """Everything the verdict rests on."""

    log: list[Logged]
    """Of the broker, partition by partition, from the beginning."""
    acknowledged: Mapping[EnvelopeId, bytes]
    poison: Mapping[bytes, str]
    agent_cluster: str
    """The cluster of the real agents."""
    windows: list[Row]
    """NodeMetrics()."""
    dead_letters: list[Row]
    """DeadLetters()."""
    kept: Mapping[Place, bytes]
    """The bytes of the dead letters, from Blob Storage."""
    runs: list[Row]
    """PipelineRuns_CL, each run once."""
    snapshots: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """Node -> time of the newest sample its HTTP snapshot shows."""
    last_sent: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """Node -> time of the sample that was sent after everything else."""


@dataclass(frozen=True)
class Verdict:
    """The reckoning and everything that speaks against the pipeline."""

    reckoning: Reckoning
    discrepancies: list[Discrepancy]
    evidence: Evidence

    def weight(self, law: Law) -> int:
        """How many samples or envelopes break a law."""
        return sum(one.weight for one in self.discrepancies if one.law is law)

    @property
    def acknowledged(self) -> int:
        """Envelopes that Event Hubs acknowledged: the recorded ones, and those of the real agents that it holds."""
        agents = {
            envelope for envelope in self.reckoning.first_bytes if envelope.cluster == self.evidence.agent_cluster
        }
        return len(agents | self.evidence.acknowledged.keys())


def judge(evidence: Evidence) -> Verdict:
    """Reckons everything from the broker's log and compares."""
    reckoning = Reckoning(evidence.poison).take_all(evidence.log)
    last: dict[str, int] = {}
    for event in evidence.log:
        last[event.place.partition] = event.place.sequence
    verdict = Verdict(reckoning, [], evidence)
    verdict.discrepancies.extend(
        [
            *compare_acknowledged(reckoning, evidence.acknowledged),
            *compare_numbering(reckoning, evidence.agent_cluster),
            *compare_windows(reckoning, evidence.windows),
            *compare_dead_letters(reckoning, evidence.dead_letters),
            *_compare_kept(reckoning, evidence),
            *compare_runs(reckoning, evidence.runs, last),
            *(
                Discrepancy(
                    Law.LOST, "/".join(node), "newest sample in the snapshot", time, evidence.snapshots.get(node)
                )
                for node, time in evidence.last_sent.items()
                if evidence.snapshots.get(node) != time
            ),
        ]
    )
    if reckoning.duplicates < LEAST_DUPLICATED * verdict.acknowledged:
        least = f"{LEAST_DUPLICATED:.0%} of {verdict.acknowledged}"
        verdict.discrepancies.append(
            Discrepancy(Law.UNPROVEN, "broker's log", "envelopes that are in it again", least, reckoning.duplicates)
        )
    return verdict


def _compare_kept(reckoning: Reckoning, evidence: Evidence) -> list[Discrepancy]:
    """The raw bytes of every dead letter are kept as they were."""
    raw = {event.place: event.raw for event in evidence.log}
    found = []
    for place in reckoning.dead_letters:
        kept = evidence.kept.get(place)
        if kept != raw[place]:
            law = Law.LOST if kept is None else Law.CORRUPT
            size = None if kept is None else f"{len(kept)} other bytes"
            where = f"event {place.partition}/{place.sequence}"
            found.append(Discrepancy(law, where, "bytes of the dead letter", f"{len(raw[place])} bytes", size))
    return found


def _lose_row(evidence: Evidence) -> Evidence:
    return replace(evidence, windows=evidence.windows[1:])


def _lose_envelope(evidence: Evidence) -> Evidence:
    """As if the broker had acknowledged an envelope and forgotten it."""
    return replace(
        evidence, acknowledged={**evidence.acknowledged, EnvelopeId("oracle-a", "node-000", "0" * 8, 1): b""}
    )


def _change_first_row(change: Callable[[dict[str, Any]], None]) -> Callable[[Evidence], Evidence]:
    def spoil(evidence: Evidence) -> Evidence:
        row = dict(evidence.windows[0])
        change(row)
        return replace(evidence, windows=[row, *evidence.windows[1:]])

    return spoil


def _count_twice(row: dict[str, Any]) -> None:
    row["Revision"] *= 2


def _miss_sample(row: dict[str, Any]) -> None:
    row["Revision"] -= 1


def _shift_value(row: dict[str, Any]) -> None:
    row["LoadAverage1mAvg"] = (row["LoadAverage1mAvg"] or 0.0) + 0.02


def _lose_dead_letter(evidence: Evidence) -> Evidence:
    return replace(evidence, dead_letters=evidence.dead_letters[1:])


def _lose_run(evidence: Evidence) -> Evidence:
    first = min(evidence.runs, key=lambda run: (run["PartitionId"], run["LastSequenceNumber"]))
    kept = [run for run in evidence.runs if run["PartitionId"] != first["PartitionId"]]
    return replace(evidence, runs=kept)


SABOTAGES: Mapping[str, tuple[Law, Callable[[Evidence], Evidence]]] = {
    "lose-row": (Law.LOST, _lose_row),
    "lose-envelope": (Law.LOST, _lose_envelope),
    "miss-sample": (Law.LOST, _change_first_row(_miss_sample)),
    "count-twice": (Law.DOUBLE_COUNTED, _change_first_row(_count_twice)),
    "shift-value": (Law.CORRUPT, _change_first_row(_shift_value)),
    "lose-dead-letter": (Law.LOST, _lose_dead_letter),
    "lose-run": (Law.UNBALANCED, _lose_run),
}
"""Name -> the law it breaks, and how."""
