"""Moves envelopes from the spool to the event hub, in order, for as long as it takes. For the service."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable

from agent.clock import Clock
from agent.publisher.publisher import EnvelopeTooLarge, Publisher
from agent.spool.spool import Spool, Spooled

log = logging.getLogger(__name__)

MAX_BATCH_COUNT = 100
MAX_BATCH_BYTES = 200_000
"""One acknowledgement at a time covers so much: a lost one duplicates no more, and any tier's link takes it."""
FIRST_RETRY = 1.0
LONGEST_RETRY = 60.0
RETRY_WHILE_FINISHING = 0.25


def backoff(failures: int, jitter: Callable[[], float] = random.random) -> float:
    """Gives the seconds to wait after so many failures in a row: doubling from 1 s to 60 s, less up to half of it.

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
        retry_after: Callable[[int], float] = backoff,
    ) -> None:
        """A new envelope is sent after `delay` seconds; `on_progress` is called after every acknowledgement."""
        self._spool = spool
        self._publisher = publisher
        self._clock = clock
        self._delay = delay
        self._on_progress = on_progress
        self._retry_after = retry_after
        self._more = asyncio.Event()
        self._finishing = asyncio.Event()
        self._failures = 0
        self._failing_since = 0.0
        self.published = 0
        """Envelopes acknowledged."""
        self.too_large = 0
        """Envelopes given up because the link does not take them."""
        self.last_publish_ms: int | None = None

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
                await self._pause(0.0 if await self._send_oldest() else self._retry_after(self._failures))
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
        try:
            await self._publisher.publish([spooled.body for spooled in batch])
        except EnvelopeTooLarge as error:
            self._give_up(batch[error.index], error)
            return True
        except Exception as error:  # whatever it is, the envelopes are worth another attempt
            self._note_failure(error)
            return False
        self._spool.remove(spooled.number for spooled in batch)
        self._note_success(len(batch))
        return True

    def _give_up(self, spooled: Spooled, error: EnvelopeTooLarge) -> None:
        self._spool.remove([spooled.number])
        self.too_large += 1
        log.error("envelope_too_large", extra={"bytes": error.size, "limit": error.limit, "dropped": self.too_large})

    def _note_failure(self, error: Exception) -> None:
        self._failures += 1
        fields = {"problem": f"{type(error).__name__}: {error}"[:300], "waiting": len(self._spool)}
        if self._failures == 1:
            self._failing_since = self._clock.monotonic()
            log.warning("publishing_failed", extra=fields)
        else:
            log.debug("publishing_still_fails", extra={**fields, "failures": self._failures})

    def _note_success(self, count: int) -> None:
        self.published += count
        self.last_publish_ms = self._clock.epoch_ms()
        if self._failures:
            seconds = round(self._clock.monotonic() - self._failing_since, 1)
            log.info("publishing_recovered", extra={"outage_seconds": seconds, "waiting": len(self._spool)})
        self._failures = 0
        self._on_progress()

    async def _pause(self, seconds: float) -> None:
        """Waits; while finishing, not for long."""
        if self._finishing.is_set():
            await asyncio.sleep(min(seconds, RETRY_WHILE_FINISHING))
        elif seconds > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._finishing.wait(), seconds)
