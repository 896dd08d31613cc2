"""A small HTTP server for scrapes and probes, in a thread and an event loop of its own. For the command line.

It answers while the agent's own event loop hangs, because that is what a probe asks about. It answers one request per
connection, reads heads only, and is bounded in everything a stranger could make large: connections, bytes, seconds.
When all connections are taken, the one that has been silent for longest makes room: those that dawdle (slowloris) keep
nobody out who sends a request.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import urlsplit

log = logging.getLogger(__name__)

MAX_CONNECTIONS = 64
MAX_HEAD = 8192
"""Bytes of request line and header fields; Prometheus and the kubelet send some hundred."""
REQUEST_WITHIN = 5.0
"""Seconds a client may take to send its request."""
ANSWER_WITHIN = 10.0
"""Seconds a client may take to read the answer."""
MAX_UNREAD = 65_536
"""Bytes that are read and forgotten after the answer, so that closing does not take the answer back."""
MAY_BE_SILENT = 0.25
"""Seconds after which a connection without a request makes room for another one."""
PAUSE_AFTER_FAILURE = 0.5
_READ_SIZE = 2048

_END_OF_HEAD = re.compile(rb"\r?\n\r?\n")
_REQUEST_LINE = re.compile(r"([A-Z]{1,20}) (\S+) HTTP/1\.([01])")
_FIELD_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class Request(NamedTuple):
    """What was asked for."""

    method: str
    path: str
    headers: Mapping[str, str]
    """By their names in lower case."""


class Response(NamedTuple):
    """What is answered."""

    status: HTTPStatus
    content_type: str
    body: bytes
    headers: Mapping[str, str] = {}

    @classmethod
    def text(cls, status: HTTPStatus, sentence: str, headers: Mapping[str, str] | None = None) -> Response:
        """Answers with a sentence for a person."""
        return cls(status, "text/plain; charset=utf-8", f"{sentence}\n".encode(), headers or {})


Answer = Callable[[Request], Response]


class HttpServer:
    """Serves `answer` on a listening socket until `close`. `answer` is called in the server's thread only."""

    def __init__(self, listening: socket.socket, answer: Answer) -> None:
        self._listening = listening
        self._answer = answer
        self._connections: dict[asyncio.Task[None], _Connection] = {}
        """The oldest first."""
        self._loop: asyncio.AbstractEventLoop
        self._accepting: asyncio.Task[None]
        self._running = threading.Event()
        self._thread = threading.Thread(target=self._run, name="http", daemon=True)

    @property
    def address(self) -> str:
        """Where it listens: HOST:PORT."""
        host, port, *_ = self._listening.getsockname()
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def start(self) -> None:
        """Begins to answer."""
        self._thread.start()
        self._running.wait()

    def close(self) -> None:
        """Ends every connection and the thread."""
        self._loop.call_soon_threadsafe(self._accepting.cancel)
        self._thread.join()

    def _run(self) -> None:
        with self._listening, contextlib.suppress(asyncio.CancelledError):
            try:
                asyncio.run(self._main())
            except Exception:
                log.critical("http_crashed", exc_info=True)
            finally:
                self._running.set()

    async def _main(self) -> None:
        """Accepts until it is cancelled. What it has begun by then is cancelled with it."""
        self._loop = asyncio.get_running_loop()
        self._accepting = self._loop.create_task(self._accept())
        self._running.set()
        await self._accepting

    async def _accept(self) -> None:
        self._listening.setblocking(False)
        told = False
        while True:
            await self._make_room()
            try:
                connection, _ = await self._loop.sock_accept(self._listening)
            except OSError as error:  # no more file descriptors, or the client has gone
                if not told:
                    log.warning("http_accept_failed", extra={"problem": str(error)})
                told = True
                await asyncio.sleep(PAUSE_AFTER_FAILURE)
                continue
            task = self._loop.create_task(self._serve(connection))
            self._connections[task] = _Connection(self._loop.time())
            task.add_done_callback(lambda task: self._connections.pop(task, None))
            await asyncio.sleep(0)  # that one first: most requests are here already, and are answered at once

    async def _make_room(self) -> None:
        """Waits until there may be one more connection; for that, ends the oldest that has not sent its request."""
        while len(self._connections) >= MAX_CONNECTIONS:
            silent = (task for task, connection in self._connections.items() if not connection.has_asked)
            oldest = next(silent, None) or next(iter(self._connections))
            patience = MAY_BE_SILENT - (self._loop.time() - self._connections[oldest].since)
            if patience > 0:
                await asyncio.wait(self._connections, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
            else:
                del self._connections[oldest]
                oldest.cancel()

    async def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError, TimeoutError):
            connection.setblocking(False)
            response, with_body = await self._respond(connection)
            async with asyncio.timeout(ANSWER_WITHIN):
                await self._loop.sock_sendall(connection, _head(response))
                if with_body:
                    await self._loop.sock_sendall(connection, response.body)
                connection.shutdown(socket.SHUT_WR)
                unread = MAX_UNREAD
                while unread > 0 and (rest := await self._loop.sock_recv(connection, _READ_SIZE)):
                    unread -= len(rest)

    async def _respond(self, connection: socket.socket) -> tuple[Response, bool]:
        """Reads the request; gives the response and whether its body is to be sent."""
        try:
            async with asyncio.timeout(REQUEST_WITHIN):
                request = _parsed(await self._read_head(connection))
        except _Refused as refused:
            return refused.response, True
        except TimeoutError:
            text = f"The request was not complete after {REQUEST_WITHIN:g} s."
            return Response.text(HTTPStatus.REQUEST_TIMEOUT, text), True
        if (task := asyncio.current_task()) and (own := self._connections.get(task)):
            own.has_asked = True
        try:
            return self._answer(request), request.method != "HEAD"
        except Exception:
            log.error("http_answer_failed", extra={"path": request.path[:80]}, exc_info=True)
            text = "The agent has a bug: see http_answer_failed in its log."
            return Response.text(HTTPStatus.INTERNAL_SERVER_ERROR, text), request.method != "HEAD"

    async def _read_head(self, connection: socket.socket) -> bytes:
        read = b""
        while True:
            part = await self._loop.sock_recv(connection, _READ_SIZE)
            searched = max(0, len(read) - 3)
            read += part
            if (end := _END_OF_HEAD.search(read, searched)) and end.start() <= MAX_HEAD:
                return read[: end.start()]
            if len(read) > MAX_HEAD:
                text = f"The request's header fields must not be larger than {MAX_HEAD} bytes."
                raise _Refused(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, text)
            if not read[:1].isalpha():
                raise _Refused(HTTPStatus.BAD_REQUEST, "This is not HTTP. Speak HTTP/1.1, without TLS.")
            if not part:
                raise ConnectionError("the client has gone")


