"""`python -m local up`: runs a stack in the foreground until a signal comes. For the command line only."""

import signal
import threading
import time
from dataclasses import dataclass, field
from types import FrameType

from local.kql import KqlFailed
from local.supervisor.data_directory import StackError
from local.supervisor.display import Display
from local.supervisor.pipeline import Pipeline, PipelineNumbers, received_since
from local.supervisor.stack import Stack

_LOOK_SECONDS = 1.0
_LOOK_SECONDS_LATER = 5.0
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class _Stopping:
    """Turns the first signal into KeyboardInterrupt, the second into haste."""

    def __init__(self) -> None:
        self.hurry = threading.Event()
        for number in _SIGNALS:
            signal.signal(number, self._first)

    def _first(self, number: int, frame: FrameType | None) -> None:
        for each in _SIGNALS:
            signal.signal(each, lambda *_: self.hurry.set())
        raise KeyboardInterrupt


def up(stack: Stack, display: Display) -> int:
    """Start the stack, tell where to look, show how it does, stop it at a signal; 0, or 1 where it did not start."""
    stopping = _Stopping()
    try:
        display.say(f"Starting the local stack on {stack.data.root}")
        with display.live():
            stack.start(lambda states: display.progress(states, stack.endpoints))
            display.where_to_look(stack.endpoints, stack.data.root)
            _watch(stack, display)
    except StackError as error:
        display.say(str(error), "red")
        return 1
    except KeyboardInterrupt:
        display.say("Stopping; Ctrl-C again to be quick")
    finally:
        began = time.monotonic()
        stack.stop(stopping.hurry.is_set)
    display.say(f"Stopped after {time.monotonic() - began:.1f} s; no process is left.")
    return 0


def _watch(stack: Stack, display: Display) -> None:
    pipeline = Pipeline(stack.env_for_clients(), stack.data.program("agent") / "status.json")
    milestones = _Milestones(stack, pipeline, display)
    while True:
        numbers = pipeline.look()
        milestones.check(numbers)
        display.status(numbers, stack.processes)
        time.sleep(_LOOK_SECONDS_LATER if milestones.done else _LOOK_SECONDS)


@dataclass
class _Milestones:
    """The two moments a newcomer waits for."""

    stack: Stack
    pipeline: Pipeline
    display: Display
    reached: set[str] = field(default_factory=set)

    @property
    def done(self) -> bool:
        return len(self.reached) == 2

    def check(self, numbers: PipelineNumbers) -> None:
        """Announce what has been reached since the last look."""
        if "snapshot" not in self.reached and received_since(numbers, self.stack.started):
            self._announce("snapshot", "first snapshot served")
        if "window" not in self.reached and numbers.windows:
            this_minute = self.stack.started.replace(second=0, microsecond=0)
            try:
                found = self.pipeline.windows_since(this_minute)
            except KqlFailed:
                return  # the next look tries again
            if found:
                self._announce("window", "first window queryable")

    def _announce(self, milestone: str, text: str) -> None:
        self.reached.add(milestone)
        seconds = time.time() - self.stack.started.timestamp()
        self.display.say(f"{text} after {seconds:.1f} s", "bold green")
