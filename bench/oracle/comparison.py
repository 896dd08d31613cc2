"""Compares what came out with what must: gives every difference, sorted by the law it breaks.

For the oracle. Pure; takes rows as the query API gives them and the reckoning.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from bench.oracle.reckoning import MINUTE_MS, EnvelopeId, Expected, Place, Reckoning, WindowKey, row_of
from telemetry.catalogue import DEVICE_CLASSES, NODE_METRICS, Metric

Row = Mapping[str, Any]


class Law(StrEnum):
    """What may not happen."""

    LOST = "lost"
    DOUBLE_COUNTED = "double_counted"
    CORRUPT = "corrupt"
    UNBALANCED = "unbalanced"
    UNPROVEN = "unproven"
    """Nothing is wrong, but too little happened to prove it."""


@dataclass(frozen=True)
class Discrepancy:
    """One difference, and what was expected and found."""

    law: Law
    where: str
    what: str
    expected: object
    found: object
    weight: int = 1
    """How many samples or envelopes it is about."""

    def __str__(self) -> str:
        return f"{self.law.value}: {self.where}: {self.what}: expected {self.expected}, found {self.found}"


def compare_windows(reckoning: Reckoning, rows: Iterable[Row]) -> list[Discrepancy]:
    """Every closed window has its row with its numbers, and there is no other row.

    A node's newest window may have none, for it is open; the row it has, if `sweep` made one, may be an earlier one.
    """
    found: list[Discrepancy] = []
    closed = reckoning.closed()
    missing = dict(closed)
    seen: set[WindowKey] = set()
    for row in rows:
        key = window_key(row)
        if key in seen:
            found.append(Discrepancy(Law.DOUBLE_COUNTED, show(key), "rows of this window in the view", 1, 2))
            continue
        seen.add(key)
        missing.pop(key, None)
        window = reckoning.windows.get(key)
        if window is None:
            found.append(Discrepancy(Law.DOUBLE_COUNTED, show(key), "a row without a sample", None, row["Revision"]))
        elif key in closed or row["Revision"] >= window.samples:
            found += compare_row(key, row_of(window), row)
            pool = reckoning.pools.get((key.cluster, key.node), "")
            if row["Pool"] != pool:
                found.append(Discrepancy(Law.CORRUPT, show(key), "Pool", pool, row["Pool"]))
    for key, window in missing.items():
        text = f"row (from {_named(window.envelopes)})"
        found.append(Discrepancy(Law.LOST, show(key), text, f"{window.samples} samples", None, window.samples))
    return found


def compare_row(key: WindowKey, expected: Expected, row: Row) -> list[Discrepancy]:
    """The numbers of one window; where the number of samples is wrong already, nothing more is compared."""
    revision = row["Revision"]
    if revision != expected.revision:
        law = Law.LOST if revision < expected.revision else Law.DOUBLE_COUNTED
        weight = abs(revision - expected.revision)
        return [Discrepancy(law, show(key), "Revision (samples)", expected.revision, revision, weight)]
    found = [
        Discrepancy(Law.CORRUPT, show(key), column, value, row.get(column))
        for column, value in expected.numbers.items()
        if not agree(value, row.get(column), _DECIMALS[column])
    ]
    for column, devices in expected.devices.items():
        found += _compare_devices(key, column, devices, row.get(column))
    return found


def compare_dead_letters(reckoning: Reckoning, rows: Iterable[Row]) -> list[Discrepancy]:
    """Every refused event, and no other, is a dead letter, for the right reason."""
    found: list[Discrepancy] = []
    missing = dict(reckoning.dead_letters)
    seen: set[Place] = set()
    for row in rows:
        place = Place(row["PartitionId"], row["SequenceNumber"])
        where = f"event {place.partition}/{place.sequence}"
        reason = reckoning.dead_letters.get(place)
        if place in seen:
            found.append(Discrepancy(Law.DOUBLE_COUNTED, where, "dead letters of this event in the view", 1, 2))
        elif reason is None:
            found.append(Discrepancy(Law.LOST, where, f"a dead letter ({row['Detail']})", "stored", row["Reason"]))
        elif row["Reason"] != reason:
            found.append(Discrepancy(Law.CORRUPT, where, f"reason ({row['Detail']})", reason, row["Reason"]))
        seen.add(place)
        missing.pop(place, None)
    for place, reason in missing.items():
        where = f"event {place.partition}/{place.sequence}"
        found.append(Discrepancy(Law.LOST, where, "dead letter", reason, None))
    return found


def compare_acknowledged(reckoning: Reckoning, acknowledged: Mapping[EnvelopeId, bytes]) -> list[Discrepancy]:
    """Every envelope that was acknowledged is in the broker's log, byte for byte."""
    found: list[Discrepancy] = []
    for envelope, raw in acknowledged.items():
        logged = reckoning.first_bytes.get(envelope)
        if logged is None:
            found.append(Discrepancy(Law.LOST, _named([envelope]), "in the broker's log", "acknowledged", None))
        elif logged != raw:
            text = "bytes in the broker's log"
            found.append(
                Discrepancy(Law.CORRUPT, _named([envelope]), text, f"{len(raw)} bytes", f"{len(logged)} other")
            )
    return found


