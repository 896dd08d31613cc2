"""Runs functions: one attempt, or as many as the retry policy allows, with the host's time limit. For listeners."""

import asyncio
import contextlib
import enum
import logging
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

from local.functions_host.triggers import Function
from local.functions_host.worker import Attempt, Failure, Inputs, InvocationResult, Worker

_FIRST_ATTEMPT = Attempt()
_log = logging.getLogger(__name__)
type AttemptObserver = Callable[[int, Failure | None], None]


class Outcome(enum.Enum):
    """How a function's work on one input ended."""

    SUCCEEDED = enum.auto()
    FAILED = enum.auto()
    INTERRUPTED = enum.auto()  # the host stops: the input is neither done nor given up


@dataclass
class InvocationCounts:
    """Ended invocations of a function; every attempt counts."""

    succeeded: int = 0
    failed: int = 0


class Executor:
    """Gives functions their inputs and knows what is running.

    `exceeded` is called when an invocation overruns functionTimeout: Python cannot stop a thread, so the host
    ends its process, as the real one recycles its worker.
    """

    def __init__(self, worker: Worker, function_timeout: float | None, exceeded: Callable[[str], None]) -> None:
        self._worker = worker
        self._function_timeout = function_timeout
        self._exceeded = exceeded
        self._stopping = asyncio.Event()
        self._running = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self.counts: defaultdict[str, InvocationCounts] = defaultdict(InvocationCounts)

    @property
    def is_stopping(self) -> bool:
        """Whether `stop` was called."""
        return self._stopping.is_set()

    def stop(self) -> None:
        """End waits for retries now; what runs goes on to its end."""
        self._stopping.set()

    async def drained(self) -> None:
        """Wait until nothing runs."""
        await self._idle.wait()

    async def run(self, function: Function, inputs: Inputs, observe: AttemptObserver | None = None) -> Outcome:
        """Run until success, until the retry policy is exhausted, or until the host stops.

        `observe` hears the number of each ended attempt, from 1, and its failure.
        """
        policy = function.retry
        delays = policy.strategy.delays() if policy else iter(())
        attempt = Attempt(0, policy.max_retry_count if policy else 0)
        while True:
            result = await self.run_once(function, inputs, attempt)
            if result is None:
                return Outcome.INTERRUPTED
            if observe is not None:
                observe(attempt.retry_count + 1, result.failure)
            if result.failure is None:
                return Outcome.SUCCEEDED
            if policy is None or not policy.allows(attempt.retry_count):
                return Outcome.FAILED
            if await self._stops_within(next(delays)):
                return Outcome.INTERRUPTED
            attempt = Attempt(attempt.retry_count + 1, policy.max_retry_count, result.failure)

    async def run_once(
        self, function: Function, inputs: Inputs, attempt: Attempt = _FIRST_ATTEMPT
    ) -> InvocationResult | None:
        """Run a function once; None where it overran the time limit, which ends the host."""
        extra = {"function": function.name, "attempt": attempt.retry_count + 1}
        _log.debug("Executing", extra=extra)
        started = time.monotonic()
        self._running += 1
        self._idle.clear()
        try:
            async with asyncio.timeout(self._function_timeout):
                result = await self._worker.invoke(function.function_id, inputs, attempt)
        except TimeoutError:
            self.counts[function.name].failed += 1
            _log.error("functionTimeout exceeded", extra=extra | {"timeout_seconds": self._function_timeout})
            self._exceeded(function.name)
            return None
        finally:
            self._running -= 1
            if self._running == 0:
                self._idle.set()
        extra["duration_ms"] = round((time.monotonic() - started) * 1000, 1)
        if result.failure is None:
            self.counts[function.name].succeeded += 1
            _log.debug("Executed", extra=extra | {"outcome": "Succeeded"})
        else:
            self.counts[function.name].failed += 1
            detail = {"error": result.failure.message, "stack_trace": result.failure.stack_trace}
            _log.warning("Executed", extra=extra | {"outcome": "Failed"} | detail)
        return result

    async def _stops_within(self, seconds: float) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        return self._stopping.is_set()
