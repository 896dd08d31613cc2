"""What another process can have a running stack do: end, or restart one program. For the command line only.

There is no protocol: signals say it all. A program that ends is started again by its supervisor.
"""

import contextlib
import os
import signal
import time
from collections.abc import Callable

from local.supervisor.child import State
from local.supervisor.data_directory import DataDirectory, StackError
from local.supervisor.instance_lock import InstanceLock
from local.supervisor.stack_file import ProcessFacts, find_running

_DOWN_SECONDS = 60.0
_END_SECONDS = 12.0
_READY_SECONDS = 90.0
_POLL_SECONDS = 0.1


def take_down(data: DataDirectory) -> None:
    """Have the supervisor stop everything, and wait until it has."""
    supervisor = find_running(data).supervisor_pid
    os.kill(supervisor, signal.SIGTERM)
    lock = InstanceLock(data.root)
    if not _eventually(lambda: lock.holder() is None, _DOWN_SECONDS):
        raise StackError(f"the supervisor has not stopped within {_DOWN_SECONDS:g} s; end it: kill -9 {supervisor}")


def restart(data: DataDirectory, name: str) -> int:
    """Restart one program and wait until it is ready; its new pid."""
    before = _process(data, name)
    if before.pid is None:
        raise StackError(f"{name} is {before.state} already; see `python -m local logs {name}`")
    _signal(before.pid, signal.SIGTERM)
    if not _eventually(lambda: _process(data, name).pid != before.pid, _END_SECONDS):
        _signal(before.pid, signal.SIGKILL)

    def again() -> bool:
        now = _process(data, name)
        return now.state == State.RUNNING and now.pid != before.pid

    if not _eventually(again, _READY_SECONDS):
        raise StackError(f"{name} was not ready again within {_READY_SECONDS:g} s; see `python -m local logs {name}`")
    return _process(data, name).pid or 0


def _process(data: DataDirectory, name: str) -> ProcessFacts:
    processes = find_running(data).processes
    if name not in processes:
        raise StackError(f"no program {name!r} in the local stack; it has {', '.join(processes)}")
    return processes[name]


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _eventually(done: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if done():
            return True
        time.sleep(_POLL_SECONDS)
    return False