@dataclass(slots=True)
class _Connection:
    since: float
    """On the loop's clock."""
    has_asked: bool = False


class _Refused(Exception):
    def __init__(self, status: HTTPStatus, sentence: str) -> None:
        self.response = Response.text(status, sentence)
        super().__init__(sentence)


def listen(host: str, port: int) -> socket.socket:
    """Gives a listening socket; port 0 takes a free one. Raises OSError where that cannot be."""
    family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    both = family == socket.AF_INET6 and socket.has_dualstack_ipv6()
    return socket.create_server(address[:2], family=family, backlog=128, dualstack_ipv6=both)


def _parsed(head: bytes) -> Request:
    first, *lines = head.decode("latin-1").replace("\r\n", "\n").split("\n")
    request_line = _REQUEST_LINE.fullmatch(first)
    fields = [line.partition(":") for line in lines]
    if request_line is None or not all(_FIELD_NAME.fullmatch(name) and colon for name, colon, _ in fields):
        raise _Refused(HTTPStatus.BAD_REQUEST, "This is not HTTP/1.1: GET /metrics HTTP/1.1 would be.")
    headers = {name.lower(): value.strip(" \t") for name, _, value in fields}
    method, target, minor = request_line.groups()
    if minor == "1" and "host" not in headers:
        raise _Refused(HTTPStatus.BAD_REQUEST, "HTTP/1.1 asks for a Host header.")
    try:
        path = urlsplit(target).path
    except ValueError:
        raise _Refused(HTTPStatus.BAD_REQUEST, "The request's target is no URL.") from None
    return Request(method, path, headers)


def _head(response: Response) -> bytes:
    fields = {
        "Date": time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime()),
        "Content-Type": response.content_type,
        "Content-Length": str(len(response.body)),
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
        "Connection": "close",
        **response.headers,
    }
    lines = [f"HTTP/1.1 {response.status.value} {response.status.phrase}"]
    lines += [f"{name}: {value}" for name, value in fields.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
