"""Starts the agent."""

import os
import signal
import sys


def _end(*_: object) -> None:
    """Ends the process before there is anything to be sent or closed."""
    os._exit(0)


# First of all: the first process of a container ignores signals that it has no handler for, and a pod that is stopped
# while it starts would wait for its whole grace period.
signal.signal(signal.SIGTERM, _end)

from agent.command_line import flush_and_exit, main  # noqa: E402

flush_and_exit(main(sys.argv[1:], os.environ))
