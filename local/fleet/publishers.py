"""Where envelopes go: Event Hubs through the real SDK, or standard output. For local.fleet.simulation.

How the order of a node's envelopes holds: the partition key is the node, so that a node always meets the same
partition; every node belongs to one sender for ever (a checksum of its name), and a sender has one batch in flight,
which it repeats unchanged until Event Hubs acknowledges it. A batch has one partition key, hence one node; envelopes
of that node that are waiting by then (a backlog after an outage, or --speed 0) go along with it. The partition
is never chosen here: Event Hubs refuses a partition id together with a partition key, and its hash is its own affair.

Several senders, because the SDK's producer waits for each acknowledgement: one connection makes one send per round
trip. A send whose answer is lost is repeated, and the same envelope arrives twice: receivers know it by instance
and seq.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
import zlib
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from azure.eventhub import EventData
from azure.eventhub.aio import EventHubProducerClient
from azure.eventhub.amqp import AmqpAnnotatedMessage

from telemetry.envelope import Envelope, encode, inflate

log = logging.getLogger(__name__)

SEND_TIMEOUT = 30.0
CLOSE_TIMEOUT = 1.0
_LONGEST_WAIT = 5.0
_BATCH_ENVELOPES = 100
_BATCH_BYTES = 256 * 1024
_PROPERTIES: Mapping[str | bytes, Any] = {"schema": "devops-monitor/1"}


class Outgoing(NamedTuple):
    """An envelope on its way."""

    cluster: str
    node: str
    instance: str
    seq: int
    body: bytes

    @classmethod
    def of(cls, envelope: Envelope) -> Outgoing:
        """Encodes an envelope."""
        return cls(envelope.cluster, envelope.node, envelope.instance, envelope.seq, encode(envelope))


Acknowledged = Callable[[Sequence[Outgoing]], None]


class Publisher(Protocol):
    """Takes envelopes and says, by the callback it was made with, which are acknowledged."""

    async def put(self, outgoing: Outgoing) -> None:
        """Takes an envelope; waits while too many are unacknowledged."""

    async def drain(self) -> None:
        """Returns when everything taken is acknowledged."""

    async def close(self) -> None:
        """Stops at once; what is not acknowledged by then is given up."""


class StandardOutput:
    """Prints each envelope's document as a line of JSON: that is its acknowledgement."""

    def __init__(self, acknowledged: Acknowledged) -> None:
        self._acknowledged = acknowledged

    async def put(self, outgoing: Outgoing) -> None:
        """Prints the envelope."""
        sys.stdout.write(inflate(outgoing.body).decode() + "\n")
        sys.stdout.flush()
        self._acknowledged([outgoing])

    async def drain(self) -> None:
        """Has nothing to wait for."""

    async def close(self) -> None:
        """Has nothing to close."""


class Client(Protocol):
    """What a sender needs of the SDK's EventHubProducerClient."""

    async def send_batch(self, event_data_batch: list[EventData | AmqpAnnotatedMessage], *, partition_key: str) -> None:
        """Returns when the events are acknowledged."""

    async def close(self) -> None:
        """Closes the connection."""


def event_hub(connection_string: str, hub: str) -> Callable[[], Client]:
    """Makes clients of an event hub; nothing is connected before the first send."""

    def connect() -> Client:
        return EventHubProducerClient.from_connection_string(
            connection_string, eventhub_name=hub, retry_total=1, retry_backoff_factor=0.2, retry_backoff_max=1
        )

    return connect


