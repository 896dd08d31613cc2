"""A receiving link to one partition, on the azure-eventhub SDK's AMQP layer. For the partition receiver only.

The SDK's public consumer polls its own buffer every 50 ms and pauses 50 ms between reads, which makes 39 ms a typical
and 100 ms a possible delay per event, and it restarts from a stale position after an error. This module drives the same
link object frame by frame instead (1 ms). It is the only one that touches private names of the (pinned) SDK:
`_create_consumer`, which the SDK's own docstrings point to, and of its result `_open`, `_handler`, `_message_buffer`,
`_next_message_in_buffer`.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Iterable, Mapping
from datetime import datetime
from typing import Any, cast

from azure.eventhub import EventData
from azure.eventhub._pyamqp.error import AMQPLinkError, ErrorCondition
from azure.eventhub.aio import EventHubConsumerClient

from local.functions_host.event import Event
from local.functions_host.triggers import EventHubTrigger

_OPEN_TIMEOUT_SECONDS = 30.0
_CLOSE_TIMEOUT_SECONDS = 2.0
_FRAMES_PER_TURN = 32
_OWNER_LEVEL = 0


class LinkStolenError(Exception):
    """Another receiver with the same or a higher owner level has taken the partition."""


def open_client(trigger: EventHubTrigger) -> EventHubConsumerClient:
    """A client of the trigger's hub that fails fast: its callers retry by themselves."""
    return EventHubConsumerClient.from_connection_string(
        trigger.connection_string, trigger.consumer_group, eventhub_name=trigger.event_hub, retry_total=0
    )


async def receive(
    client: EventHubConsumerClient,
    consumer_group: str,
    partition_id: str,
    position: str | datetime,
    credit: int,
) -> AsyncGenerator[Event | None]:
    """Yield the events after `position`, and None once when the link is up, until the connection breaks.

    Raises LinkStolenError when another receiver takes the partition, and whatever the SDK raises when the connection
    is lost. `credit` bounds how many events the broker sends ahead: a caller that pauses the iteration pauses it.
    """
    consumer: Any = client._create_consumer(
        consumer_group, partition_id, position, _polls_are_not_used, owner_level=_OWNER_LEVEL, prefetch=credit
    )
    try:
        async with asyncio.timeout(_OPEN_TIMEOUT_SECONDS):
            await consumer._open()
        yield None
        frames = 0
        while await consumer._handler.do_work_async(batch=1):
            while consumer._message_buffer:
                yield _event(consumer._next_message_in_buffer())
            frames += 1
            if frames % _FRAMES_PER_TURN == 0:
                await asyncio.sleep(0)  # reads of buffered frames never suspend; let the pump see what came
    except AMQPLinkError as error:
        if error.condition == ErrorCondition.LinkStolen:
            raise LinkStolenError(str(error)) from error
        raise
    finally:
        with contextlib.suppress(Exception):
            async with asyncio.timeout(_CLOSE_TIMEOUT_SECONDS):
                await consumer.close()


async def _polls_are_not_used(*unused: object) -> None:
    """The SDK wants a callback for its own polling loop, which never runs here."""


def _event(data: EventData) -> Event:
    sequence_number, offset, enqueued_time = data.sequence_number, data.offset, data.enqueued_time
    if sequence_number is None or offset is None or enqueued_time is None:
        raise ValueError(f"the broker sent an event without position: {data.system_properties!r}")
    return Event(
        body=_body(data),
        sequence_number=sequence_number,
        offset=offset,
        enqueued_time=enqueued_time,
        partition_key=None if data.partition_key is None else _text(data.partition_key),
        properties=_text_keys(data.properties or {}),
        system_properties=_text_keys(data.system_properties),
    )


def _body(data: EventData) -> bytes:
    """The bytes of all data sections; AMQP value and sequence bodies never come from Event Hubs' own SDKs."""
    sections = cast(Iterable[object], data.body)
    return b"".join(section if isinstance(section, bytes) else str(section).encode() for section in sections)


def _text_keys(properties: Mapping[Any, Any]) -> dict[str, object]:
    return {_text(name): _text(value) if isinstance(value, bytes) else value for name, value in properties.items()}


def _text(value: bytes | str) -> str:
    return value.decode("utf-8", errors="replace") if isinstance(value, bytes) else str(value)
