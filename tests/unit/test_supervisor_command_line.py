import argparse
import dataclasses
import io
import json
import re
import threading

import pytest
from rich.console import Console

from local.certificates import ensure_certificates
from local.supervisor.child import State
from local.supervisor.command_line import main
from local.supervisor.data_directory import DataDirectory, Keys, StackError
from local.supervisor.display import Display, status_line
from local.supervisor.endpoints import Endpoints
from local.supervisor.logs import show_log
from local.supervisor.pipeline import Pipeline, PipelineNumbers
from local.supervisor.ports import WELL_KNOWN, free_port
from local.supervisor.programs import PORTS, inherited, make_programs


@pytest.fixture
def endpoints(tmp_path):
    return Endpoints(WELL_KNOWN, Keys.new(), ensure_certificates(tmp_path / "certificates"), faults=False)


@pytest.mark.parametrize(
    "arguments",
    [
        ["status"],
        ["down"],
        ["restart", "agent"],
        ["kql", "print 1"],
        ["fleet", "--nodes", "1"],
        ["maintenance", "list"],
    ],
)
def test_without_a_stack_every_command_says_how_to_start_one(arguments, tmp_path, capsys):
    command, *rest = arguments

    assert main([command, "--data", str(tmp_path), *rest]) == 1

    assert "start one with `make run`" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [[], ["dance"], ["status", "extra"], ["restart"], ["up", "--fixed-ports", "--free-ports"]]
)
def test_wrong_arguments_are_refused(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)

    assert ended.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_an_unknown_log_names_those_there_are(tmp_path, capsys):
    data = DataDirectory(tmp_path)
    data.create()
    data.log("agent").write_text("line\n")

    assert main(["logs", "--data", str(tmp_path), "agnet"]) == 1

    assert "no log of 'agnet'" in (error := capsys.readouterr().err)
    assert "logs there: agent" in error


def test_the_last_lines_of_a_log_are_shown(tmp_path, capsys):
    data = DataDirectory(tmp_path)
    data.create()
    data.log("agent").write_text("one\ntwo\nthree\n")

    assert main(["logs", "--data", str(tmp_path), "agent", "-n", "2"]) == 0

    assert capsys.readouterr().out == "two\nthree\n"


class _EndsAfter(io.StringIO):
    """Stops the reader as Ctrl-C does, once it has written enough."""

    def __init__(self, length):
        super().__init__()
        self._length = length

    def flush(self):
        if len(self.getvalue()) >= self._length:
            raise KeyboardInterrupt


def test_a_followed_log_shows_what_is_added(tmp_path):
    data = DataDirectory(tmp_path)
    data.create()
    log = data.log("agent")
    log.write_text("old\n")
    threading.Timer(0.3, lambda: log.write_text("old\nnew\n")).start()
    output = _EndsAfter(len("old\nnew\n"))

    with pytest.raises(KeyboardInterrupt):
        show_log(data, "agent", lines=10, follow=True, output=output)

    assert output.getvalue() == "old\nnew\n"


def test_a_followed_log_that_begins_anew_is_read_from_its_start(tmp_path):
    data = DataDirectory(tmp_path)
    data.create()
    log = data.log("agent")
    log.write_text("a long old line\n")
    threading.Timer(0.3, lambda: log.write_text("new\n")).start()
    output = _EndsAfter(len("new\n"))

    with pytest.raises(KeyboardInterrupt):
        show_log(data, "agent", lines=0, follow=True, output=output)

    assert output.getvalue() == "new\n"


def test_settings_of_a_cloud_are_not_handed_down():
    environment = inherited(
        {"PATH": "/bin", "AZURE_CLIENT_ID": "x", "EVENTHUB__fullyQualifiedNamespace": "y", "AGENT_NODE": "me"}
    )

    assert environment == {"PATH": "/bin", "AGENT_NODE": "me", "PYTHONUNBUFFERED": "1"}


def test_every_port_belongs_to_one_program():
    owned = [port for ports in PORTS.values() for port in ports]

    assert sorted(owned) == sorted(WELL_KNOWN)


def test_the_agent_runs_only_when_asked_for_and_last(tmp_path, endpoints):
    data = DataDirectory(tmp_path)

    without = [program.name for program in make_programs(data, endpoints, agent=False)]
    with_agent = [program.name for program in make_programs(data, endpoints, agent=True)]

    assert "agent" not in without
    assert with_agent == [*without, "agent"]


