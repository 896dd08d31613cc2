"""How many bytes a sample takes on its way to Event Hubs, and how many nodes one throughput unit carries."""

from __future__ import annotations

from bench.workload import START_MS
from local.fleet.model import FleetModel

UNIT_BYTES_PER_S = 1_000_000
UNIT_EVENTS_PER_S = 1_000
MESSAGE_OVERHEAD_BYTES = 110
"""AMQP framing, annotations (partition key) and properties of one message, as a send of the agent shows on the wire;
counted although the service's own accounting is not documented to the byte."""


def wire_figures(publish_interval: float, nodes: int = 200, envelopes_per_node: int = 20) -> tuple[float, float]:
    """(bytes per sample, nodes per throughput unit) of the simulated fleet; whole rounds of resource envelopes."""
    model = FleetModel(nodes, 1, start_ms=START_MS, cluster="bench", publish_interval=publish_interval)
    until = START_MS + round(publish_interval * 1000 * envelopes_per_node)
    sizes = [len(raw) + MESSAGE_OVERHEAD_BYTES for _, raw in model.encoded(until)]
    samples = publish_interval / 10.0
    mean = sum(sizes) / len(sizes)
    return mean / samples, min(UNIT_BYTES_PER_S / mean, UNIT_EVENTS_PER_S) * publish_interval
