"""Lets the fleet run: every envelope is published when its time has come. For local.fleet.__main__ and tests."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any

from local.fleet.model import FleetModel
from local.fleet.publishers import Outgoing, Publisher
from local.fleet.reporting import Ledger, Report

_BREATHE_EVERY = 50
"""Envelopes between two chances for senders to run, when nothing else makes the simulation wait."""


class Pace:
    """Maps simulated time to the clock: `speed` simulated seconds a second, 0 for as fast as possible.

    What lies `behind_s` seconds after the start and earlier has its time already: it comes as fast as possible.
    """

    def __init__(self, start_ms: int, speed: float, *, behind_s: float = 0.0) -> None:
        self._start_ms = start_ms
        self._speed = speed
        self._started = time.monotonic() - behind_s

    def wait(self, at_ms: int) -> float:
        """Seconds until a simulated moment has come; 0 or less when it has."""
        if self._speed == 0.0:
            return 0.0
        return (at_ms - self._start_ms) / 1000 / self._speed - (time.monotonic() - self._started)


async def simulate(
    model: FleetModel,
    publisher: Publisher,
    ledger: Ledger,
    report: Report,
    *,
    until_ms: int | None,
    pace: Pace,
    stop: asyncio.Event,
) -> None:
    """Publishes the fleet's envelopes until `until_ms` (None: for ever) and all are acknowledged, or until `stop`."""
    publishing = asyncio.create_task(_publish(model, publisher, ledger, until_ms, pace))
    reporting = asyncio.create_task(_report(report))
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait((publishing, stopping, reporting), return_when=asyncio.FIRST_COMPLETED)
        for failing in (publishing, reporting):
            if failing.done():
                failing.result()
    finally:
        tasks: tuple[asyncio.Task[Any], ...] = (publishing, reporting, stopping)
        for task in tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await task
        await publisher.close()
        report.tell(final=True)
        ledger.close()


async def _publish(model: FleetModel, publisher: Publisher, ledger: Ledger, until_ms: int | None, pace: Pace) -> None:
    ledger.simulated_ms = model.start_ms
    for number, due in enumerate(model.envelopes(until_ms)):
        wait = pace.wait(due.at_ms)
        if wait > 0.0 or number % _BREATHE_EVERY == 0:
            await asyncio.sleep(max(wait, 0.0))
        outgoing = Outgoing.of(due.envelope)
        ledger.take(due.at_ms)
        await publisher.put(outgoing)
    await publisher.drain()


async def _report(report: Report) -> None:
    while True:
        report.tell()
        await asyncio.sleep(1.0)
