"""One supervisor per data directory. For the supervisor only.

The lock belongs to the kernel and ends with the process that holds it, however that ends: there are no stale ones.
The pid in the file is for people, and for `python -m local down`.
"""

import fcntl
import os
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from local.supervisor.data_directory import StackError

_ATTEMPTS = 4
_ATTEMPT_SECONDS = 0.05


class InstanceLock:
    """Held from `acquire` to `release`, or inside its context."""

    def __init__(self, root: Path) -> None:
        self._path = root / "supervisor.lock"
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the lock; StackError, with the holder's pid, where another process has it."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if not _locked(descriptor):
            os.close(descriptor)
            raise StackError(
                f"a local stack runs on {self._path.parent} already (pid {self._pid()}); "
                "see `python -m local status`, stop it with `python -m local down`, or choose another --data"
            )
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        self._descriptor = descriptor

    def release(self) -> None:
        """Give the lock back; nothing where it is not held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def holder(self) -> int | None:
        """The pid of the process that holds the lock, None where nobody does."""
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return self._pid()
        finally:
            os.close(descriptor)
        return None

    def _pid(self) -> int | None:
        text = self._path.read_text().strip()
        return int(text) if text.isdigit() else None

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def _locked(descriptor: int) -> bool:
    """Take the lock; tried for a moment, because `holder` takes it too while it looks."""
    for _ in range(_ATTEMPTS):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_ATTEMPT_SECONDS)
        else:
            return True
    return False
