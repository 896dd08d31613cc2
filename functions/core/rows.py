"""Rows of Log Analytics tables, as JSON: one wide row per node and minute.

Pure; used by `close`, `ingest` and `sweep`. Columns are those of telemetry.tables; every row has a key that comes
out the same when the same samples are folded again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import orjson

from functions.core.device_columns import absent_devices, fitted, text_around_numbers, without
from functions.core.fleet_model.outliers import OutlierTold
from functions.core.node import Node
from functions.core.policy.explanation import findings_of, rounded, sentence, worded
from functions.core.policy.incidents import LONGEST, Kind, Phase, Told, incident_id
from functions.core.policy.rules import Severity
from functions.core.ports import DeadLetter, NodeKey
from functions.core.windows import WINDOW_MS, WindowTable
from telemetry.catalogue import DEVICE_CLASSES, NODE_METRICS, Metric
from telemetry.layout import Floats, Indexes, Shape
from telemetry.tables import MINIMA, SCORED, TOTALS

_NODE_WIDTH = len(NODE_METRICS)


def mean_scale(metric: Metric) -> float:
    """10 to the power of the decimals a mean is worth: those of the metric, two for counts, none for bytes."""
    digits = metric.digits if metric.digits is not None else 0 if metric.upper > 1e15 else 2
    return float(10**digits)


_NODE_SCALE = np.array([mean_scale(metric) for metric in NODE_METRICS])
_TOTAL_SCALE = np.array([mean_scale(metric) for _, _, metric in TOTALS])
_NUMBER_SCALE = np.concatenate([_NODE_SCALE, _NODE_SCALE, _NODE_SCALE[list(MINIMA)], _TOTAL_SCALE])


def timestamp(epoch_ms: int) -> str:
    """ISO 8601 in UTC, as Log Analytics wants it."""
    return datetime.fromtimestamp(epoch_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class _Totals(NamedTuple):
    """Which columns of a shape make which totals: the first column of each metric that has devices."""

    places: Indexes
    """Of these metrics among TOTALS."""
    columns: Indexes
    """Their columns, one metric's devices after the other's."""
    starts: Indexes
    """Where each metric begins within `columns`."""


@lru_cache(maxsize=1024)
def _totals_of(shape: Shape, kind: str) -> _Totals:
    places: list[int] = []
    columns: list[int] = []
    starts: list[int] = []
    for place, (class_index, metric_index, metric) in enumerate(TOTALS):
        devices = shape.devices[class_index]
        if metric.total == kind and devices:
            first = shape.offset(class_index) + metric_index * devices
            places.append(place)
            starts.append(len(columns))
            columns += range(first, first + devices)
    return _Totals(np.array(places, np.intp), np.array(columns, np.intp), np.array(starts, np.intp))


def totals(shape: Shape, mean: Floats, high: Floats) -> Floats:
    """Per window the node-level columns made of devices (windows, totals): sums of means, maxima of maxima.

    A device without values does not count; where no device has any the total is NaN.
    """
    found = np.full((len(mean), len(TOTALS)), np.nan)
    sums, worst = _totals_of(shape, "sum"), _totals_of(shape, "max")
    if len(sums.places):
        values = mean[:, sums.columns]
        missing = np.isnan(values)
        if missing.any():
            total = np.add.reduceat(np.where(missing, 0.0, values), sums.starts, axis=1)
            known = np.add.reduceat(~missing, sums.starts, axis=1, dtype=np.intp)
            found[:, sums.places] = np.where(known, total, np.nan)
        else:
            found[:, sums.places] = np.add.reduceat(values, sums.starts, axis=1)
    if len(worst.places):
        found[:, worst.places] = np.fmax.reduceat(high[:, worst.columns], worst.starts, axis=1)
    return found


class WindowRows:
    """Makes the wide rows of windows of one shape; computes all numbers first, since scores need them too.

    A row's text is its numbers, serialised for all windows at once, with the column names put between them: three
    times faster than a dict per row.
    """

    def __init__(self, table: WindowTable, slots: Indexes) -> None:
        self._table, self._slots = table, slots
        self._mean = table.mean(slots)
        self._high = table.maximum(slots)
        self._totals = totals(table.shape, self._mean, self._high)
        self.revisions: list[int] = table.samples[slots].tolist()

    def features(self) -> Floats:
        """What windows are judged by: (windows, telemetry.tables.FEATURES)."""
        return np.concatenate([self._mean[:, list(SCORED)], self._totals], axis=1)

    def make(
        self, nodes: Sequence[Node], minutes: Sequence[int], scores: Sequence[tuple[float | None, str, float | None]]
    ) -> Iterator[bytes]:
        """One row of NodeMetrics_CL per window."""
        lines = orjson.dumps(self._numbers(), option=orjson.OPT_SERIALIZE_NUMPY)
        absent = absent_devices(self._table.shape, self._mean)
        for index, line in enumerate(lines[2:-2].split(b"],[")):
            node = nodes[index]
            score, metric, fleet_score = scores[index]
            devices, numbers = node.devices, line.split(b",")
            if absent is not None and absent[index].any():
                devices, numbers = without(devices, numbers, absent[index].tolist())
            text = text_around_numbers(devices).copy()
            text[1::2] = numbers
            yield fitted(
                b'{%b%b,"Revision":%d,"AnomalyScore":%b,"AnomalyMetric":"%b","FleetScore":%b,%b'
                % (
                    _time_columns(minutes[index]),
                    _node_columns(*node.key, node.pool),
                    self.revisions[index],
                    b"null" if score is None else repr(score).encode(),
                    metric.encode(),
                    b"null" if fleet_score is None else repr(fleet_score).encode(),
                    b"".join(text),
                )
            )

    def _numbers(self) -> Floats:
        """Every number of the rows, rounded, in the order of the text: (windows, numbers)."""
        low = self._table.minimum(self._slots)[:, list(MINIMA)]
        per_node = [self._mean[:, :_NODE_WIDTH], self._high[:, :_NODE_WIDTH], low, self._totals]
        order, scale = _device_order(self._table.shape)
        rounded = np.concatenate([*per_node, self._mean[:, order]], axis=1)
        scale = np.concatenate([_NUMBER_SCALE, scale])
        rounded *= scale
        np.rint(rounded, out=rounded)
        rounded /= scale
        return rounded


@lru_cache(maxsize=256)
def _device_order(shape: Shape) -> tuple[Indexes, Floats]:
    """Columns of the devices' means, device by device, and how each is rounded."""
    order: list[Indexes] = []
    scale: list[float] = []
    for index, (device_class, count) in enumerate(zip(DEVICE_CLASSES, shape.devices, strict=True)):
        columns = np.arange(len(device_class.metrics) * count, dtype=np.intp).reshape(-1, count or 1)
        order.append(shape.offset(index) + columns.T.ravel())
        scale += [mean_scale(metric) for metric in device_class.metrics] * count
    return np.concatenate(order), np.array(scale)