def compare_numbering(reckoning: Reckoning, cluster: str) -> list[Discrepancy]:
    """A cluster's agents number their envelopes 1, 2, 3, ...: whatever came after a gap says what is lost."""
    seqs: dict[tuple[str, str], set[int]] = {}
    for envelope in reckoning.first_bytes:
        if envelope.cluster == cluster:
            seqs.setdefault((envelope.node, envelope.instance), set()).add(envelope.seq)
    return [
        Discrepancy(Law.LOST, f"{cluster}/{node} instance {instance}", "seq", seq, f"{max(present)} after the gap")
        for (node, instance), present in sorted(seqs.items())
        for seq in sorted(set(range(1, max(present))) - present)
    ]


def compare_runs(reckoning: Reckoning, runs: Sequence[Row], last: Mapping[str, int]) -> list[Discrepancy]:
    """The pipeline's books balance, run by run, and tell of every event of the log.

    `last` gives each partition's last sequence number. A run that was killed between its commit and its line in the
    books is told of as duplicates by the one after it, so the books may count fewer stored envelopes, never more.
    """
    found: list[Discrepancy] = []
    covered: dict[str, set[int]] = {partition: set() for partition in last}
    for run in runs:
        where = f"run of {run['PartitionId']}/{run['FirstSequenceNumber']}-{run['LastSequenceNumber']}"
        span = run["LastSequenceNumber"] - run["FirstSequenceNumber"] + 1
        became = run["Stored"] + run["Duplicates"] + run["DeadLettered"]
        if run["Received"] != became:
            text = "stored + duplicates + dead-lettered"
            found.append(Discrepancy(Law.UNBALANCED, where, text, run["Received"], became))
        if run["Received"] != span:
            found.append(Discrepancy(Law.UNBALANCED, where, "received", span, run["Received"]))
        numbers = range(run["FirstSequenceNumber"], run["LastSequenceNumber"] + 1)
        covered.setdefault(run["PartitionId"], set()).update(numbers)
    for partition, end in last.items():
        untold = set(range(end + 1)) - covered[partition]
        if untold:
            text = f"events no run tells of, first {min(untold)}"
            found.append(Discrepancy(Law.UNBALANCED, f"partition {partition}", text, 0, len(untold)))
    stored = sum(run["Stored"] for run in runs)
    if stored > len(reckoning.stored):
        excess = stored - len(reckoning.stored)
        text = "envelopes the runs say they stored"
        found.append(Discrepancy(Law.DOUBLE_COUNTED, "all runs", text, len(reckoning.stored), stored, excess))
    return found


def agree(expected: float | None, found: object, decimals: int) -> bool:
    """Whether a rounded number is the expected one: within half a unit of its last decimal."""
    if expected is None or found is None:
        return expected is None and found is None
    if isinstance(found, bool) or not isinstance(found, int | float):
        return False
    return abs(found - expected) <= 0.5000001 * 10.0**-decimals + 1e-12 * abs(expected)


def decimals_of(metric: Metric) -> int:
    """To how many decimals a mean of this metric is given: its own; two for counts, none for bytes."""
    if metric.digits is not None:
        return metric.digits
    return 0 if metric.unit.startswith("By") else 2


def window_key(row: Row) -> WindowKey:
    """Which window a row tells of."""
    start: datetime = row["WindowStart"]
    return WindowKey(row["Cluster"], row["Node"], round(start.timestamp() * 1000) // MINUTE_MS)


def show(key: WindowKey) -> str:
    """A window for a person."""
    start = datetime.fromtimestamp(key.minute * 60, UTC)
    return f"{key.cluster}/{key.node} {start:%Y-%m-%dT%H:%MZ}"


def _compare_devices(
    key: WindowKey, column: str, expected: Mapping[str, Mapping[str, float]], found: Any
) -> list[Discrepancy]:
    listed: list[Row] = (json.loads(found) if isinstance(found, str) else found) or []
    by_name = {device["Device"]: device for device in listed}
    differences: list[Discrepancy] = []
    if len(by_name) != len(listed):
        differences.append(Discrepancy(Law.DOUBLE_COUNTED, show(key), f"{column}: devices", len(by_name), len(listed)))
    for name in {*expected, *by_name}:
        wanted, device = expected.get(name, {}), by_name.get(name)
        if device is None:
            differences.append(Discrepancy(Law.LOST, show(key), f"{column} of {name}", dict(wanted), None))
            continue
        if not wanted:
            differences.append(Discrepancy(Law.CORRUPT, show(key), f"{column}: a device without values", None, name))
        differences += [
            Discrepancy(Law.CORRUPT, show(key), f"{column} of {name}: {metric}", wanted.get(metric), device.get(metric))
            for metric, decimals in _DEVICE_DECIMALS[column].items()
            if not agree(wanted.get(metric), device.get(metric), decimals)
        ]
    return differences


def _named(envelopes: Iterable[EnvelopeId]) -> str:
    names = [f"{e.cluster}/{e.node} {e.instance}#{e.seq}" for e in sorted(envelopes)]
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


_DECIMALS: dict[str, int] = {
    f"{metric.column}{statistic}": decimals_of(metric)
    for metric in (*NODE_METRICS, *(metric for device_class in DEVICE_CLASSES for metric in device_class.metrics))
    for statistic in ("Avg", "Max", "Min")
}
_DEVICE_DECIMALS: dict[str, dict[str, int]] = {
    device_class.column: {device_class.field(metric): decimals_of(metric) for metric in device_class.metrics}
    for device_class in DEVICE_CLASSES
}
