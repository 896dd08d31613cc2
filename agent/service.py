"""The agent at work: samples in one thread, publishes in another, stops when told. For the command line.

The sampling thread hands samples over and never waits. Everything else (envelopes, spool, delivery, signals) runs
in the event loop of the main thread, which is woken when an envelope is full, not for every sample: each time costs
a tenth of a millisecond.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

from agent.clock import Clock
from agent.delivery import Delivery
from agent.envelopes import EnvelopeBuilder
from agent.progress import Progress, ProgressReport
from agent.publisher.publisher import Publisher
from agent.sampler import Sample, Sampler
from agent.sampling import SamplingLoop
from agent.spool.spool import Spool
from agent.status_file import Status, StatusFile
from telemetry.envelope import Envelope, encode

log = logging.getLogger(__name__)

STOP_WITHIN = 5.0
"""Seconds from the signal to the end, whatever hangs."""
STATUS_EVERY = 10
"""Every how many envelopes a status line is logged."""
HAND_OVER_EVERY = 30.0
"""Seconds after which the event loop is woken for samples that fill no envelope: half of what /healthz allows it."""


class Parts(NamedTuple):
    """What a service is made of."""

    clock: Clock
    sampler: Sampler
    sampling: SamplingLoop
    builder: EnvelopeBuilder
    spool: Spool
    publisher: Publisher


class Service:
    """Runs the parts until SIGTERM or SIGINT; then sends what there is, or leaves it in the spool."""

    def __init__(
        self, parts: Parts, instance: str, *, publish_delay: float = 0.0, status_file: StatusFile | None = None
    ) -> None:
        self._parts = parts
        self._instance = instance
        self._status_file = status_file
        self._stop_sampling = threading.Event()
        self._delivery = Delivery(
            parts.spool,
            parts.publisher,
            parts.clock,
            delay=publish_delay,
            on_progress=self._acknowledged,
            on_failure=self._failed,
        )
        self._progress = ProgressReport(parts.clock, parts.spool, self._delivery.statistics)
        self._sampled: deque[Sample] = deque()
        """What the sampling thread has sampled and the event loop has not taken yet."""
        self._wanted = parts.builder.wanted
        """How many samples the next envelope lacks beyond those that were taken."""
        self._samples = 0
        self._collecting_seconds = 0.0

    @property
    def progress(self) -> Progress:
        """How envelopes get on; any thread may ask."""
        return self._progress.latest

    async def run(self) -> None:
        """Works until a signal comes. Raises only what no part could handle: a programming error."""
        loop = asyncio.get_running_loop()
        signalled = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, signalled.set)
        delivering = asyncio.create_task(self._delivery.run(), name="delivery")
        waiting = asyncio.create_task(signalled.wait(), name="signal")
        sampling = self._start_sampling(loop)
        ends: list[asyncio.Future[Any]] = [delivering, waiting, sampling]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        await self._stop(sampling, delivering)
        for end in ends:
            if end.done() and not end.cancelled():
                end.result()

    def _start_sampling(self, loop: asyncio.AbstractEventLoop) -> asyncio.Future[None]:
        """Starts the sampling thread; the future ends with it."""
        ended: asyncio.Future[None] = loop.create_future()

        def end(error: BaseException | None) -> None:
            if not ended.done():
                ended.set_exception(error) if error else ended.set_result(None)

        def take() -> None:
            try:
                self._take()
            except Exception as error:
                end(error)

        def hand_over(callback: Callable[..., None], *args: object) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody wants it any more
                loop.call_soon_threadsafe(callback, *args)

        handed_over = self._parts.clock.monotonic()

        def emit(sample: Sample) -> None:
            nonlocal handed_over
            self._sampled.append(sample)
            now = self._parts.clock.monotonic()
            if len(self._sampled) >= self._wanted or now - handed_over >= HAND_OVER_EVERY:
                handed_over = now
                hand_over(take)

        def sample() -> None:
            error = None
            try:
                self._parts.sampling.run(emit, self._stop_sampling)
            except BaseException as raised:
                error = raised
            hand_over(end, error)

        threading.Thread(target=sample, name="sampling", daemon=True).start()
        return ended

    async def _stop(self, sampling: asyncio.Future[None], delivering: asyncio.Task[None]) -> None:
        """Ends everything within STOP_WITHIN: the last second is for closing."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + STOP_WITHIN - 1.0
        self._stop_sampling.set()
        await asyncio.wait({sampling}, timeout=1.0)
        self._take()
        if (envelope := self._parts.builder.flush()) is not None:
            self._spool(envelope)
            self._progress.built(envelope.seq)
        self._delivery.finish()
        await asyncio.wait({delivering}, timeout=max(0.0, deadline - loop.time()))
        delivering.cancel()
        await asyncio.wait({delivering}, timeout=0.3)
        closing = asyncio.create_task(self._parts.publisher.close())
        await asyncio.wait({closing}, timeout=0.5)
        closing.cancel()
        self._write_status()
        log.info("stopped", extra=dict(self._status()))

    def _take(self) -> None:
        """Takes everything that was sampled."""
        while self._sampled:
            sample = self._sampled.popleft()
            self._samples += 1
            self._collecting_seconds += sample.seconds
            for envelope in self._parts.builder.add(sample):
                self._spool(envelope)
                if envelope.seq % STATUS_EVERY == 0:
                    self._log_status()
        self._wanted = self._parts.builder.wanted
        self._progress.samples_taken(self._parts.builder.seq)

    def _spool(self, envelope: Envelope) -> None:
        self._parts.spool.append(encode(envelope))
        self._delivery.wake()
        self._write_status()

    def _acknowledged(self) -> None:
        self._progress.acknowledged()
        self._write_status()

    def _failed(self) -> None:
        self._progress.failed()

    def _status(self) -> Status:
        return Status(
            instance=self._instance,
            seq=self._parts.builder.seq,
            published=self._delivery.statistics.published,
            spooled=len(self._parts.spool),
            dropped=self._parts.spool.dropped + self._delivery.statistics.too_large,
            last_publish_ms=self._delivery.statistics.last_publish_ms,
        )

    def _write_status(self) -> None:
        if self._status_file is not None:
            self._status_file.write(self._status())

    def _log_status(self) -> None:
        statistics = self._parts.sampler.statistics
        log.info(
            "status",
            extra={
                **self._status(),
                "collect_ms": round(1000 * self._collecting_seconds / max(1, self._samples), 2),
                "missed_ticks": self._parts.sampling.missed,
                "collector_failures": sum(each.failures for each in statistics.values()),
                "refused_values": sum(each.refused for each in statistics.values()),
            },
        )
        self._samples, self._collecting_seconds = 0, 0.0
