"""Keeps one partition's events coming, through outages. For the event hub listener only."""

import asyncio
import contextlib
import logging
import random
from collections.abc import Iterator
from datetime import datetime

from azure.eventhub.aio import EventHubConsumerClient

from local.functions_host.event_buffer import EventBuffer
from local.functions_host.event_hub_link import LinkStolenError, receive
from local.functions_host.partition_status import PartitionStatus

_FIRST_BACKOFF_SECONDS = 0.1
_LONGEST_BACKOFF_SECONDS = 5.0
_log = logging.getLogger(__name__)


def backoff() -> Iterator[float]:
    """Waits between attempts to reach a server: doubling to 5 s, jittered so that partitions spread out."""
    wait = _FIRST_BACKOFF_SECONDS
    while True:
        yield wait * random.uniform(0.8, 1.2)
        wait = min(wait * 2, _LONGEST_BACKOFF_SECONDS)


class PartitionReceiver:
    """Keeps a link to the partition and puts what it receives into the buffer, in order.

    After an outage it goes on behind the last event it has put there, which is why none is lost or repeated.
    """

    def __init__(
        self, client: EventHubConsumerClient, status: PartitionStatus, buffer: EventBuffer, credit: int
    ) -> None:
        self._client = client
        self._status = status
        self._buffer = buffer
        self._credit = credit
        self.settled = asyncio.Event()  # set once the first attempt to attach has ended, either way

    async def run(self, position: str | datetime) -> None:
        """Receive until cancelled, or until another host takes the partition."""
        waits = backoff()
        while True:
            try:
                events = receive(
                    self._client, self._status.consumer_group, self._status.partition, position, self._credit
                )
                async with contextlib.aclosing(events):
                    async for event in events:
                        if event is None:
                            self._connected()
                            waits = backoff()
                        else:
                            await self._buffer.put(event)
                            position = event.offset
                error = "the link was closed"
            except LinkStolenError:
                self._stolen()
                return
            except Exception as exception:
                error = f"{type(exception).__name__}: {exception}"
            self._disconnected(error)
            await asyncio.sleep(next(waits))

    def _connected(self) -> None:
        if self.settled.is_set():
            _log.info("receiving again", extra=self._extra())
        self._status.state = "receiving"
        self.settled.set()

    def _disconnected(self, error: str) -> None:
        if self._status.state == "receiving" or not self.settled.is_set():
            _log.warning("event hub is out of reach; reconnecting", extra=self._extra() | {"error": error})
        self._status.state = "connecting"
        self._status.last_error = error
        self.settled.set()

    def _stolen(self) -> None:
        self._status.state = "stolen"
        self._buffer.close()
        _log.warning("another host has taken the partition; it is left to it", extra=self._extra())

    def _extra(self) -> dict[str, str]:
        return {
            "function": self._status.function,
            "event_hub": self._status.event_hub,
            "partition": self._status.partition,
        }