@lru_cache(maxsize=65536)
def _node_columns(cluster: str, node: str, pool: str) -> bytes:
    return b',"Cluster":%b,"Node":%b,"Pool":%b' % (orjson.dumps(cluster), orjson.dumps(node), orjson.dumps(pool))


@lru_cache(maxsize=256)
def _time_columns(minute: int) -> bytes:
    start = timestamp(minute * WINDOW_MS).encode()
    return b'"TimeGenerated":"%b","WindowStart":"%b"' % (start, start)


def incident_row(node: Node, minute: int, revision: int, score: float, told: Told) -> bytes:
    """One row of NodeAnomalies_CL about an incident that metrics show; the strongest of them is named."""
    incident = told.incident
    first = incident.strongest_first[0]
    return _anomaly_row(
        node,
        minute,
        revision,
        identity=incident.id,
        kind=incident.kind,
        phase=told.phase,
        severity=incident.severity,
        since_ms=incident.since * WINDOW_MS,
        explanation=sentence(incident, told.similar, told.phase),
        suppressed=incident.suppressed,
        Metric=first.metric,
        Score=score,
        Value=rounded(first.value),
        Lower=rounded(first.lower),
        Upper=rounded(first.upper),
        Metrics=findings_of(incident),
    )


def silent_row(node: Node, phase: Phase, now_ms: int | None = None, *, suppressed: bool = False) -> bytes:
    """One row of NodeAnomalies_CL about a node that fell silent, with the seconds until then, or that speaks again."""
    quiet_s = None if now_ms is None else round((now_ms - node.received_ms) / 1000, 1)
    told = f"nothing received for {quiet_s:.0f} s" if quiet_s is not None else "the node reports again"
    return _anomaly_row(
        node,
        node.newest,
        0,
        identity=incident_id(*node.key, Kind.SILENT, node.silent_since),
        kind=Kind.SILENT,
        phase=phase,
        severity=Severity.ERROR,
        since_ms=node.silent_since * WINDOW_MS,
        explanation=told,
        suppressed=suppressed,
        Score=1.0,
        Value=quiet_s,
    )


