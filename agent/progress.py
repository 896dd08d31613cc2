"""How envelopes get on, for threads other than the event loop's: /metrics, /healthz, /readyz. For the service."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from agent.clock import Clock
from agent.delivery_statistics import DeliveryStatistics
from agent.publisher.publisher import FailureReason
from agent.spool.spool import DropReason, Spool

OVERFLOW = (DropReason.OVER_BYTES, DropReason.OVER_AGE, DropReason.MEMORY_FULL)
"""Why envelopes are lost when too many of them wait for too long."""


@dataclass(frozen=True, slots=True)
class Progress:
    """What the event loop knew at one moment. Never changed after it was made: any thread may read it."""

    sample_taken_at: float | None
    """When the event loop last took samples from the sampling thread, on the monotonic clock; None if never."""
    built: int
    """Envelopes made of samples."""
    delivery: DeliveryStatistics
    """As it was; not the one that delivery goes on to write."""
    failed: Mapping[FailureReason, int]
    """Attempts to publish that failed since the last acknowledgement; reasons without any are left out."""
    waiting: int
    """Envelopes in the spool."""
    waiting_bytes: int
    oldest_since: float | None
    """Since when the oldest of them waits, on the monotonic clock; None when none waits."""
    drops: Mapping[DropReason, int]
    overflowed_at: float | None
    """When it was last noticed that envelopes had been dropped because too many wait for too long; None if never."""
    disk_failing: bool


class ProgressReport:
    """Keeps `latest` up to date. Everything but `latest` belongs to the event loop."""

    def __init__(self, clock: Clock, spool: Spool, delivery: DeliveryStatistics) -> None:
        self._clock = clock
        self._spool = spool
        self._delivery = delivery
        self._sample_taken_at: float | None = None
        self._built = 0
        self._retried_before = dict(delivery.retried)
        """What had been retried when envelopes were last acknowledged."""
        self._overflowed = sum(spool.drops[reason] for reason in OVERFLOW)
        self._overflowed_at: float | None = None
        self.latest = self._look()

    def samples_taken(self, built: int) -> None:
        """Says that the event loop has taken what was sampled, and how many envelopes have gone into the spool."""
        self._sample_taken_at = self._clock.monotonic()
        self.built(built)

    def built(self, seq: int) -> None:
        """Says that an envelope of this number has gone into the spool."""
        self._built = seq
        self.latest = self._look()

    def failed(self) -> None:
        """Says that an attempt to publish has failed."""
        self.latest = self._look()

    def acknowledged(self) -> None:
        """Says that envelopes were acknowledged."""
        self._retried_before = dict(self._delivery.retried)
        self.latest = self._look()

    def _look(self) -> Progress:
        now, drops, waiting = self._clock.monotonic(), dict(self._spool.drops), len(self._spool)
        overflowed = sum(drops[reason] for reason in OVERFLOW)
        if overflowed > self._overflowed:
            self._overflowed, self._overflowed_at = overflowed, now
        delivery = self._delivery.copy()
        return Progress(
            sample_taken_at=self._sample_taken_at,
            built=self._built,
            delivery=delivery,
            failed={
                reason: count - self._retried_before[reason]
                for reason, count in delivery.retried.items()
                if count > self._retried_before[reason]
            },
            waiting=waiting,
            waiting_bytes=self._spool.waiting_bytes,
            oldest_since=now - self._spool.oldest_age() if waiting else None,
            drops=drops,
            overflowed_at=self._overflowed_at,
            disk_failing=self._spool.disk_failing,
        )
