"""The functions host and its event hubs through stops, crashes, outages and take-overs: at least once, in order."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from functions_host_process import Broker, Host

from local.azurite import Azurite
from tests.eventually import eventually


@pytest.fixture
def hub(tmp_path: Path) -> str:
    """A hub name of the test's own: its checkpoints share one storage account with everybody else's."""
    return f"hub-{tmp_path.name}".replace("_", "-")


@pytest.fixture
def broker(tmp_path: Path, hub: str) -> Iterator[Broker]:
    with Broker(tmp_path / "broker", [f"{hub}:2"]) as running:
        yield running


def start_host(directory: Path, connection_string: str, azurite: Azurite, hub: str, **settings: str) -> Host:
    return Host(
        directory,
        only=["retried"],
        EVENTHUB=connection_string,
        HUB=hub,
        AzureWebJobsStorage=azurite.connection_string,
        **settings,
    )


def identifiers(host: Host) -> list[object]:
    return [body["id"] for body in host.bodies("retried")]


def test_restarted_host_goes_on_behind_its_checkpoint(
    tmp_path: Path, broker: Broker, azurite: Azurite, hub: str
) -> None:
    with start_host(tmp_path / "host", broker.connection_string, azurite, hub) as host:
        host.started()
        broker.send(hub, {"id": 1}, {"id": 2})
        eventually(lambda: 2 in identifiers(host), "both events")
        exit_code = host.stop()

    broker.send(hub, {"id": 3})
    with start_host(tmp_path / "host", broker.connection_string, azurite, hub) as host:
        host.started()
        eventually(lambda: 3 in identifiers(host), "the event sent in between")

    assert exit_code == 0
    assert identifiers(host) == [1, 2, 3]


def test_batch_that_still_fails_when_the_host_stops_comes_again(
    tmp_path: Path, broker: Broker, azurite: Azurite, hub: str
) -> None:
    with start_host(tmp_path / "host", broker.connection_string, azurite, hub) as host:
        host.started()
        broker.send(hub, {"id": "stubborn", "fail": 10**9})
        eventually(lambda: len(host.records("retried")) > 2, "some attempts")
        exit_code = host.stop()
    attempts = len(host.records("retried"))

    with start_host(tmp_path / "host", broker.connection_string, azurite, hub) as host:
        host.started()
        again = eventually(lambda: host.records("retried")[attempts:], "the batch again")

    assert exit_code == 0
    assert again[0]["attempt"] == 0
    assert again[0]["bodies"] == [{"id": "stubborn", "fail": 10**9}]


def test_running_invocation_ends_and_is_checkpointed_before_the_host_stops(
    tmp_path: Path, broker: Broker, azurite: Azurite, hub: str
) -> None:
    with start_host(tmp_path / "host", broker.connection_string, azurite, hub) as host:
        host.started()
        broker.send(hub, {"id": "slow", "sleep": 1})
        eventually(lambda: identifiers(host), "the invocation to run")
        exit_code = host.stop()

    broker.send(hub, {"id": "next"})
    with start_host(tmp_path / "host", broker.connection_string, azurite, hub) as host:
        host.started()
        eventually(lambda: "next" in identifiers(host), "the next event")

    assert exit_code == 0
    assert identifiers(host) == ["slow", "next"]


def test_invocation_that_outlasts_the_grace_time_does_not_keep_the_host_and_comes_again(
    tmp_path: Path, broker: Broker, azurite: Azurite, hub: str
) -> None:
    with start_host(tmp_path / "host", broker.connection_string, azurite, hub) as host:
        host.started()
        broker.send(hub, {"id": "endless", "sleep": 15})
        eventually(lambda: identifiers(host), "the invocation to run")
        exit_code = host.stop()

    with start_host(tmp_path / "host", broker.connection_string, azurite, hub) as host:
        host.started()
        eventually(lambda: len(identifiers(host)) == 2, "the batch again")

    assert exit_code == 0


def test_killed_host_loses_no_event(tmp_path: Path, broker: Broker, azurite: Azurite, hub: str) -> None:
    sent = range(60)
    with start_host(tmp_path / "host", broker.connection_string, azurite, hub) as host:
        host.started()
        for identifier in sent:
            broker.send(hub, {"id": identifier, "sleep": 0.01}, key=f"node-{identifier}")
            if identifier == 30:
                host.kill()

    with start_host(tmp_path / "host", broker.connection_string, azurite, hub) as host:
        host.started()
        eventually(lambda: set(identifiers(host)) == set(sent), "every event")


def test_broker_outage_is_waited_out_and_logged_once_per_change(tmp_path: Path, azurite: Azurite, hub: str) -> None:
    with Broker(tmp_path / "broker", [f"{hub}:2"]) as broker:
        with start_host(tmp_path / "host", broker.connection_string, azurite, hub) as host:
            host.started()
            broker.send(hub, {"id": "before"})
            eventually(lambda: "before" in identifiers(host), "the event before the outage")
            broker.kill()
            eventually(lambda: host.partition("retried", "0")["state"] == "connecting", "the outage in the status")
            eventually(lambda: host.partition("retried", "1")["state"] == "connecting", "the outage in the status")
            with Broker(tmp_path / "broker", [f"{hub}:2"], port=broker.port) as revived:
                revived.send(hub, {"id": "after"})
                eventually(lambda: "after" in identifiers(host), "the event after the outage")
                eventually(
                    lambda: all(host.partition("retried", p)["state"] == "receiving" for p in "01"), "both partitions"
                )

        messages = [line["message"] for line in host.log() if line["level"] in ("info", "warning")]
    assert messages.count("event hub is out of reach; reconnecting") == 2
    assert messages.count("receiving again") == 2
    assert identifiers(host) == ["before", "after"]


def test_host_is_ready_without_its_broker_and_finds_it_later(
    tmp_path: Path, azurite: Azurite, hub: str, free_port
) -> None:
    port = free_port()
    unreachable = f"Endpoint=sb://localhost:{port};SharedAccessKeyName=n;SharedAccessKey=k;UseDevelopmentEmulator=true;"
    with start_host(tmp_path / "host", unreachable, azurite, hub) as host:
        host.started()
        ping = requests.get(f"{host.url}/admin/host/ping", timeout=5)
        with Broker(tmp_path / "broker", [f"{hub}:2"], port=port) as broker:
            broker.send(hub, {"id": 1})
            eventually(lambda: identifiers(host) == [1], "the event")

        messages = [line["message"] for line in host.log()]
    assert ping.status_code == 200
    assert messages.count("event hub or storage is out of reach; trying on") == 1


def test_second_host_takes_the_partitions_and_the_first_lets_go(
    tmp_path: Path, broker: Broker, azurite: Azurite, hub: str
) -> None:
    with start_host(tmp_path / "first", broker.connection_string, azurite, hub) as first:
        first.started()
        with start_host(tmp_path / "second", broker.connection_string, azurite, hub) as second:
            second.started()
            eventually(lambda: [p["state"] for p in first.status()["partitions"]] == ["stolen"] * 2, "the loss")
            broker.send(hub, {"id": "for-the-second"})
            eventually(lambda: identifiers(second), "the event at the second host")

        assert identifiers(first) == []
        assert first.stop() == 0


def test_small_batches_wait_for_the_minimum_or_for_the_longest_wait(
    tmp_path: Path, broker: Broker, azurite: Azurite, hub: str
) -> None:
    settings = {
        "AzureFunctionsJobHost__extensions__eventHubs__minEventBatchSize": "3",
        "AzureFunctionsJobHost__extensions__eventHubs__maxWaitTime": "00:00:02",
    }
    with start_host(tmp_path / "host", broker.connection_string, azurite, hub, **settings) as host:
        host.started()
        for identifier in range(3):
            broker.send(hub, {"id": identifier})
        eventually(lambda: identifiers(host), "the full batch")
        broker.send(hub, {"id": "alone"})
        eventually(lambda: "alone" in identifiers(host), "the lone event")

    assert [len(record["bodies"]) for record in host.records("retried")] == [3, 1]


def test_largest_batch_is_the_configured_one_and_order_is_kept(
    tmp_path: Path, broker: Broker, azurite: Azurite, hub: str
) -> None:
    broker.send(hub, *({"id": identifier} for identifier in range(100)))

    settings = {"AzureFunctionsJobHost__extensions__eventHubs__maxEventBatchSize": "16"}
    with start_host(tmp_path / "host", broker.connection_string, azurite, hub, **settings) as host:
        host.started()
        eventually(lambda: len(identifiers(host)) == 100, "every event")

    assert identifiers(host) == list(range(100))
    assert max(len(record["bodies"]) for record in host.records("retried")) == 16


def test_host_that_starts_from_the_end_sees_only_what_comes_later(
    tmp_path: Path, broker: Broker, azurite: Azurite, hub: str
) -> None:
    broker.send(hub, {"id": "old"})

    settings = {"AzureFunctionsJobHost__extensions__eventHubs__initialOffsetOptions__type": "fromEnd"}
    with start_host(tmp_path / "host", broker.connection_string, azurite, hub, **settings) as host:
        host.started()
        broker.send(hub, {"id": "new"})
        eventually(lambda: identifiers(host), "the new event")

    assert identifiers(host) == ["new"]