def clock_row(node: Node, since: int, phase: Phase, *, suppressed: bool = False) -> bytes:
    """One row of NodeAnomalies_CL about a node whose clock is wrong since a minute, by so many seconds, or no more."""
    error_s = node.clock.error_ms / 1000
    side = "ahead" if error_s > 0 else "behind"
    told = (
        f"the node's clock is {abs(error_s):.0f} s {side}"
        if phase is Phase.BEGIN
        else "the node's clock is right again"
    )
    return _anomaly_row(
        node,
        node.newest,
        0,
        identity=incident_id(*node.key, Kind.CLOCK, since),
        kind=Kind.CLOCK,
        phase=phase,
        severity=Severity.WARNING,
        since_ms=since * WINDOW_MS,
        explanation=told,
        suppressed=suppressed,
        Score=1.0,
        Value=round(error_s, 1),
    )


def outlier_row(node: Node, minute: int, revision: int, score: float | None, told: OutlierTold) -> bytes:
    """One row of NodeAnomalies_CL about a node that is unlike its pool, or no longer."""
    first = told.contributions[0] if told.contributions else None
    return _anomaly_row(
        node,
        minute,
        revision,
        identity=told.id,
        kind=Kind.OUTLIER,
        phase=told.phase,
        severity=Severity.INFORMATIONAL,
        since_ms=told.since * WINDOW_MS,
        explanation=_unlike(told),
        suppressed=told.suppressed,
        Metric=first.feature if first is not None else "",
        Score=score,
        Value=rounded(first.value) if first is not None else None,
        Lower=rounded(first.lower) if first is not None else None,
        Upper=rounded(first.upper) if first is not None else None,
        Metrics=[
            {
                "Metric": one.feature,
                "Value": rounded(one.value),
                "Lower": rounded(one.lower),
                "Upper": rounded(one.upper),
                "Since": timestamp(told.since * WINDOW_MS),
                "Strength": round(one.share, 2),
            }
            for one in told.contributions
        ],
    )


def _unlike(told: OutlierTold) -> str:
    if told.phase is Phase.END and told.lasted >= LONGEST:
        return f"goes on being unlike its pool after {LONGEST // 60} h and is not told any more"
    if told.phase is Phase.END:
        return f"no longer unlike its pool, after {told.lasted} min"
    parts = []
    for one in told.contributions:
        value, lower, upper = (worded(one.feature, number) for number in (one.value, one.lower, one.upper))
        whence = "by its other readings" if one.of_relation else "in its pool"
        parts.append(f"{one.feature} {value} ({whence} {lower} to {upper})")
    return f"unlike its pool: {'; '.join(parts)}"


def _anomaly_row(
    node: Node, minute: int, revision: int, *, identity: str, kind: Kind, phase: Phase, severity: Severity,
    since_ms: int, explanation: str, suppressed: bool = False, **rest: Any,
) -> bytes:  # fmt: skip
    return anomaly_row(
        node.key, node.pool, minute * WINDOW_MS,
        identity=identity, kind=kind, phase=phase, severity=severity, since_ms=since_ms,
        explanation=explanation, suppressed=suppressed, Revision=revision, **rest,
    )  # fmt: skip


def anomaly_row(
    key: NodeKey, pool: str, at_ms: int, *, identity: str, kind: Kind, phase: Phase, severity: Severity,
    since_ms: int, explanation: str, suppressed: bool, **rest: Any,
) -> bytes:  # fmt: skip
    """One row of NodeAnomalies_CL; `rest` are its other columns."""
    start = timestamp(at_ms)
    return orjson.dumps(
        {
            "TimeGenerated": start,
            "WindowStart": start,
            "Cluster": key[0],
            "Node": key[1],
            "Pool": pool,
            "IncidentId": identity,
            "Kind": kind,
            "State": phase,
            "Severity": severity.label,
            "Suppressed": suppressed,
            "Since": timestamp(since_ms),
            "Explanation": explanation,
            "Revision": 0,
            "Metric": "",
            "Lower": None,
            "Upper": None,
            "Metrics": [],
            **rest,
        }
    )


def dead_letter_row(letter: DeadLetter, blob_name: str) -> bytes:
    """One row of DeadLetters_CL."""
    position = letter.event.position
    received = timestamp(position.enqueued_ms)
    return orjson.dumps(
        {
            "TimeGenerated": received,
            "EnqueuedTime": received,
            "EventHub": position.event_hub,
            "PartitionId": position.partition,
            "SequenceNumber": position.sequence,
            "Reason": letter.error.reason.value,
            "Detail": letter.error.detail,
            "SizeBytes": len(letter.event.raw),
            "BlobName": blob_name,
        }
    )


def blob_name(letter: DeadLetter) -> str:
    """Where a dead letter's bytes are kept; newest first when listed by name, the same name every time it is put."""
    position = letter.event.position
    return (
        f"{9_999_999_999_999 - position.enqueued_ms:013d}/{position.event_hub}/{position.partition}/{position.sequence}"
    )
