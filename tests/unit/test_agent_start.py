"""The agent can be stopped from its first moment on: in a container nobody else does it for the first process."""

import subprocess
import sys
from pathlib import Path

START = """
import os, runpy, signal, sys, types

command_line = types.ModuleType("agent.command_line")
command_line.main = lambda arguments, environ: {before}
command_line.flush_and_exit = os._exit
sys.modules["agent.command_line"] = command_line
runpy.run_module("agent", run_name="__main__")
"""


def start(before: str) -> int:
    code = START.format(before=before)
    return subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parents[2], timeout=30, check=False
    ).returncode


def test_sigterm_has_a_handler_before_anything_of_the_agent_is_loaded():
    assert start("0 if callable(signal.getsignal(signal.SIGTERM)) else 3") == 0


def test_a_sigterm_at_the_start_ends_the_process_without_an_error():
    assert start("os.kill(os.getpid(), signal.SIGTERM) or 3") == 0