def test_the_environment_may_retune_the_agent_but_not_lead_it_elsewhere(tmp_path, endpoints, monkeypatch):
    monkeypatch.setenv("AGENT_SAMPLE_INTERVAL", "7")
    monkeypatch.setenv("EVENTHUB_CONNECTION_STRING", "somebody's cloud")
    agent = make_programs(DataDirectory(tmp_path), endpoints, agent=True)[-1]

    environment = agent.environment()

    assert environment["AGENT_SAMPLE_INTERVAL"] == "7"
    assert environment["AGENT_CLUSTER"] == "local"
    assert environment["EVENTHUB_CONNECTION_STRING"] == endpoints.event_hubs


def test_only_a_stack_with_an_agent_serves_its_metrics(tmp_path, endpoints):
    with_agent = dataclasses.replace(endpoints, agent=True)
    agent = make_programs(DataDirectory(tmp_path), with_agent, agent=True)[-1]

    assert agent.environment()["AGENT_HTTP_LISTEN"] == "127.0.0.1:9464"
    assert with_agent.agent_url == "http://127.0.0.1:9464"
    assert "agent" in with_agent.served
    assert endpoints.agent_url is None
    assert "agent" not in endpoints.served
    for shown, expected in ((endpoints, False), (with_agent, True)):
        output = io.StringIO()
        Display(Console(file=output)).where_to_look(shown, tmp_path)
        assert ("http://127.0.0.1:9464/metrics" in output.getvalue()) is expected


def test_faults_are_ordered_only_where_they_are_allowed(tmp_path, endpoints):
    faulty = Endpoints(WELL_KNOWN, endpoints.keys, endpoints.certificates, faults=True)

    assert endpoints.faults_urls == {}
    assert set(faulty.faults_urls) == {"event-hubs", "log-analytics"}
    for allowed, expected in ((endpoints, False), (faulty, True)):
        programs = {p.name: p.arguments() for p in make_programs(DataDirectory(tmp_path), allowed, agent=False)}
        assert ("--faults-port" in programs["event-hubs"]) is expected
        assert ("--faults" in programs["log-analytics"]) is expected


def test_keys_that_begin_with_a_dash_are_not_taken_for_flags(tmp_path, endpoints):
    keys = dataclasses.replace(endpoints.keys, event_hubs="-key", log_analytics="--token")
    dashed = dataclasses.replace(endpoints, keys=keys)
    reader = argparse.ArgumentParser()
    reader.add_argument("--key")
    reader.add_argument("--token")

    read = {
        program.name: reader.parse_known_args(program.arguments())[0]
        for program in make_programs(DataDirectory(tmp_path), dashed, agent=False)
    }

    assert read["event-hubs"].key == "-key"
    assert read["log-analytics"].token == "--token"


def test_numbers_that_cannot_be_had_are_missing_and_the_first_reason_is_told(tmp_path, endpoints):
    nowhere = Endpoints(
        {name: free_port() for name in WELL_KNOWN}, endpoints.keys, endpoints.certificates, faults=False
    )
    status = tmp_path / "status.json"
    status.write_text(json.dumps({"published": 3, "spooled": 1}))

    numbers = Pipeline(nowhere.for_clients(), status).look()

    assert (numbers.published, numbers.spooled) == (3, 1)
    assert numbers.nodes is numbers.received is numbers.windows is numbers.lag is None
    assert re.match(r"nodes: .*refused", numbers.problem)


def test_the_status_line_begins_with_what_is_not_well():
    numbers = PipelineNumbers(nodes=2, silent=1, published=5, spooled=3, received=4, windows=1, lag=0.25)

    line = status_line(numbers, {"functions": State.RUNNING, "event-hubs": State.WAITING})

    assert line.startswith("EVENT-HUBS WAITING | nodes 2 (1 silent) | published 5 (+3 waiting) | processed 4 ")
    assert line.endswith("lag 0.25 s")


def test_the_status_line_of_a_stack_that_is_well_counts_its_processes():
    assert status_line(PipelineNumbers(), {"a": State.RUNNING, "b": State.RUNNING}) == "2 processes well"


def test_problems_are_in_the_status_line():
    line = status_line(PipelineNumbers(problem="nodes: timed out"), {"a": State.RUNNING})

    assert line == "1 process well | ? nodes: timed out"


class _GoneTerminal:
    is_terminal = False

    def print(self, *_, **__):
        raise OSError(5, "Input/output error")


def test_a_terminal_that_is_gone_stops_nothing():
    Display(_GoneTerminal()).event("functions ended")


def test_an_unknown_program_is_named_with_those_there_are(tmp_path):
    from local.supervisor import Stack

    with pytest.raises(StackError, match="no program 'broker'"):
        Stack(tmp_path).process("broker")
