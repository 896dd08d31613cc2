"""From arrays of readings to envelopes: rounding for all nodes at once, then one document per node.

For local.fleet.model only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from local.fleet.device_metrics import device_names
from local.fleet.lifetimes import Life
from local.fleet.noise import Floats
from local.fleet.pools import Pool
from local.fleet.wire_rounding import round_array
from telemetry.catalogue import DEVICE_CLASSES, NODE_METRICS, Kind
from telemetry.envelope import RESOURCE_EVERY, Column, Envelope

SIMULATED_CLASSES = tuple(found for found in DEVICE_CLASSES if not found.optional)
"""Nodes have neither pods nor metrics of plug-ins."""
_RATES = frozenset(metric.key for metric in NODE_METRICS if metric.kind is Kind.RATE)


class Columns(NamedTuple):
    """Rounded readings: by metric, and by class and metric, a list with one entry per node."""

    metrics: dict[str, list[Any]]
    devices: dict[str, dict[str, list[Any]]]


def round_columns(metrics: Mapping[str, Floats], devices: Mapping[str, Mapping[str, Floats]], pool: Pool) -> Columns:
    """Rounds all readings for the wire, in the order of the catalogue."""
    return Columns(
        {metric.key: round_array(metric, metrics[metric.key]) for metric in NODE_METRICS if metric.key in metrics},
        {
            found.key: {metric.key: round_array(metric, devices[found.key][metric.key]) for metric in found.metrics}
            for found in SIMULATED_CLASSES
        },
    )


def assemble(columns: Columns, row: int, times: list[int], pool: Pool, node: str, life: Life) -> Envelope:
    """The envelope of one node, from the samples that its agent process lived to see.

    The first sample of a process has no rates, for there is nothing to compare its counters with; a metric that no
    sample of an envelope has is left out, as the agent does.
    """
    first = next(index for index, time in enumerate(times) if time >= life.since_ms)
    metrics: dict[str, Column] = {key: column[row] for key, column in columns.metrics.items()}
    metrics["uptime"] = [time // 1000 - life.boot_time for time in times]
    devices = {key: {metric: column[row] for metric, column in of.items()} for key, of in columns.devices.items()}
    if life.seq == 1:
        metrics = {
            key: column
            for key, full in metrics.items()
            if (column := _first_of_process(full, first, key in _RATES)) is not None
        }
        devices = {
            found.key: {
                metric.key: rows
                for metric in found.metrics
                if (rows := _first_rows_of_process(devices[found.key][metric.key], first, metric.kind is Kind.RATE))
            }
            for found in SIMULATED_CLASSES
        }
    names = device_names(pool)
    return Envelope(
        life.cluster,
        node,
        life.instance,
        life.seq,
        [time + life.clock_offset_ms for time in times[first:]],
        metrics,
        {found.key: {found.identity: names[found.key], **devices[found.key]} for found in SIMULATED_CLASSES},
        pool.resource(node, life.boot_time) if life.seq % RESOURCE_EVERY == 1 else None,
    )


def _first_of_process(column: Column, first: int, is_rate: bool) -> Column | None:
    kept = column[first:]
    if not is_rate:
        return kept
    return [None, *kept[1:]] if len(kept) > 1 else None


def _first_rows_of_process(rows: list[Column], first: int, is_rate: bool) -> list[Column]:
    return [kept for row in rows if (kept := _first_of_process(row, first, is_rate)) is not None]
