"""One AMQP session: attaches links, hands them their frames, keeps the transfer windows.

Only `connection` may import it.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from local.event_hubs import replies
from local.event_hubs.errors import (
    HANDLE_IN_USE,
    NOT_ALLOWED,
    NOT_FOUND,
    UNATTACHED_HANDLE,
    AmqpError,
)
from local.event_hubs.faults import Faults
from local.event_hubs.hub import Hub, Partition
from local.event_hubs.links import EventsIn, IncomingLink, OutgoingLink
from local.event_hubs.management import CBS, MANAGEMENT, answer, find_hub
from local.event_hubs.performatives import Attach, Begin, Flow, Transfer
from local.event_hubs.start_position import start_sequence
from local.event_hubs.tokens import Grants, path_of

HANDLE_MAX = 255
INCOMING_WINDOW = 5000
_FIRST_OUTGOING_ID = 1
_RUNTIME_METRIC = "com.microsoft:enable-receiver-runtime-metric"


@dataclass(frozen=True)
class Namespace:
    """What all connections share: the event hubs, the faults, the limits."""

    hubs: Mapping[str, Hub]
    faults: Faults
    key: str | None
    max_message_size: int
    idle_timeout: float


class Wire(Protocol):
    """What a session needs of its connection."""

    blocked: bool
    peer_max_frame_size: int
    grants: Grants

    def send(self, data: bytes) -> None:
        """Send a frame, or part of one."""

    def flush(self) -> None:
        """Write out what was sent."""

    def hold(self, size: int) -> None:
        """Account for bytes of incomplete deliveries. Raises AmqpError."""


class ResponseLink:
    """Where the responses to a node's requests go. They need no credit: there is one per request."""

    def __init__(self, session: "Session", handle: int) -> None:
        self._session, self._handle = session, handle

    def send(self, message: bytes) -> None:
        """Send a response."""
        self._session.send_delivery(self._handle, message)

    def close(self) -> None:
        """Nothing to let go of."""


class Requests(IncomingLink):
    """Answers the requests to `$cbs` or `$management`."""

    def __init__(self, session: "Session", handle: int, max_message_size: int, node: str) -> None:
        super().__init__(session, handle, max_message_size)
        self._requested_of, self._node = session, node

    def accept(self, message: bytes, message_format: int) -> None:
        """Answer on the node's response link of the same session."""
        self._requested_of.answer(self._node, message)


type Link = IncomingLink | OutgoingLink | ResponseLink


