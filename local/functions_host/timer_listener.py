"""Runs a function on its schedule. For the host only."""

import asyncio
import json
import logging
from datetime import UTC, datetime

from azure.core.exceptions import AzureError

from local.functions_host.executor import Executor
from local.functions_host.messages import TypedData
from local.functions_host.timer_status import NEVER, TimerStatus, TimerStatusBlobs
from local.functions_host.triggers import Function, TimerTrigger
from local.functions_host.worker import Inputs

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
        self._task: asyncio.Task[None] | None = None
        self.settled = asyncio.Event()

    async def start(self) -> None:
        """Begin to wait for due times; storage that is out of reach only costs the memory of past runs."""
        self._task = asyncio.create_task(self._run(), name=f"timer-{self._function.name}")

    async def stop(self, grace: float) -> None:
        """Start no more runs; a running one has `grace` seconds."""
        if self._task is None:
            return
        try:
            async with asyncio.timeout(grace):
                await self._executor.drained()
        except TimeoutError:
            _log.warning("timer still runs at the end of the grace time", extra={"function": self._function.name})
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
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
                await asyncio.sleep((status.next - now).total_seconds())
                continue
            # Never earlier than due: the event loop's clock may run a little ahead of the wall clock.
            status = await self._invoke(status, max(now, status.next), past_due=False)
            if status.next <= datetime.now(UTC):  # the run took longer than the interval: occurrences are skipped
                status = TimerStatus(status.last, schedule.next_after(datetime.now(UTC)), status.last_updated)

    async def _invoke(self, status: TimerStatus, now: datetime, past_due: bool) -> TimerStatus:
        known = status if self._trigger.use_monitor else None
        await self._executor.run(self._function, timer_inputs(self._trigger, known, past_due))
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
