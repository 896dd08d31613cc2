"""The agent as a process against the broker: publishing, outages, restarts, signals."""

import gc
import json
import signal
import socket
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from agent_process import AgentProcess, BrokerProcess

from telemetry.envelope import Envelope
from tests.eventually import eventually

# The SDK leaves the socket of a connection that was cut to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


@pytest.fixture(autouse=True)
def sockets_left_by_the_sdk_are_collected_before_the_next_test():
    yield
    gc.collect()


@pytest.fixture
def broker(tmp_path) -> Iterator[BrokerProcess]:
    broker = BrokerProcess(tmp_path / "broker")
    yield broker
    broker.stop(signal.SIGKILL)


@pytest.fixture
def start_agent(broker, tmp_path) -> Iterator[Callable[..., AgentProcess]]:
    started = []

    def start(**environment: str) -> AgentProcess:
        environment = {
            "AGENT_CLUSTER": "dev",
            "EVENTHUB_CONNECTION_STRING": broker.connection_string,
            "EVENTHUB_NAME": "telemetry",
            **environment,
        }
        started.append(AgentProcess(tmp_path / "agent", **environment))
        return started[-1]

    yield start
    for agent in started:
        agent.stop(signal.SIGKILL)


def numbers(envelopes: list[Envelope], instance: str) -> list[int]:
    """The numbers of an instance's envelopes in the order of their first arrival."""
    return list(dict.fromkeys(each.seq for each in envelopes if each.instance == instance))