class Session:
    """One session of a connection."""

    def __init__(self, wire: Wire, channel: int, begin: Begin, namespace: Namespace) -> None:
        self._wire, self._channel, self._namespace = wire, channel, namespace
        self._links: dict[int, Link] = {}
        self._detached_handles: set[int] = set()
        self._responses: dict[str, ResponseLink] = {}
        self._next_incoming_id = begin.next_outgoing_id
        self._next_outgoing_id = _FIRST_OUTGOING_ID
        self._next_delivery_id = 0
        self.window = begin.incoming_window
        self._send(replies.begin(channel, _FIRST_OUTGOING_ID, INCOMING_WINDOW, HANDLE_MAX))

    @property
    def blocked(self) -> bool:
        """Whether the client reads slower than the broker writes."""
        return self._wire.blocked

    # ------------------------------------------------------------------------------ what the client sends

    def on_attach(self, attach: Attach) -> None:
        """Attach a link; one that cannot be is attached and detached with an error, as the protocol wants it."""
        if attach.handle > HANDLE_MAX or attach.handle in self._links:
            raise AmqpError(
                HANDLE_IN_USE, f"handle must be a free one of 0-{HANDLE_MAX}, got {attach.handle}; detach first"
            )
        self._detached_handles.discard(attach.handle)
        self._send(replies.attach(attach, self._namespace.max_message_size))
        try:
            link = self._open_link(attach, path_of(attach.address))
        except AmqpError as error:
            self.detach(attach.handle, error)
            return
        self._links[attach.handle] = link
        if isinstance(link, IncomingLink):
            link.grant_credit()

    def on_flow(self, flow: Flow) -> None:
        """Take the client's window, and a link's credit."""
        next_incoming_id = _FIRST_OUTGOING_ID if flow.next_incoming_id is None else flow.next_incoming_id
        window = (next_incoming_id + flow.incoming_window - self._next_outgoing_id) & 0xFFFFFFFF
        self.window = 0 if window > 0x7FFFFFFF else window
        link = self._links.get(flow.handle) if flow.handle is not None else None
        if isinstance(link, OutgoingLink):
            link.on_flow(flow)
        elif flow.handle is None:
            if flow.echo:
                self._send(replies.flow(self._session_window()))
            self.wake()

    def on_transfer(self, transfer: Transfer) -> None:
        """Hand a frame of a delivery to its link; those under way to a link just detached are dropped."""
        self._next_incoming_id = (self._next_incoming_id + 1) & 0xFFFFFFFF
        link = self._links.get(transfer.handle)
        if isinstance(link, IncomingLink):
            link.on_transfer(transfer)
        elif transfer.handle not in self._detached_handles:
            raise AmqpError(UNATTACHED_HANDLE, f"no link that events can be sent on has handle {transfer.handle}")

    def on_detach(self, handle: int) -> None:
        """Detach a link; one that is already detached is no error."""
        link = self._links.pop(handle, None)
        self._detached_handles.discard(handle)
        if link is not None:
            link.close()
            self._send(replies.detach(handle))

    def close(self) -> None:
        """Close all links: the session or the connection is over."""
        for link in self._links.values():
            link.close()
        self._links.clear()

    def wake(self) -> None:
        """Let all links send what there is to send."""
        for link in list(self._links.values()):
            if isinstance(link, OutgoingLink):
                link.wake()

    # ------------------------------------------------------------------------------ what the links send

    def send_delivery(self, handle: int, message: bytes) -> None:
        """Send a message in as many frames as it takes."""
        room = self._wire.peer_max_frame_size - replies.TRANSFER_OVERHEAD
        delivery_id = self._next_delivery_id
        self._next_delivery_id = (delivery_id + 1) & 0xFFFFFFFF
        for start in range(0, max(len(message), 1), room):
            payload = message[start : start + room]
            more = start + room < len(message)
            self._wire.send(replies.transfer_header(self._channel, handle, delivery_id, more, len(payload)))
            self._wire.send(payload)
            self._next_outgoing_id = (self._next_outgoing_id + 1) & 0xFFFFFFFF
            self.window -= 1

    def send_flow(self, handle: int, delivery_count: int, credit: int) -> None:
        """Tell a link's credit."""
        self._send(replies.flow(self._session_window(), handle, delivery_count, credit))

    def send_disposition(self, delivery_id: int, error: AmqpError | None) -> None:
        """Settle a delivery."""
        self._send(replies.disposition(delivery_id, error))

    def detach(self, handle: int, error: AmqpError) -> None:
        """Detach a link with an error."""
        link = self._links.pop(handle, None)
        if link is not None:
            link.close()
        self._detached_handles.add(handle)
        self._send(replies.detach(handle, error))

    def hold(self, size: int) -> None:
        """Account for bytes of incomplete deliveries. Raises AmqpError."""
        self._wire.hold(size)

    def flush(self) -> None:
        """Write out what was sent."""
        self._wire.flush()

    def answer(self, node: str, message: bytes) -> None:
        """Answer a request to a node."""
        response_link = self._responses.get(node)
        if response_link is None:
            raise AmqpError(NOT_ALLOWED, f"A request to {node} needs a receiving link from {node} first.")
        response_link.send(
            answer(node, message, self._namespace.hubs, self._wire.grants, time.time()),
        )

    def _send(self, body: bytes) -> None:
        self._wire.send(replies.frame(self._channel, body))

    def _session_window(self) -> replies.SessionWindow:
        return replies.SessionWindow(self._next_incoming_id, self._next_outgoing_id, INCOMING_WINDOW)

    # ---------------------------------------------------------------------------------- opening links

    def _open_link(self, attach: Attach, path: str) -> Link:
        if path in (CBS, MANAGEMENT):
            if not attach.is_receiver:
                return Requests(self, attach.handle, self._namespace.max_message_size, path)
            self._responses[path] = ResponseLink(self, attach.handle)
            return self._responses[path]
        names = path.split("/")
        hub = find_hub(self._namespace.hubs, names[0])
        self._wire.grants.check(hub.name, time.time())
        match [names[0], *(name.lower() for name in names[1:])], attach.is_receiver:
            case [_], False:
                return self._events_in(attach, hub, None)
            case [_, "partitions", partition_id], False:
                return self._events_in(attach, hub, hub.partition(partition_id))
            case [_, "consumergroups", group, "partitions", partition_id], True:
                return self._events_out(attach, hub, group, partition_id)
        raise AmqpError(
            NOT_FOUND,
            f"The messaging entity '{path:.256}' could not be found. Send to HUB or HUB/Partitions/ID, receive from "
            "HUB/ConsumerGroups/GROUP/Partitions/ID.",
        )

    def _events_in(self, attach: Attach, hub: Hub, partition: Partition | None) -> EventsIn:
        namespace = self._namespace
        return EventsIn(self, attach.handle, namespace.max_message_size, hub, partition, namespace.faults)

    def _events_out(self, attach: Attach, hub: Hub, group: str, partition_id: str) -> OutgoingLink:
        consumer_group, partition = hub.consumer_group(group), hub.partition(partition_id)
        link = OutgoingLink(
            self,
            attach.handle,
            partition,
            consumer_group,
            start_sequence=start_sequence(partition.log, attach.selector),
            epoch=attach.epoch,
            tells_last_enqueued=_RUNTIME_METRIC in attach.desired_capabilities,
        )
        partition.add(link, consumer_group)
        return link
