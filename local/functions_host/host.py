"""The host: settings, worker, listeners and HTTP put together. For its command line only."""

import asyncio
import dataclasses
import hashlib
import logging
import os
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from aiohttp import web
from azure.core.exceptions import AzureError

from local.functions_host.admin_api import AdminApi
from local.functions_host.app_settings import AppSettings
from local.functions_host.errors import HostError
from local.functions_host.event_hub_listener import EventHubListener
from local.functions_host.executor import Executor
from local.functions_host.function_keys import FunctionKeys, stored_keys
from local.functions_host.host_json import HostJson
from local.functions_host.http_listener import HttpListener
from local.functions_host.managed_identity import ManagedIdentityEndpoint
from local.functions_host.timer_listener import TimerListener
from local.functions_host.timer_status import TimerStatusBlobs
from local.functions_host.triggers import EventHubTrigger, Function, TimerTrigger, read_function
from local.functions_host.worker import Worker

STORAGE = "AzureWebJobsStorage"
_SETTLE_SECONDS = 10.0
_MAX_BODY_BYTES = 100 * 1024 * 1024
_MAX_HOST_ID = 32
_log = logging.getLogger(__name__)


class Host:
    """Runs one function app: `start`, then `stop`.

    `broken` is called when the host cannot go on, after it was logged: a function overran functionTimeout, or a
    listener ended by a fault of its own. The process must then end.
    """

    def __init__(
        self,
        app_directory: Path,
        configuration: HostJson,
        settings: AppSettings,
        broken: Callable[[], None],
    ) -> None:
        self._configuration = configuration
        self._settings = settings
        self._host_id = _host_id(app_directory, settings)
        self._worker = Worker(app_directory)
        self._executor = Executor(self._worker, configuration.function_timeout, lambda function: broken())
        self._broken = broken
        self._identity: ManagedIdentityEndpoint | None = None
        self._listeners: list[EventHubListener | TimerListener] = []
        self._listening: list[asyncio.Task[None]] = []
        self._functions: dict[str, Function] = {}
        self._runner: web.AppRunner | None = None
        self._started = time.monotonic()

    async def start(self, address: str, port: int) -> int:
        """Load the app, serve HTTP, start the listeners; the port that HTTP is served on.

        Listeners whose broker or storage is not there go on trying; what is wrong with the app or its settings raises.
        """
        token = self._settings.get("LOCAL_IDENTITY_TOKEN")
        if token is not None:
            self._identity = ManagedIdentityEndpoint(token)
            await self._identity.start(os.environ)
        metadata = await self._worker.start()
        self._functions = {entry.name: read_function(entry, self._settings) for entry in metadata}
        self._listeners = [listener for function in self._functions.values() for listener in self._listener(function)]
        bound = await self._serve(address, port, await self._keys())
        self._listening = [asyncio.create_task(listener.run()) for listener in self._listeners]
        for task in self._listening:
            task.add_done_callback(self._listener_ended)
        await self._listeners_settle()
        return bound

    async def stop(self, grace: float) -> None:
        """Start nothing more, give what runs `grace` seconds, store where it got to."""
        self._executor.stop()
        await asyncio.gather(*(listener.stop(grace) for listener in self._listeners))
        for task in self._listening:
            task.cancel()
        await asyncio.gather(*self._listening, return_exceptions=True)
        if self._runner is not None:
            await self._runner.cleanup()
        if self._identity is not None:
            await self._identity.stop()
        self._worker.stop()

    def status(self) -> Mapping[str, object]:
        """The status document: the real host's fields, and where every function and partition has got to."""
        return {
            "id": self._host_id,
            "state": "Stopping" if self._executor.is_stopping else "Running",
            "version": "4.local",
            "processUptime": round((time.monotonic() - self._started) * 1000),
            "functions": {
                name: dataclasses.asdict(self._executor.counts[name]) | {"disabled": function.disabled}
                for name, function in self._functions.items()
            },
            "partitions": [
                dataclasses.asdict(partition)
                for listener in self._listeners
                if isinstance(listener, EventHubListener)
                for partition in listener.partitions
            ],
        }

    def _listener(self, function: Function) -> list[EventHubListener | TimerListener]:
        trigger = function.trigger
        if function.disabled:
            return []
        if isinstance(trigger, EventHubTrigger):
            storage = self._settings.connection_string(STORAGE)
            return [EventHubListener(function, trigger, self._configuration.event_hubs, self._executor, storage)]
        if isinstance(trigger, TimerTrigger):
            storage = self._settings.connection_string(STORAGE)
            return [TimerListener(function, trigger, self._executor, TimerStatusBlobs(storage, self._host_id))]
        return []

    async def _serve(self, address: str, port: int, keys: FunctionKeys) -> int:
        http = self._configuration.http
        listener = HttpListener(self._functions.values(), http.route_prefix, http.custom_headers, keys, self._executor)
        application = web.Application(client_max_size=_MAX_BODY_BYTES)
        application.add_routes(AdminApi(self._functions, keys, self._executor, self.status).routes())
        application.router.add_route("*", "/{path:.*}", listener.handle)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, address, port).start()
        return int(self._runner.addresses[0][1])

    async def _keys(self) -> FunctionKeys:
        """Keys from the environment where both are set, else from the secrets blob; the environment wins."""
        master = self._settings.get("LOCAL_FUNCTIONS_MASTER_KEY")
        host = self._settings.get("LOCAL_FUNCTIONS_HOST_KEY")
        if master is not None and host is not None:
            return FunctionKeys(master, [host])
        storage = self._settings.connection_string(STORAGE)
        try:
            stored = await stored_keys(storage, self._host_id)
        except AzureError as error:
            raise HostError(
                f"{STORAGE} is out of reach, so the function keys cannot be read: {error}; start Azurite, "
                "or set LOCAL_FUNCTIONS_MASTER_KEY and LOCAL_FUNCTIONS_HOST_KEY"
            ) from error
        return FunctionKeys(master or stored.master, [host] if host else stored.host)

    def _listener_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("a listener failed; the host ends", exc_info=error)
            self._broken()

    async def _listeners_settle(self) -> None:
        """Wait until every listener is attached or has met its first failure, within reason."""
        try:
            async with asyncio.timeout(_SETTLE_SECONDS):
                await asyncio.gather(*(listener.settled.wait() for listener in self._listeners))
        except TimeoutError:
            _log.warning("listeners are still starting", extra={"seconds": _SETTLE_SECONDS})


def _host_id(app_directory: Path, settings: AppSettings) -> str:
    """What the blobs of this app are filed under: set by the user, else stable for the directory."""
    given = settings.get("AzureFunctionsWebHost__hostid") or settings.get("WEBSITE_SITE_NAME")
    if given:
        return given.lower()[:_MAX_HOST_ID].rstrip("-")
    path = app_directory.resolve()
    name = re.sub(r"[^a-z0-9]+", "-", path.name.lower()).strip("-")[: _MAX_HOST_ID - 9]
    return f"{name or 'app'}-{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
