"""Turns itself into a program that cannot outlive the supervisor. Started by `child` only, as a script.

`launcher.py SUPERVISOR_PID PROGRAM ARGUMENTS...`: asks Linux to end this process with its parent, then becomes the
program under the same pid. It runs between fork and exec, where `preexec_fn` could deadlock in a threaded parent.
The parent of a process is a thread to Linux: whoever starts it must live as long as the program is to live.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def become(arguments: list[str]) -> int:
    """Become the program, or return 1 where the supervisor has ended already."""
    parent, *program = arguments
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != int(parent):  # it ended before the kernel knew what we want
        return 1
    os.execv(program[0], program)


if __name__ == "__main__":
    sys.exit(become(sys.argv[1:]))
