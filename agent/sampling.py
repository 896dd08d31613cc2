"""The sampling loop: a sample at every tick, whatever publishing does. For the command line and the service."""

from __future__ import annotations

import threading
from collections.abc import Callable

from agent.clock import Clock, Schedule
from agent.sampler import Sample, Sampler


class SamplingLoop:
    """Samples in the thread that calls `run`, and in no other: nothing that publishes can hold it up."""

    def __init__(self, sampler: Sampler, clock: Clock, interval: float) -> None:
        self._sampler = sampler
        self._clock = clock
        self._schedule = Schedule(interval)
        self.missed = 0
        """Ticks without a sample, because the one before took too long or the machine was asleep."""

    def run(self, emit: Callable[[Sample], None], stop: threading.Event) -> None:
        """Calls `emit` with a sample at every tick until `stop` is set."""
        while True:
            tick = self._schedule.next(self._clock.monotonic(), self._clock.epoch_ms())
            self.missed += tick.missed
            if self._clock.wait_until(tick.at, stop):
                return
            emit(self._sampler.sample())
