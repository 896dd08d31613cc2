"""Runs jobs that may hang in the kernel without hanging with them. For the sampler and the filesystem collector."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from queue import SimpleQueue
from typing import NamedTuple


class Outcome[T](NamedTuple):
    """How a job ended: with a value, with an error, or not within its time limit."""

    value: T | None = None
    error: BaseException | None = None
    seconds: float = 0.0
    overdue: bool = False
    """It ran out of time now, or still has not come back from an earlier run."""

    @property
    def problem(self) -> str | None:
        """What went wrong, in a few words; None when nothing did."""
        if self.overdue:
            return "it hangs: no answer within its time limit"
        if self.error is None:
            return None
        try:
            return f"{type(self.error).__name__}: {self.error}"[:300]
        except Exception:  # the message of a stranger's exception can be as broken as the rest
            return type(self.error).__name__


class TimeLimitedRuns[T]:
    """Runs named jobs one after the other, each within `seconds`; one that hangs costs itself only.

    A call that hangs in the kernel (statvfs of a dead mount) cannot be stopped. Its thread is left to it, a new
    thread does the other jobs, and the job is not started again before it has come back, so there is never more
    than one thread per hanging job. A run without accident costs two thread switches, however many the jobs.
    """

    def __init__(self, seconds: float, name: str) -> None:
        self._seconds = seconds
        self._name = name
        self._queue: SimpleQueue[_Batch[T]] | None = None
        self._hanging: set[str] = set()

    def run(self, jobs: Mapping[str, Callable[[], T]]) -> dict[str, Outcome[T]]:
        """Runs every job that is not hanging; gives one outcome for each, in the order of `jobs`."""
        hanging = frozenset(self._hanging)
        outcomes: dict[str, Outcome[T]] = {}
        waiting = {key: job for key, job in jobs.items() if key not in hanging}
        while waiting:
            batch = _Batch(waiting)
            self._worker().put(batch)
            overdue = batch.wait(self._seconds, self._hanging)
            outcomes |= batch.outcomes
            if overdue is None:
                break
            self._queue = None
            outcomes[overdue] = Outcome(seconds=self._seconds, overdue=True)
            waiting = {key: job for key, job in waiting.items() if key not in outcomes}
        return {key: outcomes.get(key, Outcome(overdue=True)) for key in jobs}

    def _worker(self) -> SimpleQueue[_Batch[T]]:
        if self._queue is None:
            self._queue = SimpleQueue()
            threading.Thread(target=self._work, args=(self._queue,), name=self._name, daemon=True).start()
        return self._queue

    def _work(self, queue: SimpleQueue[_Batch[T]]) -> None:
        while True:
            batch = queue.get()
            for key, job in batch.jobs.items():
                batch.begin(key)
                try:
                    value, error = job(), None
                except BaseException as raised:  # SystemExit too: a thread that ends would look like one that hangs
                    value, error = None, raised
                if not batch.finish(value, error):
                    self._hanging.discard(key)
                    return
            batch.done.release()


class _Batch[T]:
    """The jobs of one run, shared by the thread that works and the one that waits.

    Locks only: an Event is three objects and some twenty lines more, which nothing has brought into the caches yet
    when the agent wakes up.
    """

    def __init__(self, jobs: Mapping[str, Callable[[], T]]) -> None:
        self.jobs = jobs
        self.outcomes: dict[str, Outcome[T]] = {}
        self.done = threading.Lock()
        """Free when all jobs are done."""
        self.done.acquire()
        self._lock = threading.Lock()
        self._current: str | None = None
        self._started = time.monotonic()
        self._abandoned = False

    def begin(self, key: str) -> None:
        with self._lock:
            self._current, self._started = key, time.monotonic()

    def finish(self, value: T | None, error: BaseException | None) -> bool:
        """Notes the outcome of the current job; False when nobody waits for it any more."""
        with self._lock:
            if self._abandoned or self._current is None:
                return False
            self.outcomes[self._current] = Outcome(value, error, time.monotonic() - self._started)
            self._current = None
            return True

    def wait(self, seconds: float, hanging: set[str]) -> str | None:
        """Waits until all jobs are done (None) or one is overdue: that one is abandoned and noted as hanging."""
        while not self.done.acquire(timeout=max(0.001, self._started + seconds - time.monotonic())):
            with self._lock:
                if self._current is not None and time.monotonic() >= self._started + seconds:
                    self._abandoned = True
                    hanging.add(self._current)
                    return self._current
        return None
