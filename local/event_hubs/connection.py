"""One client connection: protocol headers, SASL, frames, heartbeats; whatever the client sends, it ends alone.

Only `broker` may import it.
"""

import asyncio
import logging
import struct
from collections.abc import Callable
from enum import Enum, auto

from local.event_hubs import performatives, replies
from local.event_hubs.amqp_types import DecodeError
from local.event_hubs.errors import (
    CONNECTION_FORCED,
    DECODE_ERROR,
    FRAMING_ERROR,
    INTERNAL_ERROR,
    NOT_ALLOWED,
    RESOURCE_LIMIT_EXCEEDED,
    AmqpError,
)
from local.event_hubs.links import ConnectionCut
from local.event_hubs.session import Namespace, Session
from local.event_hubs.tokens import Grants

_log = logging.getLogger(__name__)

MAX_FRAME_SIZE = 65_536
MIN_MAX_FRAME_SIZE = 512
CHANNEL_MAX = 1023
MAX_INCOMPLETE_BYTES = 16 * 1024 * 1024
"""A client may have so many bytes of incomplete deliveries under way, over all its links."""
MAX_UNREAD_BYTES = 8 * 1024 * 1024
"""A client that lets so much of what it asked for pile up unread is cut off."""
HANDSHAKE_SECONDS = 30.0
LINGER_SECONDS = 1.0
_FLUSH_BYTES = 64 * 1024
_SASL_MECHANISMS = ("MSSBCBS", "ANONYMOUS")
_FRAME_HEADER = struct.Struct(">IBBH")


class _Phase(Enum):
    HEADER = auto()
    SASL = auto()
    OPENING = auto()
    OPEN = auto()
    CLOSING = auto()


