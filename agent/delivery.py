"""Moves envelopes from the spool to the event hub, in order, for as long as it takes. For the service."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable

from agent.clock import Clock
from agent.delivery_statistics import DeliveryStatistics
from agent.publisher.publisher import EnvelopeTooLarge, FailureReason, Publisher, PublishFailed
from agent.spool.spool import Spool, Spooled

log = logging.getLogger(__name__)

MAX_BATCH_COUNT = 100
MAX_BATCH_BYTES = 200_000
"""One acknowledgement at a time covers so much: a lost one duplicates no more, and any tier's link takes it."""
FIRST_RETRY = 1.0
LONGEST_RETRY = 30.0
"""As often as there is something new to publish: an outage does not multiply the attempts of a cluster."""
RETRY_WHILE_FINISHING = 0.25

WHAT_TO_DO = {
    FailureReason.UNAUTHORIZED: (
        "check that the key or signature of EVENTHUB_CONNECTION_STRING is valid and may send, or that the identity has "
        "the role Azure Event Hubs Data Sender; then restart the agent, unless it is the event hub that was corrected"
    ),
    FailureReason.NOT_FOUND: "check EVENTHUB_NAME and the namespace, or create the event hub",
    FailureReason.QUOTA_EXCEEDED: "check the quotas of the namespace: connections, and the tier's limits",
    FailureReason.THROTTLED: "if it lasts, add throughput units or raise AGENT_PUBLISH_INTERVAL",
}
"""For failures that waiting may not end: what a person can do about them."""

SEND_LESS_AT_ONCE = "lower AGENT_PUBLISH_INTERVAL, or leave devices out (AGENT_..._EXCLUDE)"


def backoff(failures: int, jitter: Callable[[], float] = random.random) -> float:
    """Gives the seconds to wait after so many failures in a row: doubling from 1 s to 30 s, less up to half of it.

    The random share keeps a whole cluster from coming back at the same instant.
    """
    return min(LONGEST_RETRY, FIRST_RETRY * 2.0 ** min(failures - 1, 10)) * (1 - jitter() / 2)


class Delivery:
    """Sends the oldest envelopes until the spool is empty, then waits for more.

    An envelope leaves the spool when it is acknowledged, or when it is larger than the link takes. Everything else
    is retried for ever: the spool's bounds decide what is given up.
    """

    def __init__(
        self,
        spool: Spool,
        publisher: Publisher,
        clock: Clock,
        *,
        delay: float = 0.0,
        on_progress: Callable[[], None] = lambda: None,
        on_failure: Callable[[], None] = lambda: None,
        retry_after: Callable[[int], float] = backoff,
    ) -> None:
        """A new envelope is sent after `delay` seconds.

        `on_progress` is called after every acknowledgement, `on_failure` after every attempt that failed.
        """
        self._spool = spool
        self._publisher = publisher
        self._clock = clock
        self._delay = delay
        self._on_progress = on_progress
        self._on_failure = on_failure
        self._retry_after = retry_after
        self._more = asyncio.Event()
        self._finishing = asyncio.Event()
        self._failures = 0
        self._failing_since = 0.0
        self._asked = 0.0
        """Seconds for which the event hub has asked to be left alone, when it last failed."""
        self._told: set[FailureReason] = set()
        """What has been logged of this outage."""
        self._told_too_large = False
        self.statistics = DeliveryStatistics()

    def wake(self) -> None:
        """Says that the spool has got an envelope."""
        self._more.set()

    def finish(self) -> None:
        """Makes `run` return as soon as the spool is empty, and retry quickly until then."""
        self._finishing.set()
        self._more.set()

    async def run(self) -> None:
        """Delivers until `finish` was called and everything is delivered, or until it is cancelled."""
        while True:
            if len(self._spool) > 0:
                if not await self._send_oldest():
                    await self._pause(self._retry_after(self._failures), asked=self._asked)
            elif self._finishing.is_set():
                return
            else:
                await self._more.wait()
                await self._pause(self._delay)
            self._more.clear()

    async def _send_oldest(self) -> bool:
        """Sends one batch; says whether to go on at once."""
        batch = self._spool.oldest(MAX_BATCH_COUNT, MAX_BATCH_BYTES)
        if not batch:
            return True
        started = self._clock.monotonic()
        try:
            await self._publisher.publish([spooled.body for spooled in batch])
        except EnvelopeTooLarge as error:
            self._give_up(batch[error.index], error)
            return True
        except Exception as error:  # whatever it is, the envelopes are worth another attempt
            self._note_failure(error)
            return False
        self._spool.remove(spooled.number for spooled in batch)
        self._note_success(len(batch), self._clock.monotonic() - started)
        return True

    def _give_up(self, spooled: Spooled, error: EnvelopeTooLarge) -> None:
        self._spool.remove([spooled.number])
        self.statistics.too_large += 1
        if not self._told_too_large:
            fields = {"bytes": error.size, "limit": error.limit, "dropped": self.statistics.too_large}
            log.error("envelope_too_large", extra={**fields, "what_to_do": SEND_LESS_AT_ONCE})
        self._told_too_large = True

    def _note_failure(self, error: Exception) -> None:
        reason = error.reason if isinstance(error, PublishFailed) else FailureReason.OTHER
        self._asked = error.retry_after if isinstance(error, PublishFailed) else 0.0
        self.statistics.retried[reason] += 1
        self._failures += 1
        if self._failures == 1:
            self._failing_since = self._clock.monotonic()
        fields = {
            "reason": str(reason),
            "problem": f"{type(error).__name__}: {error}"[:300],
            "what_to_do": WHAT_TO_DO.get(reason),
            "waiting": len(self._spool),
        }
        if reason in self._told:
            log.debug("publishing_still_fails", extra={**fields, "failures": self._failures})
        else:
            self._told.add(reason)
            log.warning("publishing_failed", extra=fields)
        self._on_failure()

    def _note_success(self, count: int, seconds: float) -> None:
        self.statistics.published += count
        self.statistics.last_publish_ms = self._clock.epoch_ms()
        self.statistics.latencies.observe(seconds)
        if self._failures:
            outage = round(self._clock.monotonic() - self._failing_since, 1)
            log.info("publishing_recovered", extra={"outage_seconds": outage, "waiting": len(self._spool)})
        self._failures = 0
        self._told.clear()
        self._told_too_large = False
        self._on_progress()

    async def _pause(self, seconds: float, *, asked: float = 0.0) -> None:
        """Waits for as long as the event hub has asked, and then `seconds`; finishing cuts only the latter short."""
        loop = asyncio.get_running_loop()
        asked_until = loop.time() + asked
        if self._finishing.is_set():
            seconds = min(seconds, RETRY_WHILE_FINISHING)
        else:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._finishing.wait(), asked + seconds)
            seconds = 0.0
        await asyncio.sleep(max(0.0, asked_until - loop.time()) + seconds)