def test_envelopes_arrive_numbered_valid_and_in_order(start_agent, broker):
    agent = start_agent(AGENT_POOL="pool1")
    agent.wait_for_status(lambda status: status["published"] >= 3, "three envelopes published")

    assert agent.stop() == 0

    status = agent.status()
    envelopes = broker.envelopes(lambda found: len(found) >= status["seq"])
    assert [each.seq for each in envelopes] == list(range(1, status["seq"] + 1))
    assert {(each.cluster, each.node, each.instance) for each in envelopes} == {("dev", "node-1", status["instance"])}
    assert envelopes[0].resource is not None and envelopes[0].resource["pool"] == "pool1"
    assert envelopes[1].resource is None
    stamps = [stamp for each in envelopes for stamp in each.time]
    assert all(100 <= after - before <= 5000 for before, after in pairwise(stamps))
    assert all(stamp % 200 < 150 for stamp in stamps), "at multiples of the sample interval"
    assert status == {
        "instance": status["instance"],
        "seq": status["seq"],
        "published": status["seq"],
        "spooled": 0,
        "dropped": 0,
        "last_publish_ms": status["last_publish_ms"],
    }
    assert not list(agent.spool.glob("*.envelope"))
    assert agent.events() == ["started", "stopped"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_publishes_what_was_sampled_so_far(start_agent, broker, number):
    agent = start_agent(AGENT_PUBLISH_INTERVAL="100", AGENT_SPOOL_DIR="")
    eventually(lambda: "started" in agent.err.read_text(), "a started agent")
    time.sleep(1.0)

    assert agent.stop(number) == 0

    (envelope,) = broker.envelopes(lambda found: len(found) == 1)
    assert envelope.seq == 1
    assert len(envelope.time) >= 2


def test_without_the_hub_a_signal_leaves_everything_in_the_spool_within_five_seconds(start_agent, broker):
    broker.stop()
    agent = start_agent()
    agent.wait_for_status(lambda status: status["seq"] >= 2, "two envelopes spooled")
    started = time.monotonic()

    assert agent.stop() == 0

    assert time.monotonic() - started < 7
    spooled = agent.spooled()
    assert [each.seq for each in spooled] == list(range(1, len(spooled) + 1))
    assert agent.status()["spooled"] == len(spooled) == agent.status()["seq"]
    assert agent.events().count("publishing_failed") == 1


def test_a_hub_that_accepts_connections_and_never_answers_does_not_hold_up_the_end(start_agent):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        agent = start_agent(
            EVENTHUB_CONNECTION_STRING=f"Endpoint=sb://127.0.0.1:{silent.getsockname()[1]};SharedAccessKeyName=n;"
            "SharedAccessKey=k;UseDevelopmentEmulator=true"
        )
        agent.wait_for_status(lambda status: status["seq"] >= 3, "three envelopes spooled")
        started = time.monotonic()

        assert agent.stop() == 0

    assert time.monotonic() - started < 7
    assert agent.events() == ["started", "stopped"]
    assert agent.log()[-1]["spooled"] == len(agent.spooled()) >= 3


def test_an_outage_of_the_hub_delays_but_loses_nothing(start_agent, broker):
    agent = start_agent()
    agent.wait_for_status(lambda status: status["published"] >= 2, "two envelopes published")
    broker.stop(signal.SIGKILL)
    spooled = agent.wait_for_status(lambda status: status["spooled"] >= 3, "envelopes waiting")
    assert spooled["dropped"] == 0
    broker.start()
    agent.wait_for_status(lambda status: status["published"] > spooled["seq"], "catching up")

    assert agent.stop() == 0

    status = agent.status()
    envelopes = broker.envelopes(lambda found: numbers(found, status["instance"])[-1:] == [status["seq"]])
    assert numbers(envelopes, status["instance"]) == list(range(1, status["seq"] + 1))
    events = agent.events()
    assert (events.count("publishing_failed"), events.count("publishing_recovered")) == (1, 1)


def test_after_a_kill_the_next_process_sends_what_was_left_first(start_agent, broker):
    broker.stop()
    first = start_agent()
    left = first.wait_for_status(lambda status: status["seq"] >= 3, "three envelopes spooled")
    first.stop(signal.SIGKILL)
    broker.start()

    second = start_agent()
    second.wait_for_status(
        lambda status: status["instance"] != left["instance"] and status["published"] >= 5, "old and new published"
    )
    assert second.stop() == 0

    status = second.status()
    envelopes = broker.envelopes(lambda found: any(each.seq == status["seq"] for each in found))
    instances = list(dict.fromkeys(each.instance for each in envelopes))
    assert instances == [left["instance"], status["instance"]]
    old = numbers(envelopes, left["instance"])
    assert old == list(range(1, len(old) + 1)) and len(old) >= 3
    assert numbers(envelopes, status["instance"]) == list(range(1, status["seq"] + 1))
    assert "spool_taken_up" in second.events()


def test_a_spool_that_cannot_be_written_does_not_stop_publishing(start_agent, broker, tmp_path):
    (tmp_path / "file").write_text("in the way")

    agent = start_agent(AGENT_SPOOL_DIR=str(tmp_path / "file"))
    agent.wait_for_status(lambda status: status["published"] >= 2, "publishing from memory")

    assert agent.stop() == 0
    assert agent.events().count("spool_disk_fails") == 1


def test_a_bounded_spool_drops_the_oldest_and_says_so(start_agent, broker):
    broker.stop()
    agent = start_agent(AGENT_SPOOL_MAX_AGE="1")
    agent.wait_for_status(lambda status: status["dropped"] >= 2, "drops")

    assert agent.stop() == 0

    status = agent.status()
    assert status["seq"] == status["spooled"] + status["dropped"]
    assert agent.events().count("spool_drops_oldest") == 1


def test_a_status_line_is_logged_every_ten_envelopes(start_agent):
    agent = start_agent(AGENT_SAMPLE_INTERVAL="0.1", AGENT_PUBLISH_INTERVAL="0.1")
    lines = eventually(lambda: [line for line in agent.log() if line["event"] == "status"], "a status line")

    assert agent.stop() == 0

    assert lines[0]["seq"] == 10
    assert {"published", "spooled", "dropped", "collect_ms", "missed_ticks"} <= lines[0].keys()
    assert lines[0]["collector_failures"] == 0


def test_unusable_settings_end_the_process_with_code_two(start_agent, tmp_path):
    agent = start_agent(AGENT_SAMPLE_INTERVAL="0", AGENT_CLUSTER="")

    assert agent.process.wait(15) == 2

    (line,) = agent.log()
    assert line["event"] == "settings_unusable"
    assert [problem.split(" ")[0] for problem in line["problems"]] == ["AGENT_CLUSTER", "AGENT_SAMPLE_INTERVAL"]


def test_check_ends_with_code_zero_and_publishes_nothing(broker, tmp_path):
    agent = AgentProcess(
        tmp_path / "checked",
        "--check",
        AGENT_CLUSTER="dev",
        EVENTHUB_CONNECTION_STRING=broker.connection_string,
        EVENTHUB_NAME="telemetry",
    )

    assert agent.process.wait(15) == 0
    assert json.loads(agent.out.read_text())["event_hub"] == "telemetry"
    assert not Path(agent.spool).exists()