class Connection(asyncio.Protocol):
    """Speaks AMQP 1.0 with one client."""

    def __init__(self, namespace: Namespace, connections: "set[Connection]", container_id: str) -> None:
        self.blocked = False
        self.peer_max_frame_size = MIN_MAX_FRAME_SIZE
        self.grants = Grants(namespace.key)
        self._namespace, self._connections, self._container_id = namespace, connections, container_id
        self._phase = _Phase.HEADER
        self._input = bytearray()
        self._output: list[bytes] = []
        self._output_size = 0
        self._sessions: dict[int, Session] = {}
        self._incomplete_bytes = 0
        self._lifetime_bytes = namespace.faults.connection_lifetime_bytes()
        self._timers: list[asyncio.TimerHandle] = []
        self._heard = True

    # --------------------------------------------------------------------------------- asyncio's callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the client's header."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._connections.add(self)
        self._after(HANDSHAKE_SECONDS, self._give_up_handshake)

    def connection_lost(self, exc: Exception | None) -> None:
        """Let everything go."""
        self._connections.discard(self)
        for timer in self._timers:
            timer.cancel()
        for session in self._sessions.values():
            session.close()
        self._sessions.clear()

    def pause_writing(self) -> None:
        """Stop sending events: the client does not keep up."""
        self.blocked = True

    def resume_writing(self) -> None:
        """Send on."""
        self.blocked = False
        for session in list(self._sessions.values()):
            session.wake()

    def data_received(self, data: bytes) -> None:
        """Handle all complete frames; a client that breaks the protocol is told so and disconnected."""
        self._heard = True
        if self._phase is _Phase.CLOSING:
            return
        survivors = self._survivors(data)
        cut = len(survivors) < len(data)
        self._input += survivors
        try:
            self._handle_input()
        except AmqpError as error:
            self.fail(error)
        except DecodeError as error:
            self.fail(AmqpError(DECODE_ERROR, str(error)))
        except ConnectionCut:
            cut = True
        except Exception:
            _log.exception("connection failed on a bug of the broker")
            self.fail(AmqpError(INTERNAL_ERROR, "The broker failed; its log says why."))
        self.flush()
        if cut:
            self._transport.abort()
        elif self._transport.get_write_buffer_size() > MAX_UNREAD_BYTES:
            _log.warning("connection cut: the client does not read", extra={"unread_bytes": MAX_UNREAD_BYTES})
            self._transport.abort()

    # ------------------------------------------------------------------------------------ for the sessions

    def send(self, data: bytes) -> None:
        """Send a frame, or part of one; `flush` writes it out."""
        self._output.append(data)
        self._output_size += len(data)
        if self._output_size > _FLUSH_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write out what was sent."""
        if not self._output:
            return
        data = b"".join(self._output)
        self._output, self._output_size = [], 0
        if self._transport.is_closing():
            return
        survivors = self._survivors(data)
        self._transport.write(survivors)
        if len(survivors) < len(data):
            self._phase = _Phase.CLOSING
            self._transport.close()

    def hold(self, size: int) -> None:
        """Account for bytes of incomplete deliveries. Raises AmqpError if they are too many."""
        self._incomplete_bytes += size
        if self._incomplete_bytes > MAX_INCOMPLETE_BYTES:
            raise AmqpError(
                RESOURCE_LIMIT_EXCEEDED,
                f"incomplete deliveries must not exceed {MAX_INCOMPLETE_BYTES} bytes on a connection; "
                "finish deliveries before beginning others",
            )

    def fail(self, error: AmqpError) -> None:
        """Tell the client what was wrong and disconnect it."""
        if self._phase is _Phase.CLOSING:
            return
        level = logging.INFO if error.condition == CONNECTION_FORCED else logging.WARNING
        _log.log(level, "connection closed", extra={"condition": error.condition, "reason": error.description})
        if self._phase is not _Phase.SASL:
            self.send(replies.frame(0, replies.close(error)))
        self._linger()

    def _linger(self) -> None:
        """Disconnect after the client had time to read: closing while it still sends would destroy the message."""
        self._phase = _Phase.CLOSING
        self._input.clear()
        self.flush()
        self._after(LINGER_SECONDS, self._transport.close)

    def _survivors(self, data: bytes) -> bytes:
        """Return what of `data` still passes if a fault has limited the connection's life; it ends with less."""
        if self._lifetime_bytes is None or self._namespace.faults.settings.drop_connection_after_bytes is None:
            return data
        if len(data) <= self._lifetime_bytes:
            self._lifetime_bytes -= len(data)
            return data
        survivors, self._lifetime_bytes = data[: self._lifetime_bytes], None
        self._namespace.faults.count_dropped_connection()
        return survivors

    # ---------------------------------------------------------------------------------------------- frames

    def _handle_input(self) -> None:
        data, position = self._input, 0
        try:
            while len(data) - position >= 8 and self._phase is not _Phase.CLOSING:
                if self._phase is _Phase.HEADER:
                    self._on_header(bytes(data[position : position + 8]))
                    position += 8
                    continue
                size, data_offset, frame_type, channel = _FRAME_HEADER.unpack_from(data, position)
                if not 8 <= size <= MAX_FRAME_SIZE or not 8 <= data_offset * 4 <= size:
                    raise AmqpError(
                        FRAMING_ERROR,
                        f"a frame must have 8-{MAX_FRAME_SIZE} bytes and its body in it, got {size} bytes with the "
                        f"body at {data_offset * 4}",
                    )
                if len(data) - position < size:
                    break
                body = bytes(data[position + data_offset * 4 : position + size])
                position += size
                self._on_frame(frame_type, channel, body)
        finally:
            del data[:position]

    def _on_header(self, header: bytes) -> None:
        if header == replies.SASL_HEADER:
            self.send(header)
            mechanisms = replies.sasl_mechanisms(_SASL_MECHANISMS)
            self.send(replies.frame(0, mechanisms, replies.SASL_FRAME))
            self._phase = _Phase.SASL
        elif header == replies.AMQP_HEADER:
            self.send(header)
            self._phase = _Phase.OPENING
        else:
            # The standard's answer to an unknown header: the one that would do, and goodbye.
            _log.warning("connection closed: not AMQP 1.0", extra={"header": header.hex()})
            self.send(replies.SASL_HEADER)
            self._linger()

    def _on_frame(self, frame_type: int, channel: int, body: bytes) -> None:
        expected = replies.SASL_FRAME if self._phase is _Phase.SASL else replies.AMQP_FRAME
        if frame_type != expected:
            raise AmqpError(FRAMING_ERROR, f"frame type must be {expected} here, got {frame_type}")
        if not body:
            return  # a heartbeat
        descriptor = performatives.descriptor_of(body)
        if self._phase is _Phase.SASL:
            self._on_sasl(descriptor, body)
        elif self._phase is _Phase.OPENING:
            self._on_open(descriptor, body)
        elif descriptor == performatives.BEGIN:
            self._on_begin(channel, body)
        elif descriptor == performatives.CLOSE:
            self.send(replies.frame(0, replies.close()))
            self._phase = _Phase.CLOSING
            self.flush()
            self._transport.close()
        else:
            self._on_session_frame(channel, descriptor, body)

    def _on_session_frame(self, channel: int, descriptor: int, body: bytes) -> None:
        session = self._sessions.get(channel)
        if session is None:
            return  # the SDK detaches links after it has ended their session
        if descriptor == performatives.TRANSFER:
            session.on_transfer(performatives.parse_transfer(body))
        elif descriptor == performatives.FLOW:
            session.on_flow(performatives.parse_flow(body))
        elif descriptor == performatives.ATTACH:
            session.on_attach(performatives.parse_attach(body))
        elif descriptor == performatives.DETACH:
            session.on_detach(performatives.parse_detach(body).handle)
        elif descriptor == performatives.END:
            session.close()
            del self._sessions[channel]
            self.send(replies.frame(channel, replies.end()))
        elif descriptor != performatives.DISPOSITION:  # events are sent settled: there is nothing to settle
            raise AmqpError(NOT_ALLOWED, f"0x{descriptor:x} is no performative that is allowed here")

    def _on_sasl(self, descriptor: int, body: bytes) -> None:
        if descriptor != performatives.SASL_INIT:
            raise AmqpError(NOT_ALLOWED, f"a sasl-init must come first, got 0x{descriptor:x}")
        known = performatives.parse_sasl_init(body) in _SASL_MECHANISMS
        self.send(replies.frame(0, replies.sasl_outcome(0 if known else 1), replies.SASL_FRAME))
        if known:
            self._phase = _Phase.HEADER
        else:
            self._linger()

    def _on_open(self, descriptor: int, body: bytes) -> None:
        if descriptor != performatives.OPEN:
            raise AmqpError(NOT_ALLOWED, f"an open must come first, got 0x{descriptor:x}")
        request = performatives.parse_open(body)
        self._phase = _Phase.OPEN
        self.peer_max_frame_size = max(request.max_frame_size, MIN_MAX_FRAME_SIZE)
        self.send(
            replies.frame(
                0,
                replies.open_(self._container_id, MAX_FRAME_SIZE, CHANNEL_MAX, self._namespace.idle_timeout),
            )
        )
        self._every(2 * self._namespace.idle_timeout, self._check_heard)
        if request.idle_timeout is not None:
            self._every(max(request.idle_timeout / 2, 0.1), self._send_heartbeat)

    def _on_begin(self, channel: int, body: bytes) -> None:
        if channel in self._sessions or channel > CHANNEL_MAX:
            raise AmqpError(NOT_ALLOWED, f"channel must be a free one of 0-{CHANNEL_MAX}, got {channel}")
        self._sessions[channel] = Session(self, channel, performatives.parse_begin(body), self._namespace)

    # ---------------------------------------------------------------------------------------------- timers

    def _give_up_handshake(self) -> None:
        if self._phase is not _Phase.OPEN:
            self._transport.abort()

    def _check_heard(self) -> None:
        if not self._heard:
            self.fail(AmqpError(CONNECTION_FORCED, "Nothing was received for twice the idle-time-out."))
        self._heard = False

    def _send_heartbeat(self) -> None:
        if self._phase is _Phase.OPEN:
            self.send(replies.HEARTBEAT)
            self.flush()

    def _after(self, seconds: float, action: Callable[[], object]) -> None:
        self._timers = [timer for timer in self._timers if timer.when() > asyncio.get_running_loop().time()]
        self._timers.append(asyncio.get_running_loop().call_later(seconds, action))

    def _every(self, seconds: float, action: Callable[[], None]) -> None:
        def act() -> None:
            if not self._transport.is_closing():
                action()
                self._after(seconds, act)

        self._after(seconds, act)
