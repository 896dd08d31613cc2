"""The Logs Ingestion API: one POST per batch of rows. A 204 means the rows survive the death of this process."""

import asyncio
import zlib
from datetime import UTC, datetime
from typing import Any

import orjson
from aiohttp import web

from local.log_analytics.columns import convert_rows
from local.log_analytics.errors import IngestionError
from local.log_analytics.faults import Fault, FaultInjector
from local.log_analytics.schema import Rule, Stream
from local.log_analytics.store import LogStore, StoreFull
from local.log_analytics.throttle import Throttle

API_VERSIONS = ("2023-01-01", "2021-11-01-preview")

#: 1 MB a call, plus what the SDK adds: its chunker does not count the separators between rows.
BODY_LIMIT_BYTES = 1024 * 1024 + 64 * 1024

#: A larger body is read this far and thrown away: a client that is still writing does not see the answer.
_DRAIN_LIMIT_BYTES = 16 * BODY_LIMIT_BYTES


class IngestionApi:
    """The route of the ingestion API for one data collection rule."""

    def __init__(self, store: LogStore, rule: Rule, throttle: Throttle, faults: FaultInjector) -> None:
        self._store = store
        self._rule = rule
        self._throttle = throttle
        self._faults = faults

    def routes(self) -> list[web.RouteDef]:
        """Return the routes to add to an application."""
        return [web.post("/dataCollectionRules/{rule}/streams/{stream}", self._post)]

    async def _post(self, request: web.Request) -> web.StreamResponse:
        fault = self._faults.decide()
        if isinstance(fault, int):
            await request.read()
            raise IngestionError(fault, "InjectedFault", "fault ordered by POST /faults", _retry_after(fault))
        if fault is Fault.TIMEOUT_BEFORE:
            return await self._hang_up(request)
        await self._accept(request)
        if fault is Fault.TIMEOUT_AFTER:
            return await self._hang_up(request)
        return web.Response(status=204)

    async def _accept(self, request: web.Request) -> None:
        stream = self._stream(request)
        body = await _read(request)
        wait = self._throttle.take(len(body))
        if wait:
            raise IngestionError(
                429,
                "TooManyRequests",
                "the data collection rule's requests or bytes per minute are used up",
                {"Retry-After": str(wait)},
            )
        received = datetime.now(UTC).replace(tzinfo=None)
        try:
            self._store.append(stream, convert_rows(_rows(body), stream.columns, received), received)
        except (TypeError, ValueError) as error:
            raise IngestionError(400, "InvalidPayload", f"rows cannot be stored: {error}") from error
        except StoreFull as error:
            raise IngestionError(503, "ServiceUnavailable", str(error), {"Retry-After": "5"}) from error

    def _stream(self, request: web.Request) -> Stream:
        version = request.query.get("api-version")
        if version not in API_VERSIONS:
            raise IngestionError(400, "InvalidApiVersion", f"api-version must be {API_VERSIONS[0]}, got {version!r}")
        rule, stream = request.match_info["rule"], request.match_info["stream"]
        if rule != self._rule.immutable_id:
            raise IngestionError(404, "NotFound", f"Data collection rule with immutable Id '{rule}' not found.")
        if stream not in self._rule.streams:
            raise IngestionError(
                400, "InvalidStream", f"Stream '{stream}' is not declared in data collection rule '{rule}'."
            )
        return self._rule.streams[stream]

    async def _hang_up(self, request: web.Request) -> web.StreamResponse:
        """Keep the client waiting, then close the connection without an answer."""
        await asyncio.sleep(self._faults.settings.timeout_seconds)
        if request.transport:
            request.transport.abort()
        return web.Response(status=500)  # never sent


def _retry_after(status: int) -> dict[str, str]:
    return {"Retry-After": "1"} if status in (429, 503) else {}


async def _read(request: web.Request) -> bytes:
    """Return the inflated body; what goes beyond the limit is neither kept nor inflated."""
    encoding = request.headers.get("Content-Encoding", "identity").lower()
    if encoding not in ("gzip", "identity"):
        raise IngestionError(415, "UnsupportedMediaType", f"Content-Encoding must be gzip or absent, got {encoding!r}")
    body = bytearray()
    size = 0
    async for chunk in request.content.iter_any():
        size += len(chunk)
        if size > _DRAIN_LIMIT_BYTES:
            raise _too_large()
        if size <= BODY_LIMIT_BYTES:
            body += chunk
    if size > BODY_LIMIT_BYTES:
        raise _too_large()
    return _inflate(bytes(body)) if encoding == "gzip" else bytes(body)


def _inflate(body: bytes) -> bytes:
    inflater = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    try:
        inflated = inflater.decompress(body, BODY_LIMIT_BYTES + 1)
    except zlib.error as error:
        raise IngestionError(400, "InvalidPayload", f"the body is not gzip: {error}") from error
    if len(inflated) > BODY_LIMIT_BYTES:
        raise _too_large()
    if not inflater.eof or inflater.unused_data:
        raise IngestionError(400, "InvalidPayload", "the gzip body is cut short or followed by other bytes")
    return inflated


def _rows(body: bytes) -> list[dict[str, Any]]:
    try:
        rows = orjson.loads(body)
    except ValueError as error:
        raise IngestionError(400, "InvalidPayload", f"the body is not JSON: {error}") from error
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise IngestionError(400, "InvalidPayload", "the body must be a JSON array of objects")
    return rows


def _too_large() -> IngestionError:
    return IngestionError(413, "ContentLengthLimitExceeded", "Maximum allowed content length: 1048576 bytes (1 MB).")
