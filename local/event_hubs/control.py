"""The control endpoint of chaos tests: `GET /status`, `GET /faults`, `POST /faults`, HTTP/1.1 on loopback.

Only `__main__` and tests import it.
"""

import asyncio
import json
from http import HTTPStatus
from typing import Any

from local.event_hubs.broker import Broker

_MAX_BODY = 64 * 1024
_READ_SECONDS = 5.0


class _RequestError(Exception):
    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


async def serve_control(broker: Broker, host: str, port: int) -> asyncio.Server:
    """Start the endpoint; its port is that of the server's socket."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_READ_SECONDS):
                writer.write(await _respond(broker, reader))
                await writer.drain()
        except (TimeoutError, ConnectionError, asyncio.IncompleteReadError):
            pass  # the client has gone: there is nobody to tell
        finally:
            writer.close()

    return await asyncio.start_server(handle, host, port, limit=_MAX_BODY)


async def _respond(broker: Broker, reader: asyncio.StreamReader) -> bytes:
    try:
        method, path, body = await _read_request(reader)
        document = _answer(broker, method, path, body)
        return _response(HTTPStatus.OK, document)
    except _RequestError as error:
        return _response(error.status, {"error": str(error)})


async def _read_request(reader: asyncio.StreamReader) -> tuple[str, str, bytes]:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.LimitOverrunError as error:
        raise _RequestError(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "the request's head is too long") from error
    request_line, *header_lines = head.split("\r\n")
    words = request_line.split(" ")
    if len(words) != 3:
        raise _RequestError(HTTPStatus.BAD_REQUEST, f"no HTTP request line: {request_line!r:.100}")
    headers = {name.strip().lower(): value.strip() for name, _, value in (h.partition(":") for h in header_lines)}
    length = headers.get("content-length", "0")
    if not length.isascii() or not length.isdigit() or len(length) > 9:
        raise _RequestError(HTTPStatus.BAD_REQUEST, f"Content-Length must be a number of bytes, got {length!r:.50}")
    if int(length) > _MAX_BODY:
        raise _RequestError(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body must not exceed {_MAX_BODY} bytes, got {length}"
        )
    return words[0], words[1].partition("?")[0], await reader.readexactly(int(length))


def _answer(broker: Broker, method: str, path: str, body: bytes) -> dict[str, Any]:
    match method, path:
        case "GET", "/status":
            return broker.status()
        case "GET", "/faults":
            return broker.faults.state()
        case "POST", "/faults":
            try:
                broker.faults.configure(json.loads(body))
            except (ValueError, RecursionError) as error:
                raise _RequestError(HTTPStatus.BAD_REQUEST, str(error)) from error
            return broker.faults.state()
        case _, "/status" | "/faults":
            raise _RequestError(HTTPStatus.METHOD_NOT_ALLOWED, f"{path} does not take {method:.20}")
    raise _RequestError(HTTPStatus.NOT_FOUND, f"no {path:.100} here; there are GET /status, GET and POST /faults")


def _response(status: HTTPStatus, document: dict[str, Any]) -> bytes:
    body = json.dumps(document).encode() + b"\n"
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body
