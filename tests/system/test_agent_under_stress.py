"""The agent as a process on a disk that is full or read-only, before a broker that refuses or throttles it."""

import errno
import gc
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from telemetry.envelope import Envelope
from tests.eventually import eventually
from tests.functional.agent_process import AgentProcess, BrokerProcess

# The SDK leaves the socket of a connection that was cut to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")

AS_ROOT = [] if os.geteuid() == 0 else ["--user", "--preserve-credentials"]
MAP_ROOT = [] if os.geteuid() == 0 else ["--map-root-user"]
SECRET = "bm90LXRoZS1rZXktdGhhdC1pdC10YWtlcw=="


@pytest.fixture(autouse=True)
def sockets_left_by_the_sdk_are_collected_before_the_next_test():
    yield
    gc.collect()


@pytest.fixture
def broker(tmp_path, request) -> Iterator[BrokerProcess]:
    """Started with the options that the test is parametrized with."""
    broker = BrokerProcess(tmp_path / "broker", **getattr(request, "param", {}))
    yield broker
    broker.stop(signal.SIGKILL)


@pytest.fixture
def start_agent(broker, tmp_path) -> Iterator[Callable[..., AgentProcess]]:
    started: list[AgentProcess] = []

    def start(**options) -> AgentProcess:
        settings = {
            "AGENT_CLUSTER": "dev",
            "EVENTHUB_CONNECTION_STRING": broker.connection_string,
            "EVENTHUB_NAME": "telemetry",
            "AGENT_PUBLISH_INTERVAL": "0.2",
        }
        started.append(AgentProcess(tmp_path / "agent", **{**settings, **options}))
        return started[-1]

    yield start
    for agent in started:
        agent.stop(signal.SIGKILL)


class SmallDisk:
    """An agent whose spool lies on a tmpfs of its own, in a mount namespace of its own: it ends with the agent."""

    def __init__(self, start_agent: Callable[..., AgentProcess], spool: Path) -> None:
        spool.mkdir(parents=True)
        mount = 'mount -t tmpfs -o size=1m tmpfs "$0" && exec "$@"'
        self.agent = start_agent(within=["unshare", "--mount", *MAP_ROOT, "sh", "-c", mount, str(spool)])
        self._spool = spool
        # What the agent sees there; from here the directory is empty.
        self.directory = Path(f"/proc/{self.agent.process.pid}/root{spool}")

    def fill(self) -> None:
        with self._ballast.open("wb", buffering=0) as stream, pytest.raises(OSError) as caught:
            while True:
                stream.write(b"x" * 1024)
        assert caught.value.errno == errno.ENOSPC

    def make_room(self) -> None:
        self._ballast.unlink()

    def remount(self, how: str) -> None:
        inside = ["nsenter", "--target", str(self.agent.process.pid), "--mount", *AS_ROOT]
        subprocess.run([*inside, "mount", "-o", f"remount,bind,{how}", str(self._spool)], check=True, timeout=10)

    def envelopes(self) -> int:
        return len(list(self.directory.glob("*.envelope")))

    @property
    def _ballast(self) -> Path:
        return self.directory / "lost+found"  # a name that is nobody's envelope and nobody's concern


@pytest.fixture
def disk(start_agent, tmp_path) -> SmallDisk:
    return SmallDisk(start_agent, tmp_path / "agent" / "spool")


def first_arrivals(broker: BrokerProcess, last: int) -> list[int]:
    """The numbers of the envelopes in the hub, in the order of their first arrival, once the last is there."""

    def there(found: list[Envelope]) -> bool:
        return any(each.seq == last for each in found)

    return list(dict.fromkeys(each.seq for each in broker.envelopes(there)))


def stop_and_expect_everything(agent: AgentProcess, broker: BrokerProcess) -> None:
    assert agent.stop() == 0
    status = agent.status()
    assert (status["spooled"], status["dropped"]) == (0, 0)
    assert first_arrivals(broker, status["seq"]) == list(range(1, status["seq"] + 1))


def more_envelopes(agent: AgentProcess, count: int) -> None:
    seq = agent.status()["seq"]
    agent.wait_for_status(lambda status: status["seq"] >= seq + count, f"{count} more envelopes")


