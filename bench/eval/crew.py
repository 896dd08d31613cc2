"""Runs what an evaluation consists of in several processes, and shows how far it is.

A task is a function of a module, so that another process finds it; it gets its arguments and a `Tell`, by which it says
how much of it is done. What a task gives does not depend on how many processes there are.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from typing import Any, NamedTuple

from bench.eval.progress import Progress

Tell = Callable[[float, float], None]
"""Called with what is done and with all there is to do, whatever the unit."""
_AT_MOST = 256
"""Tasks of one run."""
_LOOK_EVERY_S = 0.2
_done: Any = None
"""In a process of a crew: how much of each task is done, 0 to 1, seen by all."""


class Task(NamedTuple):
    """A piece of work."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    weight: float = 1.0
    """How long it takes beside the other tasks of its part."""


class Part:
    """Tasks that are shown as one, and what came of them."""

    def __init__(self, name: str, tasks: Sequence[Task]) -> None:
        self.name = name
        self.tasks = tasks
        self.begin = 0
        self.futures: list[Future[Any]] = []


class Crew:
    """Some processes; with one job this one alone. A context: an error within it ends them."""

    def __init__(self, jobs: int, progress: Progress) -> None:
        self._progress = progress
        self._started = 0
        self._shared: Any = None
        self._others = set(multiprocessing.active_children())
        self._pool: ProcessPoolExecutor | None = None
        if jobs > 1:
            spawn = multiprocessing.get_context("spawn")
            self._shared = spawn.RawArray("d", _AT_MOST)
            self._pool = ProcessPoolExecutor(jobs, spawn, _prepare, (self._shared,))

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if self._pool is not None:
            if error is not None:
                for process in set(multiprocessing.active_children()) - self._others:
                    process.terminate()
            self._pool.shutdown(cancel_futures=True)

    def start(self, name: str, tasks: Sequence[Task]) -> Part:
        """Begins tasks, after those that were begun before."""
        part = Part(name, tasks)
        part.begin = self._started
        self._started += len(tasks)
        if self._pool is not None:
            part.futures = [
                self._pool.submit(_run, part.begin + number, task.function, task.arguments)
                for number, task in enumerate(tasks)
            ]
        return part

    def results(self, part: Part) -> list[Any]:
        """What each of the tasks gave, in their order. Raises what a task raised."""
        total = sum(task.weight for task in part.tasks)
        if self._pool is None:
            return self._alone(part, total)
        waiting: set[Future[Any]] = set(part.futures)
        while waiting:
            ended, waiting = wait(waiting, timeout=_LOOK_EVERY_S)
            for future in ended:
                future.result()
            shares = self._shared[part.begin : part.begin + len(part.tasks)]
            done = sum(task.weight * share for task, share in zip(part.tasks, shares, strict=True))
            self._progress.part(part.name, done, total)
        return [future.result() for future in part.futures]

    def _alone(self, part: Part, total: float) -> list[Any]:
        found = []
        for number, task in enumerate(part.tasks):
            before = sum(one.weight for one in part.tasks[:number])

            def tell(done: float, of: float, before: float = before, weight: float = task.weight) -> None:
                self._progress.part(part.name, before + weight * done / of, total)

            found.append(task.function(*task.arguments, tell))
        self._progress.part(part.name, total, total)
        return found


def _prepare(shared: Any) -> None:
    """In each new process: Ctrl-C ends it without a word, the one that started it says what is to be said."""
    global _done
    _done = shared
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _run(number: int, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    def tell(done: float, of: float) -> None:
        _done[number] = done / of

    found = function(*arguments, tell)
    _done[number] = 1.0
    return found
