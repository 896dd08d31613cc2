"""What the benchmarks process: envelopes of the simulated fleet, as agents send them by default."""

from __future__ import annotations

import json
from dataclasses import dataclass

from functions.core.ports import Event, Position
from local.fleet.model import FleetModel
from telemetry.envelope import Envelope

START_MS = 1_792_000_020_000 // 60_000 * 60_000


@dataclass(frozen=True, slots=True)
class Workload:
    """Envelopes in the order in which they are published."""

    nodes: int
    envelopes: list[Envelope]
    events: list[Event]
    """The same, uncompressed, as the function app receives them."""
    samples: int


def fleet_workload(nodes: int, minutes: float, *, publish_interval: float = 30.0, seed: int = 1) -> Workload:
    """Envelopes of `nodes` nodes over `minutes`: 10 s samples, publishing spread evenly over the nodes.

    Without each agent's first envelope, whose rates are null.
    """
    model = FleetModel(nodes, seed, start_ms=START_MS, cluster="bench", publish_interval=publish_interval)
    envelopes: list[Envelope] = []
    events: list[Event] = []
    for due in model.envelopes(START_MS + round(minutes * 60_000)):
        if due.envelope.seq == 1:
            continue
        envelopes.append(due.envelope)
        plain = json.dumps(due.envelope.document(), separators=(",", ":")).encode()
        events.append(Event(plain, Position("bench", "0", len(events), due.at_ms)))
    return Workload(nodes, envelopes, events, sum(len(envelope.time) for envelope in envelopes))
