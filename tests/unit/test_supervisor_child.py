"""The life of one child, with shell scripts for programs."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from local.supervisor import child as child_module
from local.supervisor.child import Child, State
from local.supervisor.data_directory import StackError
from local.supervisor.programs import Program

LAUNCHER = Path(child_module.__file__).with_name("launcher.py")
SERVES = "echo ready > READY; exec sleep 60"


def eventually(look, what, seconds=20):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(0.01)
    raise AssertionError(f"never saw {what}")


def is_alive(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


class Keeper:
    """Steps children in a thread, as a stack does."""

    def __init__(self, folder):
        self.folder = folder
        self.announced = []
        self._children = []
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def child(self, script, *, restart=True, ready_seconds=20.0, stop_seconds=10.0, **more):
        ready = self.folder / "ready"
        program = Program(
            name="program",
            arguments=lambda: ["/bin/sh", "-c", script.replace("READY", str(ready))],
            environment=lambda: dict(os.environ),
            ready_file=ready,
            log=self.folder / "program.log",
            ready_seconds=ready_seconds,
            stop_seconds=stop_seconds,
        )
        made = Child(program, threading.Condition(threading.RLock()), self.announced.append, restart=restart, **more)
        self._children.append(made)
        return made

    def close(self):
        for each in self._children:
            each.program = Program(**{**vars(each.program), "stop_seconds": 0.0})
            each.stop()
        self._stopped.set()
        self._thread.join()

    def _run(self):
        while not self._stopped.wait(0.01):
            for each in self._children:
                each.step()


@pytest.fixture
def keeper(tmp_path):
    with contextlib.closing(Keeper(tmp_path)) as made:
        yield made


def test_a_program_is_running_once_its_ready_file_is_there(keeper):
    child = keeper.child(f"sleep 0.2; {SERVES}")

    child.start()

    assert child.state is State.RUNNING
    assert is_alive(child.pid)
    assert child.restarts == 0


def test_an_old_ready_file_does_not_count(keeper):
    (keeper.folder / "ready").touch()
    child = keeper.child("sleep 60")

    child.want()
    eventually(lambda: child.state is State.STARTING, "it starting")
    time.sleep(0.1)

    assert child.state is State.STARTING


def test_what_it_prints_is_in_its_log(keeper):
    child = keeper.child(f"echo one; echo two >&2; {SERVES}")

    child.start()

    assert child.program.log.read_text() == "one\ntwo\n"


def test_a_killed_program_comes_back_and_that_is_said(keeper):
    child = keeper.child(SERVES)
    child.start()
    first = child.pid

    child.kill()
    eventually(lambda: child.state is State.RUNNING, "it running again")

    assert not is_alive(first)
    assert child.pid != first
    assert child.restarts == 1
    assert keeper.announced[0].startswith("program was ended by SIGKILL; starting it again in 0.2 s")


def test_without_restart_it_stays_down_until_it_is_started(keeper):
    child = keeper.child(SERVES, restart=False)
    child.start()

    child.kill()
    time.sleep(0.3)

    assert child.state is State.STOPPED
    child.start()
    assert child.state is State.RUNNING


def test_a_program_that_fails_again_and_again_is_started_ever_more_rarely(keeper):
    child = keeper.child("exit 3")

    child.want()
    eventually(lambda: child.failures >= 3, "three failures")

    pauses = [float(re.search(r"in ([\d.]+) s", text)[1]) for text in keeper.announced[:3]]
    assert pauses == [0.2, 0.4, 0.8]
    assert all("ended with exit code 3" in text for text in keeper.announced)


def test_before_the_first_success_something_may_be_changed_between_attempts(keeper):
    changes = []
    child = keeper.child("exit 3", before_retry=lambda: changes.append(1))

    child.want()
    eventually(lambda: child.failures >= 2, "two failures")

    assert len(changes) == child.failures


def test_it_does_not_start_before_it_may(keeper):
    allowed = threading.Event()
    child = keeper.child(SERVES, may_start=allowed.is_set)

    child.want()
    time.sleep(0.1)
    assert child.state is State.STOPPED
    allowed.set()

    child.start()
    assert child.state is State.RUNNING


def test_a_failed_start_shows_the_end_of_the_log(keeper):
    child = keeper.child("echo the reason; exit 1", restart=False)

    with pytest.raises(StackError, match=r"(?s)did not get ready.*the reason"):
        child.start()


def test_a_program_that_never_gets_ready_is_killed_and_tried_again(keeper):
    child = keeper.child("sleep 60", ready_seconds=0.3)

    child.want()
    eventually(lambda: child.starts >= 2, "a second attempt")

    assert "program was not ready within 0.3 s; killing it" in keeper.announced


def test_stop_ends_it_in_order_and_it_stays_down(keeper):
    child = keeper.child("trap 'echo bye; exit 0' TERM; echo > READY; while :; do sleep 0.05; done")
    child.start()

    child.stop()
    time.sleep(0.3)

    assert child.state is State.STOPPED
    assert child.program.log.read_text() == "bye\n"
    assert keeper.announced == []


def test_a_program_that_will_not_end_is_killed(keeper):
    child = keeper.child("trap '' TERM; echo > READY; while :; do sleep 0.05; done", stop_seconds=0.3)
    child.start()
    pid = child.pid

    child.stop()

    assert not is_alive(pid)
    assert keeper.announced == ["program did not end when asked; killing it"]


def test_haste_does_not_wait(keeper):
    child = keeper.child("trap '' TERM; echo > READY; while :; do sleep 0.05; done", stop_seconds=60)
    child.start()

    child.ask_to_stop()
    child.await_stop(hurry=lambda: True)

    assert child.state is State.STOPPED


def test_stopping_while_it_waits_to_be_started_again_keeps_it_down(keeper):
    child = keeper.child("exit 1")
    child.want()
    eventually(lambda: child.state is State.WAITING, "it waiting")

    child.stop()
    starts = child.starts
    time.sleep(0.5)

    assert child.state is State.STOPPED
    assert child.starts == starts


def test_kill_ends_the_whole_process_group(keeper):
    child = keeper.child("sleep 60 & echo $! > READY.other; mv READY.other READY; wait", restart=False)
    child.start()
    other = int((keeper.folder / "ready").read_text())
    assert is_alive(other)

    child.kill()

    eventually(lambda: not is_alive(other), "the other process dead")


def test_what_a_dead_program_leaves_behind_is_ended(keeper, monkeypatch):
    monkeypatch.setattr(child_module, "_ORPHANS_SECONDS", 0.2)
    child = keeper.child("sleep 60 & echo $! > READY.other; mv READY.other READY; wait", restart=False)
    child.start()
    other = int((keeper.folder / "ready").read_text())

    os.kill(child.pid, signal.SIGKILL)

    eventually(lambda: not is_alive(other), "the other process dead")
    eventually(lambda: child.state is State.STOPPED, "it stopped")


def test_a_restart_gives_a_new_process(keeper):
    child = keeper.child(SERVES)
    child.start()
    first = child.pid

    child.restart()

    assert child.state is State.RUNNING
    assert child.pid != first
    assert keeper.announced == []


def test_a_big_log_makes_room_for_a_new_one(keeper, monkeypatch):
    monkeypatch.setattr(child_module, "_LOG_BYTES", 10)
    log = keeper.folder / "program.log"
    log.write_text("more than ten bytes\n")
    child = keeper.child(f"echo new; {SERVES}")

    child.start()

    assert log.read_text() == "new\n"
    assert log.with_name("program.log.1").read_text() == "more than ten bytes\n"


def test_a_launched_program_dies_with_its_parent(tmp_path):
    script = (
        "import subprocess, sys, os, time\n"
        f"child = subprocess.Popen([sys.executable, '-I', '-S', {str(LAUNCHER)!r}, str(os.getpid()), '/bin/sh', '-c', "
        f"'echo > {tmp_path}/up; exec sleep 60'], start_new_session=True)\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    pid = int(parent.stdout.readline())
    eventually((tmp_path / "up").exists, "the program at work")

    parent.kill()
    parent.wait()
    parent.stdout.close()

    eventually(lambda: not is_alive(pid), "the program dead")


def test_the_launcher_starts_nothing_for_a_parent_that_is_gone(tmp_path):
    finished = subprocess.run(
        [sys.executable, "-I", "-S", LAUNCHER, "1", "/bin/sh", "-c", f"echo > {tmp_path}/up"], timeout=20, check=False
    )

    assert finished.returncode == 1
    assert not (tmp_path / "up").exists()
