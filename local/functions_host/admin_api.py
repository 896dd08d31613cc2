"""The host's own HTTP interface under /admin. For the host's server only."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime

from aiohttp import web

from local.functions_host.event import Event
from local.functions_host.event_inputs import batch_inputs, single_inputs
from local.functions_host.executor import Executor
from local.functions_host.function_keys import AccessLevel, FunctionKeys
from local.functions_host.http_listener import caller_level, http_inputs
from local.functions_host.timer_listener import timer_inputs
from local.functions_host.triggers import EventHubTrigger, Function, HttpTrigger
from local.functions_host.worker import Inputs

type Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class AdminApi:
    """Status and manual runs, for holders of the master key; only ping is open."""

    def __init__(
        self,
        functions: Mapping[str, Function],
        keys: FunctionKeys,
        executor: Executor,
        status: Callable[[], Mapping[str, object]],
    ) -> None:
        self._functions = functions
        self._keys = keys
        self._executor = executor
        self._status = status
        self._runs: set[asyncio.Task[object]] = set()

    def routes(self) -> list[web.RouteDef]:
        """Every path under /admin, unknown ones included, so that no function can hide there."""
        return [
            web.route("*", "/admin/host/ping", self._ping),
            web.get("/admin/host/status", self._guarded(self._host_status)),
            web.get("/admin/functions", self._guarded(self._list)),
            web.get("/admin/functions/{name}", self._guarded(self._describe)),
            web.post("/admin/functions/{name}", self._guarded(self._run)),
            web.route("*", "/admin{rest:(/.*)?}", self._guarded(self._unknown)),
        ]

    def _guarded(self, handler: Handler) -> Handler:
        async def guard(request: web.Request) -> web.StreamResponse:
            if caller_level(request, self._keys) < AccessLevel.ADMIN:
                return web.Response(status=401)
            return await handler(request)

        return guard

    async def _ping(self, request: web.Request) -> web.Response:
        return web.Response()

    async def _unknown(self, request: web.Request) -> web.Response:
        return web.Response(status=404)

    async def _host_status(self, request: web.Request) -> web.Response:
        return web.json_response(self._status())

    async def _list(self, request: web.Request) -> web.Response:
        return web.json_response([_description(function) for function in self._functions.values()])

    async def _describe(self, request: web.Request) -> web.Response:
        function = self._functions.get(request.match_info["name"])
        return web.Response(status=404) if function is None else web.json_response(_description(function))

    async def _run(self, request: web.Request) -> web.Response:
        """Start a run with the given input and answer at once; its outcome shows in logs and status."""
        function = self._functions.get(request.match_info["name"])
        if function is None:
            return web.Response(status=404)
        try:
            document = await request.json() if request.can_read_body else {}
            text = document.get("input") or ""
            inputs = _manual_inputs(function, text.encode())
        except (ValueError, AttributeError):
            return web.Response(status=400, text='expected a JSON object {"input": "TEXT"}')
        run: asyncio.Task[object] = asyncio.create_task(self._executor.run(function, inputs))
        self._runs.add(run)
        run.add_done_callback(self._runs.discard)
        return web.Response(status=202)


def _description(function: Function) -> Mapping[str, object]:
    return {"name": function.name, "isDisabled": function.disabled, "config": {"bindings": function.bindings}}


def _manual_inputs(function: Function, body: bytes) -> Inputs:
    trigger = function.trigger
    if isinstance(trigger, HttpTrigger):
        return http_inputs(trigger, "POST", f"/admin/functions/{function.name}", body)
    if isinstance(trigger, EventHubTrigger):
        event = Event(body, 0, "0", datetime.now(UTC), None, {}, {})
        if trigger.many:
            return batch_inputs(trigger, "0", [event], checkpointing=False)
        return single_inputs(trigger, "0", event, checkpointing=False)
    return timer_inputs(trigger, None, past_due=False)
