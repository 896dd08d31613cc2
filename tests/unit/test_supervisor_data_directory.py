import json
import os
import signal
import subprocess
import sys

import pytest

from local.supervisor.data_directory import DataDirectory, StackError
from local.supervisor.instance_lock import InstanceLock
from local.supervisor.stack_file import find_running

HOLD = """
import sys, time
from pathlib import Path
from local.supervisor.instance_lock import InstanceLock
InstanceLock(Path(sys.argv[1])).acquire()
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def data(tmp_path):
    directory = DataDirectory(tmp_path / "stack")
    directory.create()
    return directory


@pytest.fixture
def holder(data):
    """Another process that has the lock."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(data.root)], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_keys_are_made_once_and_differ_between_directories(data, tmp_path):
    other = DataDirectory(tmp_path / "other")
    other.create()

    keys = data.keys()

    assert data.keys() == keys
    assert not set(vars(keys).values()) & set(vars(other.keys()).values())


def test_keys_are_readable_by_their_owner_only(data):
    data.keys()

    assert (data.root / "keys.json").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("content", ["", "{", "[]", '{"event_hubs": "x"}', '{"unknown": 1}'])
def test_a_broken_key_file_says_what_to_do(data, content):
    (data.root / "keys.json").write_text(content)

    with pytest.raises(StackError, match=r"keys\.json .*delete it"):
        data.keys()


def test_ports_are_remembered(data):
    assert data.ports() == {}

    data.keep_ports({"functions": 7071})

    assert data.ports() == {"functions": 7071}


def test_ports_that_are_no_numbers_are_forgotten(data):
    (data.root / "ports.json").write_text(json.dumps({"functions": "7071", "blob": 10000}))

    assert data.ports() == {"blob": 10000}


def test_a_lock_that_another_process_holds_names_it(data, holder):
    lock = InstanceLock(data.root)

    assert lock.holder() == holder.pid
    with pytest.raises(StackError, match=rf"runs on .* already \(pid {holder.pid}\)"):
        lock.acquire()


def test_the_lock_of_a_killed_process_is_taken_over(data, holder):
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    lock = InstanceLock(data.root)

    assert lock.holder() is None
    with lock:
        assert InstanceLock(data.root).holder() == os.getpid()
    assert lock.holder() is None


def test_nobody_holds_a_lock_that_never_was(tmp_path):
    assert InstanceLock(tmp_path).holder() is None


def test_releasing_twice_is_harmless(data):
    lock = InstanceLock(data.root)
    lock.acquire()

    lock.release()
    lock.release()

    assert lock.holder() is None


def test_without_a_stack_the_error_says_how_to_start_one(data):
    with pytest.raises(StackError, match=r"no local stack runs on .*make run"):
        find_running(data)


def test_the_file_of_a_killed_supervisor_is_not_believed(data):
    data.stack_file.write_text("{}")

    with pytest.raises(StackError, match="no local stack runs"):
        find_running(data)


def test_a_stack_that_is_just_starting_is_told_apart(data, holder):
    with pytest.raises(StackError, match="just starting"):
        find_running(data)
