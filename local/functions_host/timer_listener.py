"""Runs a function on its schedule. For the host only."""

import asyncio
import contextlib
import json
import logging
from datetime import UTC, datetime

from azure.core.exceptions import AzureError

from local.functions_host.executor import Executor, Outcome
from local.functions_host.messages import TypedData
from local.functions_host.timer_status import NEVER, TimerStatus, TimerStatusBlobs
from local.functions_host.triggers import Function, TimerTrigger
from local.functions_host.worker import Inputs

_LONGEST_SLEEP_SECONDS = 30.0
_log = logging.getLogger(__name__)


def timer_inputs(trigger: TimerTrigger, status: TimerStatus | None, past_due: bool) -> Inputs:
    """The TimerRequest a function gets."""
    request = {
        "Schedule": {"AdjustForDST": True},
        "ScheduleStatus": status.as_json() if status else None,
        "IsPastDue": past_due,
    }
    return Inputs({trigger.parameter: TypedData(json=json.dumps(request))})


class TimerListener:
    """Runs the function at each due time, never twice at once.

    A run that was missed while the host was down is made up for at once, one run however many were missed. The retry
    policy applies, and the schedule waits for it.
    """

    def __init__(self, function: Function, trigger: TimerTrigger, executor: Executor, blobs: TimerStatusBlobs) -> None:
        self._function = function
        self._trigger = trigger
        self._executor = executor
        self._blobs = blobs
        self._running = asyncio.Lock()
        self.settled = asyncio.Event()

    async def stop(self, grace: float) -> None:
        """Give a running run `grace` seconds to end and be noted; the executor lets no other start."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace), self._running:
                pass

    async def run(self) -> None:
        """Wait for due times until the host stops; storage out of reach only costs the memory of past runs."""
        schedule = self._trigger.schedule
        now = datetime.now(UTC)
        status = await self._load(now)
        self.settled.set()
        if status.next <= now:
            status = await self._invoke(status, now, past_due=True)
        elif self._trigger.run_on_startup:
            status = await self._invoke(status, now, past_due=False)
        while not self._executor.is_stopping:
            now = datetime.now(UTC)
            if now < status.next:
                # In slices: the wait must not be late by as long as the machine slept.
                await asyncio.sleep(min((status.next - now).total_seconds(), _LONGEST_SLEEP_SECONDS))
                continue
            # Never earlier than due: the event loop's clock may run a little ahead of the wall clock.
            status = await self._invoke(status, max(now, status.next), past_due=False)
            if status.next <= datetime.now(UTC):  # the run took longer than the interval: occurrences are skipped
                status = TimerStatus(status.last, schedule.next_after(datetime.now(UTC)), status.last_updated)

    async def _invoke(self, status: TimerStatus, now: datetime, past_due: bool) -> TimerStatus:
        known = status if self._trigger.use_monitor else None
        async with self._running:
            outcome = await self._executor.run(self._function, timer_inputs(self._trigger, known, past_due))
            if outcome is Outcome.INTERRUPTED:
                return status
            ran = TimerStatus(now, self._trigger.schedule.next_after(now), now)
            await self._save(ran)
        return ran

    async def _load(self, now: datetime) -> TimerStatus:
        fresh = TimerStatus(NEVER, self._trigger.schedule.next_after(now), now)
        if not self._trigger.use_monitor:
            return fresh
        try:
            stored = await self._blobs.load(self._function.name)
        except AzureError as error:
            self._storage_failed("cannot be read; missed runs are not made up for", error)
            return fresh
        status = fresh if stored is None else stored.adjusted(self._trigger.schedule, now)
        if status != stored:
            await self._save(status)
        return status

    async def _save(self, status: TimerStatus) -> None:
        if not self._trigger.use_monitor:
            return
        try:
            await self._blobs.save(self._function.name, status)
        except AzureError as error:
            self._storage_failed("cannot be stored", error)

    def _storage_failed(self, what: str, error: AzureError) -> None:
        _log.warning(f"timer status {what}", extra={"function": self._function.name, "error": str(error)})