def said(agent: AgentProcess, event: str) -> dict:
    return eventually(
        lambda: next((line for line in agent.log() if line["event"] == event), None), f"the event {event}"
    )


def test_a_full_disk_is_bridged_by_memory_until_there_is_room_again(disk, broker):
    broker.stop()
    agent = disk.agent
    agent.wait_for_status(lambda status: status["seq"] >= 2, "envelopes on the disk")

    disk.fill()
    assert "No space left on device" in said(agent, "spool_disk_fails")["problem"]
    more_envelopes(agent, 2)
    assert disk.envelopes() < agent.status()["spooled"]

    disk.make_room()
    said(agent, "spool_disk_recovered")
    eventually(lambda: disk.envelopes() >= agent.status()["spooled"] >= 4, "everything on the disk")

    broker.start()
    agent.wait_for_status(lambda status: status["published"] >= 5, "catching up")
    stop_and_expect_everything(agent, broker)
    assert agent.events().count("spool_disk_fails") == agent.events().count("spool_disk_recovered") == 1


def test_a_disk_that_turns_read_only_neither_stops_nor_repeats_anything(disk, broker):
    broker.stop()
    agent = disk.agent
    agent.wait_for_status(lambda status: status["seq"] >= 2, "envelopes on the disk")

    disk.remount("ro")
    assert "Read-only file system" in said(agent, "spool_disk_fails")["problem"]
    more_envelopes(agent, 1)
    broker.start()
    agent.wait_for_status(
        lambda status: status["published"] >= 5 and status["spooled"] <= 1, "publishing from disk and memory"
    )
    assert disk.envelopes() >= 2, "they cannot be removed"

    disk.remount("rw")
    said(agent, "spool_disk_recovered")
    eventually(lambda: disk.envelopes() <= agent.status()["spooled"], "the files of what was sent removed")

    stop_and_expect_everything(agent, broker)
    assert agent.events().count("spool_disk_fails") == 1


@pytest.mark.parametrize("broker", [{"key": "another key"}], indirect=True)
def test_a_key_that_is_refused_is_said_once_with_what_to_do_and_costs_nothing(start_agent, broker):
    agent = start_agent(
        EVENTHUB_CONNECTION_STRING=broker.connection_string.replace("another key", SECRET), AGENT_LOG_LEVEL="debug"
    )

    failed = said(agent, "publishing_failed")
    assert failed["reason"] == "unauthorized"
    assert "EVENTHUB_CONNECTION_STRING" in failed["what_to_do"]
    assert "Azure Event Hubs Data Sender" in failed["what_to_do"]
    said(agent, "publishing_still_fails")
    broker.stop()
    broker.key = SECRET
    broker.start()
    said(agent, "publishing_recovered")

    stop_and_expect_everything(agent, broker)
    unauthorized = [
        line for line in agent.log() if line["event"] == "publishing_failed" and line["reason"] == "unauthorized"
    ]
    assert len(unauthorized) == 1
    everything = agent.out.read_text() + agent.err.read_text()
    assert SECRET not in everything
    assert "sig=" not in everything


@pytest.mark.parametrize("broker", [{"hub": "another-hub"}], indirect=True)
def test_a_hub_that_does_not_exist_yet_gets_everything_once_it_does(start_agent, broker):
    agent = start_agent()

    failed = said(agent, "publishing_failed")
    assert failed["reason"] == "not_found"
    assert "EVENTHUB_NAME" in failed["what_to_do"]
    broker.stop()
    broker.hub = "telemetry"
    broker.start()
    said(agent, "publishing_recovered")

    stop_and_expect_everything(agent, broker)


def test_a_broker_that_is_busy_is_left_alone_and_gets_everything_afterwards(start_agent, broker):
    broker.set_faults(server_busy_ratio=1, server_busy_seconds=1)
    agent = start_agent()
    assert said(agent, "publishing_failed")["reason"] == "throttled"
    refused_at = time.monotonic()
    eventually(lambda: broker.injected()["server_busy_rejections"] > 1, "a second attempt")
    assert time.monotonic() - refused_at >= 1.4, "what the broker asks for, and a random wait of the agent's own"
    broker.set_faults()
    said(agent, "publishing_recovered")

    stop_and_expect_everything(agent, broker)
    assert agent.events().count("publishing_failed") == 1
