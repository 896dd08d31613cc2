"""Runs the whole product on one machine: every program a process of its own, started, watched, restarted, stopped.

`Stack` is the entry point for tests, benchmarks and the oracle; `python -m local` is the one for people. Where to
start reading: `stack.Stack`, then `programs` (what runs), `child` (the life of one process).
"""

from local.supervisor.data_directory import StackError
from local.supervisor.stack import Stack

__all__ = ["Stack", "StackError"]
