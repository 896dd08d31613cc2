"""The stand-in's web application: access, the Summary, faults."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

from aiohttp import web

from local.kubelet.access import Access, Denied
from local.kubelet.faults import Fault, FaultOrder

_CPU_AND_MEMORY = frozenset({"podRef", "startTime", "containers", "cpu", "memory"})


class Service:
    """Answers GET /stats/summary to whom `access` lets; the document is `document(now)`."""

    def __init__(self, document: Callable[[float], bytes], access: Access, *, faults: bool = False) -> None:
        self._document = document
        self._access = access
        self._allow_faults = faults
        self._order = FaultOrder()
        self.requests = 0
        self.connections: set[int] = set()

    def application(self) -> web.Application:
        """Gives the application."""
        application = web.Application()
        application.add_routes([web.get("/stats/summary", self._summary)])
        if self._allow_faults:
            application.add_routes([web.get("/faults", self._show), web.post("/faults", self._take)])
        return application

    async def _summary(self, request: web.Request) -> web.StreamResponse:
        self.requests += 1
        self.connections.add(id(request.transport))
        try:
            self._access.check(request.headers.get("Authorization", ""))
        except Denied as denied:
            return web.Response(status=denied.status, text=str(denied))
        document = self._document(time.time())
        if request.query.get("only_cpu_and_memory") == "true":
            document = _only_cpu_and_memory(document)
        return await self._answer(request, document)

    async def _answer(self, request: web.Request, document: bytes) -> web.StreamResponse:
        order = self._order
        if order.fault is Fault.STATUS:
            return web.Response(status=order.status, text="as ordered")
        if order.fault is Fault.SLOW:
            await asyncio.sleep(order.seconds)
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        if order.fault is Fault.TRUNCATED:
            response.content_length = len(document)
        else:
            response.enable_chunked_encoding()  # as the kubelet does with all but the smallest
        await response.prepare(request)
        if order.fault in (Fault.TRUNCATED, Fault.CUT):
            await response.write(document[: len(document) // 2])
            await asyncio.sleep(0.05)
            assert request.transport is not None
            request.transport.abort()
            return response
        for part in _parts(document, order):
            await response.write(part)
            if order.fault is Fault.TRICKLE:
                await asyncio.sleep(order.seconds / 50)
        await response.write_eof()
        return response

    async def _show(self, _: web.Request) -> web.Response:
        return web.json_response({"requests": self.requests, "connections": len(self.connections)})

    async def _take(self, request: web.Request) -> web.Response:
        try:
            self._order = FaultOrder.parse(await request.json())
        except ValueError as error:
            return web.Response(status=400, text=str(error))
        return web.Response(status=204)


def _parts(document: bytes, order: FaultOrder) -> list[bytes]:
    if order.fault is Fault.TRICKLE:
        size = len(document) // 50 + 1
        return [document[at : at + size] for at in range(0, len(document), size)]
    if order.fault is Fault.HUGE:
        return [b" " * 2**20] * order.mebibytes + [document]
    return [document]


def _only_cpu_and_memory(document: bytes) -> bytes:
    summary: dict[str, Any] = json.loads(document)
    pods = [{key: value for key, value in pod.items() if key in _CPU_AND_MEMORY} for pod in summary["pods"]]
    return json.dumps({"node": summary["node"], "pods": pods}).encode()
