"""The life of one program of a stack: started, ready, ended, started again. For `stack` only.

A child is moved by `step`, called again and again from one thread, which is the only one that starts processes: Linux
ends a process with the thread that started it (see `launcher`). Everything else only says what is wanted, or signals.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path

from local.supervisor.data_directory import StackError
from local.supervisor.endpoints import REPOSITORY
from local.supervisor.programs import Program

_LAUNCHER = str(Path(__file__).with_name("launcher.py"))
_FIRST_BACK_OFF, _LONGEST_BACK_OFF = 0.2, 10.0
_SETTLED_SECONDS = 30.0
"""After so long a life an end is no longer counted as one of a series."""
_ORPHANS_SECONDS = 5.0
"""What a dead program leaves running, such as Azurite's Node, may take so long to end in order."""
_LOG_BYTES = 16 * 1024 * 1024
_LOG_TAIL, _LOG_LINE = 8, 600
_POLL = 0.02


class State(StrEnum):
    """Where a child is in its life."""

    STOPPED = "stopped"
    STARTING = "starting"
    RUNNING = "running"
    WAITING = "waiting"
    """It ended by itself, and is started again after a pause."""


class Child:
    """One program. Methods may be called from any thread, `step` from the stack's own only."""

    def __init__(
        self,
        program: Program,
        changed: threading.Condition,
        announce: Callable[[str], None],
        *,
        restart: bool,
        may_start: Callable[[], bool] = lambda: True,
        before_retry: Callable[[], None] = lambda: None,
    ) -> None:
        self.program = program
        self.restart_when_dead = restart
        self.state = State.STOPPED
        self.ready_once = False
        self.failures = 0
        self.starts = 0
        self._changed = changed
        self._announce = announce
        self._may_start = may_start
        self._before_retry = before_retry
        self._wanted = False
        self._not_before = 0.0
        self._started = 0.0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def name(self) -> str:
        """The program's name."""
        return self.program.name

    @property
    def pid(self) -> int | None:
        """The process's id, which is its group's too; None while there is none."""
        return self._process.pid if self._process else None

    @property
    def restarts(self) -> int:
        """How often it was started after the first time."""
        return max(0, self.starts - 1)

    def want(self) -> None:
        """Have it started as soon as it may be."""
        with self._changed:
            self._wanted = True
            self._not_before = 0.0

    def start(self) -> None:
        """Have it running and ready when this returns; StackError, with the log's end, where it does not get so."""
        self.want()
        with self._changed:
            ended = self._changed.wait_for(
                lambda: self.state is State.RUNNING or not self._wanted, self.program.ready_seconds
            )
            if not ended or self.state is not State.RUNNING:
                raise StackError(f"{self.name} did not get ready{self.log_tail()}")

    def kill(self) -> None:
        """End it as a crash would (SIGKILL, its whole process group), and return when it is dead.

        It comes back by itself unless `restart_when_dead` is off.
        """
        with self._changed:
            self._signal_group(signal.SIGKILL)
            if self._process is not None:
                self._process.wait()
                self._ended()

    def stop(self) -> None:
        """Ask it to end, kill it after `stop_seconds`; it stays down until `start`."""
        self.ask_to_stop()
        self.await_stop()

    def ask_to_stop(self) -> None:
        """Ask it to end (SIGTERM); it stays down until `start`."""
        with self._changed:
            self._wanted = False
            if self.state is State.WAITING:
                self.state = State.STOPPED
            if self._process is not None:
                self._process.terminate()

    def await_stop(self, hurry: Callable[[], bool] = lambda: False) -> None:
        """Wait for the end that was asked for; SIGKILL after `stop_seconds`, or at once when `hurry` says so."""
        deadline = time.monotonic() + self.program.stop_seconds
        while True:
            with self._changed:
                if self._process is None:
                    return
                if self._process.poll() is not None:
                    self._ended()
                    return
            if time.monotonic() > deadline or hurry():
                self._announce(f"{self.name} did not end when asked; killing it")
                self.kill()
                return
            time.sleep(_POLL)

    def restart(self) -> None:
        """Stop it and start it again, on the same ports and data."""
        self.stop()
        self.start()

    def step(self) -> None:
        """Look after it: notice that it is ready, overdue or dead, and start it when it is due."""
        with self._changed:
            if self._process is not None:
                self._look()
            if self._process is None and self._wanted and time.monotonic() >= self._not_before and self._may_start():
                self._spawn()

    def log_tail(self) -> str:
        """The last lines of its log, to append to a message."""
        try:
            lines = self.program.log.read_text(errors="replace").splitlines()[-_LOG_TAIL:]
        except FileNotFoundError:
            return ""
        return f"; the end of {self.program.log}:\n" + "\n".join(f"  {line:.{_LOG_LINE}}" for line in lines)

    def _look(self) -> None:
        assert self._process is not None
        if self._process.poll() is not None:
            self._ended()
        elif self.state is State.STARTING:
            if self.program.ready_file.exists():
                self._change(State.RUNNING)
                self.ready_once = True
            elif time.monotonic() > self._started + self.program.ready_seconds:
                self._announce(f"{self.name} was not ready within {self.program.ready_seconds:g} s; killing it")
                self._signal_group(signal.SIGKILL)

    def _spawn(self) -> None:
        self.program.ready_file.unlink(missing_ok=True)
        _rotate(self.program.log)
        command = [sys.executable, "-I", "-S", _LAUNCHER, str(os.getpid()), *self.program.arguments()]
        with self.program.log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                cwd=REPOSITORY,
                env=self.program.environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._started = time.monotonic()
        self.starts += 1
        self._change(State.STARTING)

    def _ended(self) -> None:
        """Note the end of the process, and decide what comes next. The lock is held."""
        assert self._process is not None
        process, self._process = self._process, None
        self._end_orphans(process.pid)
        if not self._wanted:
            self._change(State.STOPPED)
            return
        if time.monotonic() - self._started > _SETTLED_SECONDS:
            self.failures = 0
        self.failures += 1
        how = _how(process.returncode)
        if not self.restart_when_dead:
            self._wanted = False
            self._change(State.STOPPED)
            self._announce(f"{self.name} {how}; it stays down until it is started")
            return
        pause = min(_LONGEST_BACK_OFF, _FIRST_BACK_OFF * 2 ** (self.failures - 1))
        self._not_before = time.monotonic() + pause
        if not self.ready_once:
            self._before_retry()
        self._change(State.WAITING)
        self._announce(f"{self.name} {how}; starting it again in {pause:g} s (log: {self.program.log})")

    def _end_orphans(self, group: int) -> None:
        """Let what is left of the process group end in order, then end it: the ports must be free."""
        deadline = time.monotonic() + _ORPHANS_SECONDS
        with contextlib.suppress(ProcessLookupError):
            while time.monotonic() < deadline:
                os.killpg(group, 0)
                time.sleep(_POLL)
            os.killpg(group, signal.SIGKILL)

    def _signal_group(self, number: int) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)

    def _change(self, state: State) -> None:
        self.state = state
        self._changed.notify_all()


def _how(code: int) -> str:
    if code < 0:
        return f"was ended by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"


def _rotate(log: Path) -> None:
    """Keep one older log; nothing is lost to whoever looks at why it ended."""
    with contextlib.suppress(FileNotFoundError):
        if log.stat().st_size > _LOG_BYTES:
            log.replace(log.with_name(f"{log.name}.1"))
