"""Publishes to Event Hubs, or to whatever speaks its AMQP. For the service; loads the Azure SDK when it connects."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from agent.hub_settings import HubSettings
from agent.publisher.identity import PodIdentity
from agent.publisher.publisher import EnvelopeTooLarge, FailureReason, PublishFailed
from agent.publisher.sdk_errors import failure, is_busy

if TYPE_CHECKING:
    from azure.eventhub import EventDataBatch
    from azure.eventhub.aio import EventHubProducerClient

CONTENT_TYPE = "application/json"
PROPERTIES: Mapping[str | bytes, Any] = {"schema": "devops-monitor/1"}
TIMEOUT = 30.0
"""Seconds for one call of publish, connecting included."""
CLOSE_TIMEOUT = 2.0


class EventHubPublisher:
    """Sends with the node as the partition key, so that all envelopes of a node stay in order.

    The SDK repairs an idle connection by itself and tries once more. After that its client is thrown away, because
    the caller retries with patience and a new client has no half-open links. A busy event hub gets neither a second
    attempt nor a new connection.
    """

    def __init__(self, hub: HubSettings, node: str, timeout: float = TIMEOUT) -> None:
        self._hub = hub
        self._node = node
        self._timeout = timeout
        self._client: EventHubProducerClient | None = None
        self._credential: PodIdentity | None = None

    async def publish(self, envelopes: Sequence[bytes]) -> None:
        """Sends envelopes in as few batches as the link allows; returns when all are acknowledged."""
        try:
            async with asyncio.timeout(self._timeout):
                for batch in await self._batches(envelopes):
                    await self._connected().send_batch(batch)
        except EnvelopeTooLarge:
            raise
        except TimeoutError as error:
            await self._discard_client()
            text = f"no acknowledgement within {self._timeout:g} s"
            raise PublishFailed(text, FailureReason.UNREACHABLE) from error
        except Exception as error:  # the SDK lets through what its layers raise; nothing of it is a reason to lose data
            if not is_busy(error):
                await self._discard_client()
            raise failure(error) from error

    async def close(self) -> None:
        """Closes client and credential, giving them two seconds each."""
        await self._discard_client()
        credential, self._credential = self._credential, None
        if credential is not None:
            await _close_quietly(credential)

    async def _batches(self, envelopes: Sequence[bytes]) -> list[EventDataBatch]:
        """Packs envelopes into batches, in order. Raises EnvelopeTooLarge before anything is sent."""
        from azure.eventhub import EventData

        client = self._connected()
        batches: list[EventDataBatch] = []
        for index, body in enumerate(envelopes):
            event = EventData(body)
            event.content_type = CONTENT_TYPE
            event.properties = {**PROPERTIES}
            if batches and _added(batches[-1], event):
                continue
            batches.append(await client.create_batch(partition_key=self._node))
            if not _added(batches[-1], event):
                raise EnvelopeTooLarge(index, len(body), batches[-1].max_size_in_bytes)
        return batches

    def _connected(self) -> EventHubProducerClient:
        if self._client is None:
            self._client = self._make_client()
        return self._client

    def _make_client(self) -> EventHubProducerClient:
        producer = _producer_class()
        options: dict[str, Any] = {
            "retry_total": 1,
            "retry_backoff_factor": 0.2,
            "retry_backoff_max": 1,
            "auth_timeout": 10,
        }
        if self._hub.connection_string is not None:
            return producer.from_connection_string(self._hub.connection_string, eventhub_name=self._hub.name, **options)
        if self._credential is None:
            self._credential = PodIdentity()
        return producer(self._hub.namespace or "", self._hub.name, self._credential, **options)

    async def _discard_client(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await _close_quietly(client)


@cache
def _producer_class() -> type[EventHubProducerClient]:
    """Gives the SDK's client, except that it leaves a busy event hub alone.

    Its `send_batch` answers every error with a fresh producer and a second attempt at once. `_start_producer` is
    called from that error's handler; should the SDK rename it, the second attempt is back and nothing else.
    """
    from azure.eventhub.aio import EventHubProducerClient

    class PatientProducerClient(EventHubProducerClient):
        async def _start_producer(self, *arguments: Any, **options: Any) -> None:
            if is_busy(error := sys.exception()):
                assert error is not None
                raise error
            await super()._start_producer(*arguments, **options)

    return PatientProducerClient


def _added(batch: EventDataBatch, event: object) -> bool:
    """Adds an event to a batch; False when it does not fit."""
    try:
        batch.add(event)  # type: ignore[arg-type]
    except ValueError:
        return False
    return True


async def _close_quietly(closable: EventHubProducerClient | PodIdentity) -> None:
    with contextlib.suppress(Exception):
        async with asyncio.timeout(CLOSE_TIMEOUT):
            await closable.close()
