"""Turns samples into numbered envelopes. For the command line and the service."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import NamedTuple

from agent.sampler import Sample
from telemetry.catalogue import DEVICE_CLASSES, NODE_KEYS
from telemetry.envelope import RESOURCE_EVERY, Column, Envelope, Resource, columns_of

log = logging.getLogger(__name__)

MAX_DEVICES = 256
"""Devices of one class in an envelope; receivers refuse more."""
MAX_DEVICE_NAME = 255
MAX_NUMBERS = 100_000
"""Numbers in an envelope: under 1 MiB as JSON, so that it fits an Event Hubs message even where nothing compresses."""

Devices = dict[str, dict[str, list[str] | list[Column]]]


class Identity(NamedTuple):
    """Who says it."""

    cluster: str
    node: str
    instance: str


class EnvelopeBuilder:
    """Collects samples and gives an envelope when a publish interval is full.

    Envelopes are numbered 1, 2, 3, ... without a gap; the first and every 20th after it carry the node's constants.
    """

    def __init__(
        self,
        identity: Identity,
        resource: Callable[[], Resource],
        *,
        samples_per_envelope: int,
        publish_interval: float,
    ) -> None:
        self.identity = identity
        self.resource = resource
        self._full = samples_per_envelope
        self._longest_ms = publish_interval * 1000
        self._samples: list[Sample] = []
        self._numbers = 0
        self._left_out: dict[str, int] = {}
        self.seq = 0
        """Number of the last envelope given; 0 before the first."""

    @property
    def wanted(self) -> int:
        """How many samples the next envelope still lacks; one at least."""
        return self._full - len(self._samples)

    def add(self, sample: Sample) -> list[Envelope]:
        """Adds a sample; gives the envelopes that are complete by that, in order.

        An envelope also ends where time steps back, and where its samples span more than a publish interval
        because ticks were missed.
        """
        done = []
        if self._samples and not self._belongs(sample):
            done.append(self._build())
        self._samples.append(sample)
        self._numbers += _width(sample)
        if len(self._samples) >= self._full or self._numbers >= MAX_NUMBERS:
            done.append(self._build())
        return done

    def flush(self) -> Envelope | None:
        """Gives what has been sampled since the last envelope; None when there is nothing."""
        return self._build() if self._samples else None

    def _belongs(self, sample: Sample) -> bool:
        first, last = self._samples[0].time, self._samples[-1].time
        return last < sample.time < first + self._longest_ms

    def _build(self) -> Envelope:
        samples, self._samples, self._numbers = self._samples, [], 0
        self.seq += 1
        return Envelope(
            *self.identity,
            seq=self.seq,
            time=[sample.time for sample in samples],
            metrics=_node_columns(samples),
            devices=self._devices(samples),
            resource=self.resource() if self.seq % RESOURCE_EVERY == 1 else None,
        )

    def _devices(self, samples: Sequence[Sample]) -> Devices:
        devices: Devices = {}
        for device_class in DEVICE_CLASSES:
            present = [sample.devices.get(device_class.key, {}) for sample in samples]
            names = self._names(device_class.key, list(dict.fromkeys(name for found in present for name in found)))
            if not names:
                continue
            columns: dict[str, list[str] | list[Column]] = {device_class.identity: list(names.values())}
            for metric in device_class.metrics:
                rows: list[Column] = [[found.get(name, {}).get(metric.key) for found in present] for name in names]
                if any(value is not None for row in rows for value in row):
                    columns[metric.key] = rows
            devices[device_class.key] = columns
        return devices

    def _names(self, device_class: str, names: Sequence[str]) -> dict[str, str]:
        """Maps devices to their names on the wire: printable, not too long, each once, not too many."""
        taken: dict[str, str] = {}
        for name in names:
            taken.setdefault(printable(name), name)
        kept = {name: shown for shown, name in list(taken.items())[:MAX_DEVICES]}
        left_out = len(names) - len(kept)
        if left_out and not self._left_out.get(device_class):
            log.warning("devices_left_out", extra={"device_class": device_class, "count": left_out, "kept": len(kept)})
        self._left_out[device_class] = left_out
        return kept


def printable(name: str) -> str:
    """Gives a device's name as receivers accept it: other characters become '?', at most 255 are kept."""
    shown = name if name.isprintable() else "".join(c if c.isprintable() else "?" for c in name)
    return shown[:MAX_DEVICE_NAME] or "?"


def _node_columns(samples: Sequence[Sample]) -> dict[str, Column]:
    """Puts the columns in the catalogue's order, so that receivers meet few different layouts."""
    columns = columns_of([sample.metrics for sample in samples])
    return {key: columns[key] for key in NODE_KEYS if key in columns}


def _width(sample: Sample) -> int:
    return len(sample.metrics) + sum(len(values) for found in sample.devices.values() for values in found.values())
