"""What every publisher promises, on the fake and on Event Hubs' AMQP."""

import asyncio
import gc
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Protocol

import pytest
from azure.core.exceptions import ClientAuthenticationError, ServiceRequestError
from azure.eventhub import EventData
from azure.eventhub.aio import EventHubConsumerClient

from agent.delivery import Delivery
from agent.hub_settings import HubSettings
from agent.manual_clock import ManualClock
from agent.publisher.event_hub_publisher import EventHubPublisher, _producer_class
from agent.publisher.identity import PodIdentity
from agent.publisher.publisher import EnvelopeTooLarge, FailureReason, Publisher, PublishFailed
from agent.publisher.recording_publisher import RecordingPublisher
from agent.spool.memory_spool import MemorySpool
from local.event_hubs.broker import Broker, BrokerSettings

# The SDK leaves the socket of a connection that was cut to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")

LIMIT = 256 * 1024


@pytest.fixture(autouse=True)
def sockets_left_by_the_sdk_are_collected_before_the_next_test():
    yield
    gc.collect()


@pytest.fixture(autouse=True)
def the_sdk_does_not_wait_for_itself(monkeypatch):
    """It looks every 50 ms whether it is connected, once a second whether it is to end. Time limits are no sleeps."""
    sleep = asyncio.sleep

    async def short_sleep(delay, result=None, **_):
        return await sleep(min(delay, 0.01), result)

    monkeypatch.setattr(asyncio, "sleep", short_sleep)


class Hub(Protocol):
    """The far end: can go down and come back, and says what it has got."""

    publisher: Publisher

    async def go_down(self) -> None: ...
    async def come_back(self) -> None: ...
    async def received(self, count: int) -> list[bytes]: ...
    async def stop(self) -> None: ...


class FakeHub:
    def __init__(self) -> None:
        self.publisher = RecordingPublisher(LIMIT)

    async def go_down(self) -> None:
        self.publisher.down = True

    async def come_back(self) -> None:
        self.publisher.down = False

    async def received(self, count: int) -> list[bytes]:
        return self.publisher.acknowledged

    async def stop(self) -> None: ...


