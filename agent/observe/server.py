"""A small HTTP server for scrapes and probes, in a thread of its own. For the command line.

It answers while the agent's event loop hangs, because that is what a probe asks about. It answers one request per
connection, reads heads only, and is bounded in everything a stranger could make large: connections, bytes, seconds.
When all connections are taken, the one that has been silent for longest makes room: those that dawdle (slowloris) keep
nobody out who sends a request. poll() by hand, because a second asyncio loop takes three times its CPU time.
"""

from __future__ import annotations

import logging
import os
import select
import socket
import threading
import time
from collections.abc import Callable
from http import HTTPStatus

from agent.observe.messages import Refused, Request, Response, end_of_head, parsed

log = logging.getLogger(__name__)

MAX_CONNECTIONS = 64
REQUEST_WITHIN = 5.0
"""Seconds a client may take to send its request."""
ANSWER_WITHIN = 10.0
"""Seconds a client may take to read the answer."""
MAY_BE_SILENT = 0.25
"""Seconds after which a connection without a request makes room for another one."""
MAX_UNREAD = 65_536
"""Bytes that are read and forgotten after the answer, so that closing does not take the answer back."""
PAUSE_AFTER_FAILURE = 0.5
_READ_SIZE = 2048

Answer = Callable[[Request], Response]


class HttpServer:
    """Serves `answer` on a listening socket until `close`. `answer` is called in the server's thread only."""

    def __init__(self, listening: socket.socket, answer: Answer) -> None:
        self._listening = listening
        self._answer = answer
        self._connections: dict[int, _Connection] = {}
        """By file descriptor, the oldest first."""
        self._poll = select.poll()
        self._deaf_until = 0.0
        self._told = False
        self._ending = -1
        self._thread = threading.Thread(target=self._run, name="http", daemon=True)

    @property
    def address(self) -> str:
        """Where it listens: HOST:PORT."""
        host, port, *_ = self._listening.getsockname()
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def start(self) -> None:
        """Begins to answer."""
        self._ending = os.eventfd(0)
        self._thread.start()

    def close(self) -> None:
        """Ends every connection and the thread."""
        os.eventfd_write(self._ending, 1)
        self._thread.join()
        os.close(self._ending)

    def _run(self) -> None:
        try:
            self._serve()
        except Exception:
            log.critical("http_crashed", exc_info=True)
        finally:
            self._listening.close()
            for connection in self._connections.values():
                connection.socket.close()

    def _serve(self) -> None:
        self._listening.setblocking(False)
        self._poll.register(self._ending, select.POLLIN)
        self._poll.register(self._listening, select.POLLIN)
        hears = True
        while True:
            for descriptor, _ in self._poll.poll(self._patience()):
                if descriptor == self._ending:
                    return
                if descriptor == self._listening.fileno():
                    self._accept()
                elif connection := self._connections.get(descriptor):
                    self._go_on(connection)
            self._end_overdue()
            heard, hears = hears, self._has_room()
            if heard != hears:
                self._poll.modify(self._listening, select.POLLIN if hears else 0)

    def _patience(self) -> float | None:
        """Gives the milliseconds until something has to be done although nothing happens; None for ever."""
        if not self._connections and not self._deaf_until:
            return None
        times = [connection.deadline for connection in self._connections.values()]
        if self._deaf_until:
            times.append(self._deaf_until)
        if len(self._connections) >= MAX_CONNECTIONS:
            times.append(self._next_to_go().since + MAY_BE_SILENT)
        return max(0.0, min(times) - time.monotonic()) * 1000 + 1

    def _accept(self) -> None:
        try:
            connection, _ = self._listening.accept()
        except BlockingIOError:  # the client has gone
            return
        except OSError as error:  # no more file descriptors
            if not self._told:
                log.warning("http_accept_failed", extra={"problem": str(error)})
            self._told = True
            self._deaf_until = time.monotonic() + PAUSE_AFTER_FAILURE
            return
        connection.setblocking(False)
        accepted = self._connections[connection.fileno()] = _Connection(connection)
        self._go_on(accepted)  # most requests are here already, and are answered without another wait

    def _has_room(self) -> bool:
        """Says whether there may be one more connection; for that, ends the oldest that has not sent its request."""
        now = time.monotonic()
        if now < self._deaf_until:
            return False
        self._deaf_until = 0.0
        if len(self._connections) >= MAX_CONNECTIONS and now >= (oldest := self._next_to_go()).since + MAY_BE_SILENT:
            self._end(oldest)
        return len(self._connections) < MAX_CONNECTIONS

    def _next_to_go(self) -> _Connection:
        silent = (connection for connection in self._connections.values() if not connection.has_asked)
        return next(silent, None) or next(iter(self._connections.values()))

    def _end_overdue(self) -> None:
        now = time.monotonic()
        for connection in [each for each in self._connections.values() if each.deadline <= now]:
            if connection.has_asked:
                self._end(connection)
            else:
                text = f"The request was not complete after {REQUEST_WITHIN:g} s."
                connection.answer(Response.text(HTTPStatus.REQUEST_TIMEOUT, text))
                self._go_on(connection)

    def _go_on(self, connection: _Connection) -> None:
        """Does what can be done without waiting."""
        try:
            if not connection.has_asked:
                request = connection.read_request()
                if request is not None:
                    connection.answer(self._answered(request), request)
            wanted = connection.send_and_drain() if connection.has_asked else select.POLLIN
        except BlockingIOError:
            wanted = select.POLLOUT if connection.unsent else select.POLLIN
        except Refused as refused:
            connection.answer(refused.response)
            self._go_on(connection)
            return
        except OSError:
            wanted = 0
        if not wanted:
            self._end(connection)
        elif wanted != connection.waits_for:
            connection.waits_for = wanted
            self._poll.register(connection.socket, wanted)

    def _answered(self, request: Request) -> Response:
        try:
            return self._answer(request)
        except Exception:
            log.error("http_answer_failed", extra={"path": request.path[:80]}, exc_info=True)
            text = "The agent has a bug: see http_answer_failed in its log."
            return Response.text(HTTPStatus.INTERNAL_SERVER_ERROR, text)

    def _end(self, connection: _Connection) -> None:
        if connection.waits_for:
            self._poll.unregister(connection.socket)
        del self._connections[connection.socket.fileno()]
        connection.socket.close()


