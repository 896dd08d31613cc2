"""What the collectors have read: counters as they are, gauges as they are sent. For `metrics`."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from agent.collector import Collector, CustomCollector
from agent.observe.exposition import Format, head, number, series
from agent.sampler import Snapshot, for_wire, metrics_of
from telemetry.agent_metrics import AGENT_FAMILIES
from telemetry.catalogue import Kind, Metric
from telemetry.prometheus import (
    Family,
    Series,
    catalogue_families,
    device_labels,
    device_values,
    label_name,
    series_of,
)

log = logging.getLogger(__name__)

_Key = tuple[str, str, str | None]
"""Collector, metric's key, device."""


class NodeMetrics:
    """Renders a snapshot. Not for several threads at once.

    All of a line but its number is made once per series and kept for as long as the series is there.
    """

    def __init__(self, collectors: Sequence[Collector]) -> None:
        self._families: list[Family] = []
        self._slots: dict[str, dict[str, _Slot]] = {}
        self._lines: dict[_Key, str] = {}
        taken = {family.name for group in (*catalogue_families().values(), AGENT_FAMILIES) for family in group}
        for collector in collectors:
            labels = _labels_of_devices(collector)
            if isinstance(collector, CustomCollector):
                found = _custom(collector, labels, taken)
            else:
                found = series_of(metrics_of(collector), labels)
            self._slots[collector.name] = self._make_slots(metrics_of(collector), found, labels)
        self._heads = {format_: [head(family, format_) for family in self._families] for format_ in Format}

    def render(self, snapshot: Snapshot, format_: Format) -> str:
        """Gives the families that have a value, each with its series."""
        lines: dict[_Key, str] = {}
        blocks: list[dict[str, str]] = [{} for _ in self._families]
        for collector, readings in snapshot.readings.items():
            slots = self._slots[collector]
            for reading in readings:
                slot = slots.get(reading.key)
                if slot is None:
                    continue
                value: float | None = reading.value
                if not slot.counter:
                    value = for_wire(slot.metric, reading.value)
                elif not 0 <= reading.value < math.inf:
                    value = None
                if value is None:
                    continue
                key = (collector, reading.key, reading.device)
                line = lines[key] = self._lines.get(key) or slot.line(reading.device)
                blocks[slot.family][line] = number(value)
        self._lines = lines
        return "".join(
            [
                head_ + "".join([f"{line}{value}\n" for line, value in block.items()])
                for head_, block in zip(self._heads[format_], blocks, strict=True)
                if block
            ]
        )

    def _make_slots(
        self, metrics: Iterable[Metric], found: dict[str, Series], labels: tuple[str, ...]
    ) -> dict[str, _Slot]:
        slots = {}
        for metric in metrics:
            if metric.key not in found:
                continue
            if found[metric.key].family not in self._families:
                self._families.append(found[metric.key].family)
            slots[metric.key] = _Slot(
                self._families.index(found[metric.key].family),
                metric.kind is Kind.RATE,
                metric,
                found[metric.key],
                labels,
            )
        return slots


class _Slot(NamedTuple):
    """Where the readings of one metric go."""

    family: int
    counter: bool
    metric: Metric
    series: Series
    device_labels: tuple[str, ...]

    def line(self, device: str | None) -> str:
        """Gives everything of a series' line but its number."""
        labels = dict(self.series.labels)
        if device is not None and self.device_labels:
            values = device_values(device, self.device_labels)
            labels = dict(zip(self.device_labels, values, strict=True)) | labels
        return series(self.series.family.series, labels)


def _labels_of_devices(collector: Collector) -> tuple[str, ...]:
    if collector.device_class is not None:
        return device_labels(collector.device_class)
    return (label_name("device"),) if isinstance(collector, CustomCollector) else ()


def _custom(collector: Collector, labels: tuple[str, ...], taken: set[str]) -> dict[str, Series]:
    """Gives the series of a plug-in's own metrics; those that have a name of others are left out and logged."""
    found: dict[str, Series] = {}
    problem = ""
    try:
        found = series_of(metrics_of(collector), labels)
    except ValueError as error:
        problem = str(error)
    names = {each.family.name for each in found.values()}
    if strangers := sorted(names & taken):
        problem = f"{', '.join(strangers)} has a meaning already"
        found = {key: each for key, each in found.items() if each.family.name not in taken}
    taken |= names
    if problem:
        log.warning(
            "metrics_not_exposed",
            extra={
                "collector": collector.name,
                "problem": problem,
                "consequence": "they are published, but not part of /metrics; name them after the owner's domain",
            },
        )
    return found