class EventHubPublisher:
    """Publishes over several connections, each with its share of the nodes."""

    def __init__(
        self, connect: Callable[[], Client], acknowledged: Acknowledged, *, senders: int = 4, limit: int = 5_000
    ) -> None:
        self._acknowledged = acknowledged
        self._limit = limit
        self._pending = 0
        self._settled = asyncio.Event()
        self._senders = [_Sender(number, connect, self._on_acknowledged) for number in range(senders)]
        self._tasks = [asyncio.create_task(sender.run()) for sender in self._senders]

    async def put(self, outgoing: Outgoing) -> None:
        """Takes an envelope; waits while `limit` are unacknowledged."""
        await self._until_pending_below(self._limit)
        self._pending += 1
        self._senders[zlib.crc32(outgoing.node.encode()) % len(self._senders)].put(outgoing)

    async def drain(self) -> None:
        """Returns when everything taken is acknowledged."""
        await self._until_pending_below(1)

    async def close(self) -> None:
        """Stops the senders at once and closes their connections, with a second's patience."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(sender.disconnect() for sender in self._senders))

    async def _until_pending_below(self, limit: int) -> None:
        while self._pending >= limit:
            self._settled.clear()
            await self._settled.wait()

    def _on_acknowledged(self, batch: Sequence[Outgoing]) -> None:
        self._acknowledged(batch)
        self._pending -= len(batch)
        self._settled.set()


class _Sender:
    """One connection: node after node, one batch in flight, repeated until it is acknowledged."""

    def __init__(self, number: int, connect: Callable[[], Client], acknowledged: Acknowledged) -> None:
        self._number = number
        self._connect = connect
        self._acknowledged = acknowledged
        self._client: Client | None = None
        self._waiting: OrderedDict[str, deque[Outgoing]] = OrderedDict()
        self._wake = asyncio.Event()

    def put(self, outgoing: Outgoing) -> None:
        self._waiting.setdefault(outgoing.node, deque()).append(outgoing)
        self._wake.set()

    async def run(self) -> None:
        """Sends for ever."""
        while True:
            if not self._waiting:
                self._wake.clear()
                await self._wake.wait()
            batch = self._next_batch()
            await self._send_until_acknowledged(batch)
            self._acknowledged(batch)

    async def disconnect(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            with contextlib.suppress(Exception):
                async with asyncio.timeout(CLOSE_TIMEOUT):
                    await client.close()

    def _next_batch(self) -> list[Outgoing]:
        """The envelopes of the node that has waited longest, in order, as many as fit a batch."""
        node, waiting = self._waiting.popitem(last=False)
        batch: list[Outgoing] = []
        size = 0
        while waiting and len(batch) < _BATCH_ENVELOPES and (not batch or size + len(waiting[0].body) < _BATCH_BYTES):
            batch.append(waiting.popleft())
            size += len(batch[-1].body)
        if waiting:
            self._waiting[node] = waiting
        return batch

    async def _send_until_acknowledged(self, batch: Sequence[Outgoing]) -> None:
        wait, failures = 0.25, 0
        while True:
            try:
                await self._send(batch)
            except Exception as error:  # whatever the SDK's layers raise: nothing of it is a reason to lose data
                failures += 1
                if failures == 1:
                    log.warning(
                        "sending failed, trying again until it is acknowledged",
                        extra={"sender": self._number, "node": batch[0].node, "reason": _described(error)},
                    )
                await self.disconnect()
                await asyncio.sleep(wait)
                wait = min(2 * wait, _LONGEST_WAIT)
            else:
                if failures:
                    log.info("sending works again", extra={"sender": self._number, "failures": failures})
                return

    async def _send(self, batch: Sequence[Outgoing]) -> None:
        if self._client is None:
            self._client = self._connect()
        events: list[EventData | AmqpAnnotatedMessage] = []
        for outgoing in batch:
            event = EventData(outgoing.body)
            event.content_type = "application/json"
            event.properties = {**_PROPERTIES}
            events.append(event)
        async with asyncio.timeout(SEND_TIMEOUT):
            await self._client.send_batch(events, partition_key=batch[0].node)


def _described(error: Exception) -> str:
    text = " ".join(str(error).split()) or "no details"
    return f"{type(error).__name__}: {text}"[:300]
