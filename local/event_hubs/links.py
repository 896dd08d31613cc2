"""The links of a session: events in, events out, requests and their responses.

Only `session` may import it. Links are named from the broker's side: an IncomingLink is what a client's producer
attaches, an OutgoingLink what its consumer does.
"""

import logging
import struct
from typing import Protocol

from local.event_hubs.amqp_types import DecodeError
from local.event_hubs.errors import (
    DECODE_ERROR,
    INTERNAL_ERROR,
    MESSAGE_SIZE_EXCEEDED,
    NOT_ALLOWED,
    AmqpError,
)
from local.event_hubs.faults import Faults
from local.event_hubs.hub import Hub, Partition, unix_milliseconds
from local.event_hubs.messages import last_enqueued_annotations, read_delivery
from local.event_hubs.performatives import Flow, Transfer

_log = logging.getLogger(__name__)

INCOMING_CREDIT = 300
_READ_EVENTS, _READ_BYTES = 256, 256 * 1024


class ConnectionCut(Exception):
    """An injected fault: the connection is to be cut now, without a word."""


class LinkSession(Protocol):
    """What a link needs of its session."""

    window: int
    """How many more frames the client takes."""

    @property
    def blocked(self) -> bool:
        """Whether the client reads slower than the broker writes."""

    def send_delivery(self, handle: int, message: bytes) -> None:
        """Send a message in as many frames as it takes."""

    def send_flow(self, handle: int, delivery_count: int, credit: int) -> None:
        """Tell a link's credit."""

    def send_disposition(self, delivery_id: int, error: AmqpError | None) -> None:
        """Settle a delivery."""

    def detach(self, handle: int, error: AmqpError) -> None:
        """Detach a link with an error."""

    def hold(self, size: int) -> None:
        """Account for `size` more bytes of incomplete deliveries (less if negative). Raises AmqpError."""

    def flush(self) -> None:
        """Write out what was sent."""


class IncomingLink:
    """Puts the frames of deliveries together and settles them; what a delivery is for, subclasses know."""

    def __init__(self, session: LinkSession, handle: int, max_message_size: int) -> None:
        self._session, self._handle, self._max_message_size = session, handle, max_message_size
        self._delivery_count, self._credit = 0, 0
        self._first: Transfer | None = None
        self._payloads: list[bytes] = []
        self._size = 0

    def grant_credit(self) -> None:
        """Let the client send on, before it runs dry."""
        if self._credit < INCOMING_CREDIT // 2:
            self._credit = INCOMING_CREDIT
            self._session.send_flow(self._handle, self._delivery_count, self._credit)

    def on_transfer(self, transfer: Transfer) -> None:
        """Take one frame of a delivery."""
        if self._first is None:
            if transfer.delivery_id is None:
                raise DecodeError("the first transfer of a delivery must have a delivery-id, it is missing")
            self._first = transfer
        if transfer.aborted:
            self._forget_delivery()
            return
        self._size += len(transfer.payload)
        if self._size > self._max_message_size:
            self._session.detach(
                self._handle,
                AmqpError(
                    MESSAGE_SIZE_EXCEEDED,
                    f"The received message (delivery-id:{self._first.delivery_id}, size:{self._size} bytes or more) "
                    f"exceeds the limit ({self._max_message_size} bytes) currently allowed on the link.",
                ),
            )
            return
        self._payloads.append(transfer.payload)
        if transfer.more:
            self._session.hold(len(transfer.payload))
            return
        first, message = self._first, b"".join(self._payloads)
        self._forget_delivery()
        self._delivery_count = (self._delivery_count + 1) & 0xFFFFFFFF
        self._credit -= 1
        self._settle(first, message)
        self.grant_credit()

    def _settle(self, first: Transfer, message: bytes) -> None:
        error: AmqpError | None = None
        try:
            self.accept(message, first.message_format)
        except AmqpError as refusal:
            error = refusal
        except DecodeError as malformed:
            error = AmqpError(DECODE_ERROR, f"The message cannot be decoded: {malformed}.")
        if not first.settled and first.delivery_id is not None:
            self._session.send_disposition(first.delivery_id, error)

    def accept(self, message: bytes, message_format: int) -> None:
        """Do with a whole message what the link is for. Raises AmqpError or DecodeError to reject it."""
        raise NotImplementedError

    def _forget_delivery(self) -> None:
        self._session.hold(-sum(map(len, self._payloads)))
        self._first, self._payloads, self._size = None, [], 0

    def close(self) -> None:
        """Let go of an incomplete delivery."""
        self._forget_delivery()


