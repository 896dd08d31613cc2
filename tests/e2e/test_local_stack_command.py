"""`python -m local` as a person uses it: up, looked at, stopped; and nothing stays behind, however it ends."""

import json
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import psutil
import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

ROOT = Path(__file__).parents[2]
PROGRAMS = {"event-hubs", "azurite", "log-analytics", "functions", "agent"}


def run(data, command, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "local", command, "--data", str(data), *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


class Up:
    """`python -m local up` in a session of its own, its output in a file."""

    def __init__(self, output_file, data):
        self.data = data
        self._output = output_file
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "local", "up", "--free-ports", "--data", str(data)],
                cwd=ROOT,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def output(self):
        return self._output.read_text()

    def has_said(self, text):
        assert self.process.poll() is None, self.output
        return text in self.output

    def family(self):
        """Every process below the supervisor, with its process group."""
        members = psutil.Process(self.process.pid).children(recursive=True)
        return [(member, os.getpgid(member.pid)) for member in members]

    def end(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


@pytest.fixture
def start(tmp_path):
    """Starts `up` on the test's data directory; whatever is left of it is ended afterwards."""
    started = []

    def make():
        started.append(Up(tmp_path / f"up-{len(started)}.log", tmp_path / "stack"))
        return started[-1]

    yield make
    for each in started:
        each.end()


def is_alive(process):
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def nothing_is_left(family):
    def no_group(group):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        return False

    return all(not is_alive(process) for process, _ in family) and all(no_group(group) for _, group in family)


def test_the_stack_comes_up_obeys_and_leaves_nothing_behind_after_ctrl_c(start, eventually):
    up = start()
    eventually(lambda: up.has_said("first snapshot served after"), "the first snapshot")
    assert "/api/nodes" in up.output
    assert "x-functions-key" in up.output

    status = run(up.data, "status", "--json")
    facts = json.loads(status.stdout)
    assert status.returncode == 0, status.stdout
    assert facts["well"] is True
    assert set(facts["processes"]) == PROGRAMS
    assert facts["pipeline"]["nodes"] == 1
    metrics = f"http://127.0.0.1:{facts['processes']['agent']['ports']['agent']}/metrics"
    assert facts["urls"]["metrics"] == metrics
    assert metrics in up.output
    assert metrics in run(up.data, "status").stdout
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(metrics, timeout=10) as response:
        assert b"system_memory_usage_bytes" in response.read()
    assert (up.data / "stack.json").stat().st_mode & 0o777 == 0o600

    second = run(up.data, "up")
    assert second.returncode == 1
    assert f"already (pid {up.process.pid})" in second.stdout

    before = facts["processes"]["log-analytics"]
    restarted = run(up.data, "restart", "log-analytics")
    after = json.loads(run(up.data, "status", "--json").stdout)["processes"]["log-analytics"]
    assert restarted.returncode == 0, restarted.stderr
    assert after["pid"] != before["pid"]
    assert after["ports"] == before["ports"]
    assert after["restarts"] == 1
    assert "no program 'broker'" in run(up.data, "restart", "broker").stderr

    answer = run(up.data, "kql", "print Answer = 6 * 7", "--json")
    assert json.loads(answer.stdout) == [{"Answer": 42}]
    assert run(up.data, "kql", "print nonsense(").returncode == 2

    assert '"event": "started"' in run(up.data, "logs", "agent").stdout

    family = up.family()
    assert len(family) >= len(PROGRAMS)
    up.process.send_signal(signal.SIGINT)
    assert up.process.wait(60) == 0

    assert nothing_is_left(family)
    assert "no process is left" in up.output
    assert not (up.data / "stack.json").exists()
    assert run(up.data, "status").returncode == 1


def test_after_sigkill_of_the_supervisor_nothing_is_left_and_the_next_one_takes_over(start, eventually):
    killed = start()
    eventually(lambda: killed.has_said("first snapshot served after"), "the first snapshot")
    ports = {
        name: facts["ports"]
        for name, facts in json.loads((killed.data / "stack.json").read_text())["processes"].items()
    }
    family = killed.family()

    killed.process.kill()
    killed.process.wait()

    eventually(lambda: nothing_is_left(family), "the end of every process", 20)
    assert "no local stack runs" in run(killed.data, "status").stderr

    following = start()
    eventually(lambda: following.has_said("first snapshot served after"), "the first snapshot of the next stack")
    facts = json.loads(run(following.data, "status", "--json").stdout)
    assert {name: process["ports"] for name, process in facts["processes"].items()} == ports

    family = following.family()
    assert run(following.data, "down").stdout == "stopped\n"
    assert following.process.wait(10) == 0
    assert nothing_is_left(family)


def test_a_program_that_cannot_start_is_told_with_the_end_of_its_log_and_the_rest_is_stopped(
    start, eventually, tmp_path
):
    (tmp_path / "stack").mkdir()
    (tmp_path / "stack" / "log-analytics").write_text("in the way of a directory")

    up = start()

    assert up.process.wait(60) == 1
    assert "log-analytics does not start; the end of" in up.output
    assert "cannot_start" in up.output
