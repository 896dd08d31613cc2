"""The agent's modes that print, as processes on this machine."""

import json
import signal
import subprocess
import sys
from itertools import pairwise

from agent_process import REPOSITORY, AgentProcess

from telemetry.catalogue import NODE_METRICS, Kind
from telemetry.envelope import decode
from telemetry.validation import validate
from tests.eventually import eventually


def test_once_prints_one_envelope_with_rates(tmp_path):
    agent = AgentProcess(tmp_path, "--once")

    assert agent.process.wait(20) == 0

    text = agent.out.read_text()
    raw = text.encode()
    envelope = decode(raw)
    validate(raw, envelope.time[-1])
    assert text.startswith('{\n  "version"'), "indented"
    first, second = envelope.time
    assert 1000 <= second - first < 3000
    assert (envelope.cluster, envelope.seq) == ("local", 1)
    rates = [metric.key for metric in NODE_METRICS if metric.kind is Kind.RATE and metric.key in envelope.metrics]
    assert {"cpu.switches", "procs.created"} <= set(rates)
    assert all(envelope.metrics[key][1] is not None for key in ("cpu", *rates))
    assert envelope.resource is not None
    assert not tmp_path.joinpath("spool").exists()


def test_stdout_prints_an_envelope_a_line_until_a_signal_and_then_the_rest(tmp_path):
    agent = AgentProcess(tmp_path, "--stdout", AGENT_SAMPLE_INTERVAL="0.1", AGENT_PUBLISH_INTERVAL="0.4")
    eventually(lambda: agent.out.read_text().count("\n") >= 3, "three lines")

    assert agent.stop(signal.SIGTERM) == 0

    envelopes = [decode(line.encode()) for line in agent.out.read_text().splitlines()]
    for line, envelope in zip(agent.out.read_bytes().splitlines(), envelopes, strict=True):
        validate(line, envelope.time[-1])
    assert [envelope.seq for envelope in envelopes] == list(range(1, len(envelopes) + 1))
    assert all(len(envelope.time) <= 4 for envelope in envelopes)
    stamps = [stamp for envelope in envelopes for stamp in envelope.time]
    assert all(before < after for before, after in pairwise(stamps))
    assert agent.err.read_text() == ""


def test_a_reader_that_goes_away_ends_the_printing(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-m", "agent", "--stdout"],
        cwd=REPOSITORY,
        env={"AGENT_SAMPLE_INTERVAL": "0.1", "AGENT_PUBLISH_INTERVAL": "0.1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None and process.stderr is not None
    try:
        assert json.loads(process.stdout.readline())["seq"] == 1
        process.stdout.close()

        assert process.wait(15) == 0
        assert json.loads(process.stderr.read())["event"] == "stopped"
    finally:
        process.stderr.close()
        process.kill()


def test_only_the_chosen_collectors_run(tmp_path):
    agent = AgentProcess(tmp_path, "--once", AGENT_COLLECTORS="memory")

    assert agent.process.wait(20) == 0

    envelope = decode(agent.out.read_bytes())
    assert {key.partition(".")[0] for key in envelope.metrics} == {"mem", "swap", "faults", "oom"}
    assert envelope.devices == {}
