"""What delivery counts since the start. For `agent.delivery`, which writes it, and whoever reports on the agent."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import accumulate

from agent.publisher.publisher import FailureReason

LATENCY_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds of the latency histogram's buckets, in seconds; one more bucket has none."""


@dataclass(slots=True)
class Latencies:
    """A histogram with fixed buckets: constant memory however long the agent runs."""

    buckets: list[int] = field(default_factory=lambda: [0] * (len(LATENCY_BOUNDS) + 1))
    """How many were at most `LATENCY_BOUNDS[i]` and more than the bound before; the last has no bound."""
    seconds: float = 0.0
    """All together."""
    last: float | None = None

    @property
    def count(self) -> int:
        """How many were observed."""
        return sum(self.buckets)

    def observe(self, seconds: float) -> None:
        """Adds one."""
        index = next((i for i, bound in enumerate(LATENCY_BOUNDS) if seconds <= bound), len(LATENCY_BOUNDS))
        self.buckets[index] += 1
        self.seconds += seconds
        self.last = seconds

    def copy(self) -> Latencies:
        """Gives one that observing does not change."""
        return Latencies(self.buckets[:], self.seconds, self.last)

    def cumulative(self) -> list[int]:
        """Gives how many were at most each bound, as Prometheus counts; the last is all of them."""
        return list(accumulate(self.buckets))


@dataclass(slots=True)
class DeliveryStatistics:
    """Counts of one agent process; they only grow, except the two that say when and how long the last one was."""

    published: int = 0
    """Envelopes acknowledged, those that earlier processes left behind included."""
    too_large: int = 0
    """Envelopes given up because the link does not take them."""
    retried: dict[FailureReason, int] = field(default_factory=lambda: dict.fromkeys(FailureReason, 0))
    """Attempts that failed and are made again, by reason; every reason is a key."""
    last_publish_ms: int | None = None
    """When the last envelopes were acknowledged, by the wall clock; None before the first."""
    latencies: Latencies = field(default_factory=Latencies)
    """How long the attempts took that were acknowledged, in seconds."""

    def copy(self) -> DeliveryStatistics:
        """Gives one that delivery does not change."""
        retried, latencies = dict(self.retried), self.latencies.copy()
        return DeliveryStatistics(self.published, self.too_large, retried, self.last_publish_ms, latencies)