class _Connection:
    """One connection: first it is read from, then written to, then read from until the client has closed it."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.since = time.monotonic()
        self.deadline = self.since + REQUEST_WITHIN
        self.has_asked = False
        self.waits_for = 0
        """What it is registered for."""
        self.unsent: list[memoryview] = []
        self._received = b""
        self._unread = MAX_UNREAD

    def read_request(self) -> Request | None:
        """Gives the request; None when the client has gone. Raises BlockingIOError while it is not complete."""
        while part := self.socket.recv(_READ_SIZE):
            searched = len(self._received)
            self._received += part
            if (end := end_of_head(self._received, searched)) is not None:
                head, self._received = self._received[:end], self._received[end:]
                return parsed(head)
        raise ConnectionError("the client has gone")

    def answer(self, response: Response, request: Request | None = None) -> None:
        """Says what to send. Where nothing more can come, nothing is waited for after it."""
        self.has_asked = True
        self.deadline = time.monotonic() + ANSWER_WITHIN
        parts = [response.head()] if request and request.method == "HEAD" else [response.head(), response.body]
        self.unsent = [memoryview(part) for part in parts if part]
        if request and not self._received and request.has_no_body:
            self._unread = 0

    def send_and_drain(self) -> int:
        """Gives what to wait for; 0 when all is done. Raises BlockingIOError where only waiting helps."""
        while self.unsent:
            sent = self.socket.sendmsg(self.unsent)
            while self.unsent and sent >= len(self.unsent[0]):
                sent -= len(self.unsent.pop(0))
            if sent:
                self.unsent[0] = self.unsent[0][sent:]
            if not self.unsent and self._unread:
                self.socket.shutdown(socket.SHUT_WR)
        while self._unread > 0 and (rest := self.socket.recv(_READ_SIZE)):
            self._unread -= len(rest)
        return 0


def listen(host: str, port: int) -> socket.socket:
    """Gives a listening socket; port 0 takes a free one. Raises OSError where that cannot be."""
    family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    both = family == socket.AF_INET6 and socket.has_dualstack_ipv6()
    return socket.create_server(address[:2], family=family, backlog=128, dualstack_ipv6=both)