class EventsIn(IncomingLink):
    """Stores what a producer sends, in one partition or in the one that the key or the turn gives."""

    def __init__(
        self,
        session: LinkSession,
        handle: int,
        max_message_size: int,
        hub: Hub,
        partition: Partition | None,
        faults: Faults,
    ) -> None:
        super().__init__(session, handle, max_message_size)
        self._hub, self._partition, self._faults = hub, partition, faults

    def accept(self, message: bytes, message_format: int) -> None:
        """Store the events of a delivery, all or none."""
        events, partition_key = read_delivery(message, message_format)
        if self._partition is not None and partition_key is not None:
            raise AmqpError(
                NOT_ALLOWED, "An event sent to a partition cannot have a partition key; leave one of them out."
            )
        if rejection := self._faults.rejection():
            raise rejection
        partition = self._partition or self._hub.partition_for(partition_key)
        partition.append(events)
        if self._faults.duplicates(len(events)):
            partition.append(events)
        if self._faults.loses_acknowledgement(len(events)):
            raise ConnectionCut


class OutgoingLink:
    """Sends a partition's events to a consumer, as far as its credit goes."""

    def __init__(
        self,
        session: LinkSession,
        handle: int,
        partition: Partition,
        consumer_group: str,
        *,
        start_sequence: int,
        epoch: int | None,
        tells_last_enqueued: bool,
    ) -> None:
        self.epoch = epoch
        self._session, self._handle, self._partition = session, handle, partition
        self._consumer_group, self._next_sequence = consumer_group, start_sequence
        self._tells_last_enqueued = tells_last_enqueued
        self._delivery_count, self._credit = 0, 0

    def on_flow(self, flow: Flow) -> None:
        """Take new credit and use it; what a draining client does not get, it gets told."""
        self._credit = (flow.delivery_count + flow.link_credit - self._delivery_count) & 0xFFFFFFFF
        if self._credit > 0x7FFFFFFF:  # less credit than has already been used
            self._credit = 0
        self.wake()
        if flow.drain and self._credit:
            self._delivery_count = (self._delivery_count + self._credit) & 0xFFFFFFFF
            self._credit = 0
        if flow.drain or flow.echo:
            self._session.send_flow(self._handle, self._delivery_count, self._credit)

    def wake(self) -> None:
        """Send what there is to send, until credit, window or socket are used up."""
        session = self._session
        while self._credit > 0 and session.window > 0 and not session.blocked:
            try:
                messages, next_sequence = self._partition.log.read(
                    self._next_sequence, min(self._credit, _READ_EVENTS), _READ_BYTES
                )
            except (OSError, struct.error) as error:
                _log.exception("partition cannot be read", extra={"partition": self._partition.id})
                session.detach(self._handle, AmqpError(INTERNAL_ERROR, f"The events cannot be read: {error}."))
                break
            if not messages:
                break
            prefix = self._last_enqueued() if self._tells_last_enqueued else b""
            for sequence, message in messages:
                if session.window <= 0:
                    next_sequence = sequence
                    break
                session.send_delivery(self._handle, prefix + message)
                self._delivery_count = (self._delivery_count + 1) & 0xFFFFFFFF
                self._credit -= 1
            self._next_sequence = next_sequence
        session.flush()

    def _last_enqueued(self) -> bytes:
        last = self._partition.log.last_event
        return last_enqueued_annotations(*last, unix_milliseconds()) if last else b""

    def steal(self, error: AmqpError) -> None:
        """Stop: another receiver has taken the partition over."""
        self._session.detach(self._handle, error)
        self._session.flush()

    def close(self) -> None:
        """Stop receiving."""
        self._credit = 0
        self._partition.remove(self, self._consumer_group)
