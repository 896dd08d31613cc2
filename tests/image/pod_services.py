"""What a pod finds around it, made to listen on a container's loopback interface: DNS, Entra ID, Event Hubs."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

TYPE_A = 1


@contextlib.contextmanager
def forwarder(listening: socket.socket, port: int, tls: ssl.SSLContext | None = None) -> Iterator[None]:
    """Passes connections on to a loopback port of this machine; ends TLS where a context is given."""

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to_reader, to_writer = await asyncio.open_connection("127.0.0.1", port)
        with contextlib.suppress(OSError):
            await asyncio.gather(_copy(reader, to_writer), _copy(to_reader, writer))

    async def serve() -> None:
        server = await asyncio.start_server(pass_on, sock=listening, ssl=tls)
        ready.set()
        await ended.wait()
        server.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()

    loop, ready, ended = asyncio.new_event_loop(), threading.Event(), asyncio.Event()
    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    assert ready.wait(10)
    try:
        yield
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join(10)
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()


class NameServer:
    """Answers every question for an address with 127.0.0.1; `asked` are the names."""

    def __init__(self, bound: socket.socket) -> None:
        self.asked: set[str] = set()
        self._socket = bound
        self._socket.settimeout(0.1)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> NameServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(10)
        self._socket.close()

    def _serve(self) -> None:
        while not self._ended.is_set():
            with contextlib.suppress(TimeoutError):
                question, sender = self._socket.recvfrom(512)
                self._socket.sendto(self._answer(question), sender)

    def _answer(self, message: bytes) -> bytes:
        labels, position = [], 12
        while length := message[position]:
            labels.append(message[position + 1 : position + 1 + length].decode())
            position += 1 + length
        question = message[12 : position + 5]
        (kind,) = struct.unpack("!H", message[position + 1 : position + 3])
        self.asked.add(".".join(labels))
        records = struct.pack("!HHHIH4s", 0xC00C, TYPE_A, 1, 60, 4, b"\x7f\0\0\1") if kind == TYPE_A else b""
        header = message[:2] + struct.pack("!HHHHH", 0x8180, 1, 1 if records else 0, 0, 0)
        return header + question + records


class TokenEndpoint:
    """Entra ID's token endpoint over https: any assertion gets a token; `requests` are the forms that were posted."""

    def __init__(self, listening: socket.socket, tls: ssl.SSLContext) -> None:
        self.requests: list[dict[str, str]] = []
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                endpoint.requests.append({"path": self.path, **{k: v[0] for k, v in parse_qs(body).items()}})
                answer = json.dumps(
                    {"token_type": "Bearer", "expires_in": 3600, "access_token": "header.body.signature"}
                )
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer.encode())

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler, bind_and_activate=False)
        self._server.socket.close()
        self._server.socket = tls.wrap_socket(listening, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    def __enter__(self) -> TokenEndpoint:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join(10)
        self._server.server_close()