class LocalHub:
    """Our broker; every start listens on the same port."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self._port = 0
        self._broker: Broker | None = None

    async def come_back(self) -> None:
        self._broker = Broker(
            BrokerSettings(data=self._data, hubs={"telemetry": 4}, port=self._port, max_message_size=LIMIT)
        )
        await self._broker.__aenter__()
        self._port = self._broker.port
        self.connection_string = self._broker.connection_string

    async def go_down(self) -> None:
        assert self._broker is not None
        await self._broker.__aexit__(None, None, None)
        self._broker = None

    async def events(self, count: int) -> list[EventData]:
        """Everything the hub holds once it holds `count` events, partition by partition."""
        found: list[tuple[str, EventData]] = []
        enough = asyncio.Event()

        async def on_events(context, events):
            found.extend((context.partition_id, event) for event in events)
            if len(found) >= count:
                enough.set()

        client = EventHubConsumerClient.from_connection_string(
            self.connection_string, "$Default", eventhub_name="telemetry", load_balancing_interval=0.1
        )
        task = asyncio.create_task(client.receive_batch(on_events, starting_position="-1", max_wait_time=0.1))
        await asyncio.wait_for(enough.wait(), 20)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await client.close()
        return [event for _, event in sorted(found, key=lambda each: each[0])]

    async def received(self, count: int) -> list[bytes]:
        return [b"".join(event.body) for event in await self.events(count)]

    async def stop(self) -> None:
        await self.publisher.close()
        if self._broker is not None:
            await self.go_down()


async def local_hub(data: Path) -> LocalHub:
    hub = LocalHub(data)
    await hub.come_back()
    hub.publisher = EventHubPublisher(HubSettings("telemetry", hub.connection_string), "node-1", timeout=10)  # type: ignore[attr-defined]
    return hub


@pytest.fixture(params=["fake", "event hubs"])
async def hub(request, tmp_path) -> AsyncIterator[Hub]:
    hub: Hub = FakeHub() if request.param == "fake" else await local_hub(tmp_path)  # type: ignore[assignment]
    yield hub
    await hub.stop()


async def test_publishing_returns_when_everything_has_arrived_in_order(hub):
    envelopes = [b"envelope %d" % number for number in range(20)]

    await hub.publisher.publish(envelopes[:1])
    await hub.publisher.publish(envelopes[1:])

    assert await hub.received(20) == envelopes


async def test_more_than_one_message_holds_is_sent_in_order(hub):
    envelopes = [bytes([65 + number]) * 100_000 for number in range(7)]

    await hub.publisher.publish(envelopes)

    assert await hub.received(7) == envelopes


async def test_publishing_nothing_is_no_error(hub):
    await hub.publisher.publish([])


async def test_an_envelope_that_is_too_large_is_named_and_nothing_is_sent(hub):
    with pytest.raises(EnvelopeTooLarge) as caught:
        await hub.publisher.publish([b"small", b"x" * (LIMIT + 1), b"small too"])

    assert (caught.value.index, caught.value.size, caught.value.limit) == (1, LIMIT + 1, LIMIT)
    await hub.publisher.publish([b"afterwards"])
    assert await hub.received(1) == [b"afterwards"]


async def test_an_outage_is_a_failure_and_publishing_works_again_after_it(hub):
    await hub.publisher.publish([b"before"])
    await hub.go_down()
    with pytest.raises(PublishFailed):
        await hub.publisher.publish([b"lost"])
    await hub.come_back()

    await hub.publisher.publish([b"after"])

    assert await hub.received(2) == [b"before", b"after"]


async def test_a_hub_that_was_never_there_is_a_failure(hub):
    await hub.go_down()

    with pytest.raises(PublishFailed):
        await hub.publisher.publish([b"lost"])


async def test_closing_is_always_possible(hub):
    await hub.publisher.close()
    await hub.publisher.publish([b"one"])
    await hub.publisher.close()
    await hub.publisher.close()

    assert await hub.received(1) == [b"one"]


# ------------------------------------------------------------------------------- what only Event Hubs shows


@pytest.fixture
async def event_hub(tmp_path) -> AsyncIterator[LocalHub]:
    hub = await local_hub(tmp_path)
    yield hub
    await hub.stop()


async def test_events_say_what_they_are_and_whose(event_hub):
    await event_hub.publisher.publish([b"\x1f\x8bone", b"{}"])

    events = await event_hub.events(2)

    assert [b"".join(event.body) for event in events] == [b"\x1f\x8bone", b"{}"]
    for event in events:
        assert event.content_type == "application/json"
        assert event.properties == {b"schema": b"devops-monitor/1"}
        assert event.partition_key == b"node-1"


async def test_a_hub_that_does_not_exist_is_a_failure_not_a_loss(event_hub):
    publisher = EventHubPublisher(HubSettings("no-such-hub", event_hub.connection_string), "node-1", timeout=10)

    with pytest.raises(PublishFailed) as caught:
        await publisher.publish([b"one"])

    assert caught.value.reason is FailureReason.NOT_FOUND
    await publisher.close()


async def test_a_busy_hub_is_a_failure_until_it_is_no_longer_busy(event_hub):
    event_hub._broker.faults.configure({"server_busy_ratio": 1.0})
    with pytest.raises(PublishFailed, match=r"(?i)busy") as caught:
        await event_hub.publisher.publish([b"one"])
    event_hub._broker.faults.configure({})

    await event_hub.publisher.publish([b"one"])

    assert (caught.value.reason, caught.value.retry_after) == (FailureReason.THROTTLED, 4.0)
    assert await event_hub.received(1) == [b"one"]


async def test_a_busy_hub_is_asked_once_over_the_connection_there_is_and_its_wish_is_passed_on(event_hub):
    await event_hub.publisher.publish([b"before"])
    event_hub._broker.faults.configure({"server_busy_ratio": 1.0, "server_busy_seconds": 17})
    client = event_hub.publisher._client

    for attempt in (1, 2):
        with pytest.raises(PublishFailed) as caught:
            await event_hub.publisher.publish([b"one"])
        assert caught.value.retry_after == 17
        assert event_hub._broker.faults.counters.server_busy_rejections == attempt

    assert event_hub.publisher._client is client


async def test_a_quota_that_is_used_up_is_a_failure_with_that_reason(event_hub):
    event_hub._broker.faults.configure({"quota_exceeded_ratio": 1.0})
    with pytest.raises(PublishFailed) as caught:
        await event_hub.publisher.publish([b"one"])
    event_hub._broker.faults.configure({})

    await event_hub.publisher.publish([b"one"])

    assert (caught.value.reason, caught.value.retry_after) == (FailureReason.QUOTA_EXCEEDED, 0)
    assert await event_hub.received(1) == [b"one"]


async def test_a_hub_that_is_down_is_unreachable(event_hub):
    await event_hub.go_down()

    with pytest.raises(PublishFailed) as caught:
        await event_hub.publisher.publish([b"one"])

    assert caught.value.reason is FailureReason.UNREACHABLE


async def test_a_host_that_nobody_knows_is_unreachable():
    connection = "Endpoint=sb://nowhere.invalid;SharedAccessKeyName=n;SharedAccessKey=k"
    publisher = EventHubPublisher(HubSettings("telemetry", connection), "node-1", timeout=10)

    with pytest.raises(PublishFailed) as caught:
        await publisher.publish([b"one"])

    assert caught.value.reason is FailureReason.UNREACHABLE
    await publisher.close()


async def test_a_wrong_key_is_unauthorized_and_neither_key_nor_signature_show(tmp_path):
    settings = BrokerSettings(data=tmp_path, hubs={"telemetry": 4}, port=0, key="the-right-key")
    async with Broker(settings) as broker:
        connection = broker.connection_string.replace("the-right-key", "a-wrong-key")
        publisher = EventHubPublisher(HubSettings("telemetry", connection), "node-1", timeout=10)

        with pytest.raises(PublishFailed) as caught:
            await publisher.publish([b"one"])

        await publisher.close()
    assert caught.value.reason is FailureReason.UNAUTHORIZED
    assert not re.search(r"a-wrong-key|sig=", repr(caught.value))


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ClientAuthenticationError("AADSTS700016: no such application"), FailureReason.UNAUTHORIZED),
        (ServiceRequestError("login.microsoftonline.com does not answer"), FailureReason.UNREACHABLE),
        (RuntimeError("a bug"), FailureReason.OTHER),
    ],
)
async def test_an_identity_that_gets_no_token_says_why(event_hub, error, reason):
    class NoToken:
        async def get_token(self, *scopes, **options):
            raise error

    publisher = EventHubPublisher(HubSettings("telemetry", None, "localhost"), "node-1", timeout=10)
    publisher._client = _producer_class()(
        f"localhost:{event_hub._broker.port}", "telemetry", NoToken(), use_tls=False, retry_total=0
    )

    with pytest.raises(PublishFailed) as caught:
        await publisher.publish([b"one"])

    assert caught.value.reason is reason
    assert str(error) in str(caught.value)


async def test_an_expired_signature_is_unauthorized(tmp_path):
    settings = BrokerSettings(data=tmp_path, hubs={"telemetry": 4}, port=0, key="key")
    async with Broker(settings) as broker:
        connection = (
            f"Endpoint=sb://localhost:{broker.port};UseDevelopmentEmulator=true;"
            "SharedAccessSignature=SharedAccessSignature sr=x&sig=secret-signature&se=1000000000&skn=n"
        )
        publisher = EventHubPublisher(HubSettings("telemetry", connection), "node-1", timeout=10)

        with pytest.raises(PublishFailed) as caught:
            await publisher.publish([b"one"])

        await publisher.close()
    assert caught.value.reason is FailureReason.UNAUTHORIZED
    assert "secret-signature" not in repr(caught.value)


async def test_what_is_too_large_for_the_link_is_dropped_by_the_delivery_and_its_neighbours_arrive(event_hub):
    clock = ManualClock()
    spool = MemorySpool(10**7, 3600, clock)
    delivery = Delivery(spool, event_hub.publisher, clock)
    for body in (b"one", b"x" * LIMIT, b"two", b"y" * 4 * LIMIT, b"three"):
        spool.append(body)

    delivery.finish()
    await asyncio.wait_for(delivery.run(), 20)

    assert await event_hub.received(3) == [b"one", b"two", b"three"]
    assert (delivery.statistics.published, delivery.statistics.too_large) == (3, 2)


async def test_a_connection_that_was_cut_between_two_calls_is_no_failure(event_hub):
    await event_hub.publisher.publish([b"one"])
    event_hub._broker._server.close_clients()
    async with asyncio.timeout(10):
        while event_hub._broker.status()["connections"]:
            await asyncio.sleep(0.01)

    await event_hub.publisher.publish([b"two"])

    assert await event_hub.received(2) == [b"one", b"two"]


async def test_a_server_that_never_answers_is_given_up_in_time():
    silent = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    connection = f"Endpoint=sb://127.0.0.1:{port};SharedAccessKeyName=n;SharedAccessKey=k;UseDevelopmentEmulator=true"
    publisher = EventHubPublisher(HubSettings("telemetry", connection), "node-1", timeout=0.5)

    with pytest.raises(PublishFailed) as caught:
        await publisher.publish([b"one"])

    assert caught.value.reason is FailureReason.UNREACHABLE
    await publisher.close()
    silent.close()
    silent.abort_clients()


async def test_a_published_key_never_shows_in_an_error(event_hub):
    connection = event_hub.connection_string.replace("SAS_KEY_VALUE", "very-secret")
    publisher = EventHubPublisher(HubSettings("no-such-hub", connection), "node-1", timeout=10)

    with pytest.raises(PublishFailed) as caught:
        await publisher.publish([b"one"])

    assert "very-secret" not in str(caught.value)
    await publisher.close()


@pytest.mark.parametrize(
    ("token_file", "expected"), [("/var/run/token", "WorkloadIdentityCredential"), ("", "DefaultAzureCredential")]
)
async def test_without_a_key_the_pods_identity_is_used(monkeypatch, token_file, expected):
    for name, value in {
        "AZURE_FEDERATED_TOKEN_FILE": token_file,
        "AZURE_CLIENT_ID": "00000000-0000-0000-0000-000000000001",
        "AZURE_TENANT_ID": "00000000-0000-0000-0000-000000000002",
    }.items():
        monkeypatch.setenv(name, value)
    publisher = EventHubPublisher(HubSettings("telemetry", None, "example.servicebus.windows.net"), "node-1")

    client = publisher._make_client()

    assert isinstance(publisher._credential, PodIdentity)
    assert type(publisher._credential._credential).__name__ == expected
    await client.close()
    await publisher.close()
