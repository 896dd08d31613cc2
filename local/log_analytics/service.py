"""The stand-in's web application: both APIs behind one token check, status, faults, the timer that applies rows."""

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from hmac import compare_digest
from pathlib import Path

import orjson
from aiohttp import web
from aiohttp.typedefs import Handler

from local.log_analytics.errors import IngestionError, QueryError, ServiceError
from local.log_analytics.faults import FaultInjector, FaultSettings
from local.log_analytics.ingestion_api import IngestionApi
from local.log_analytics.kql_engine import KqlEngine, load_functions
from local.log_analytics.logs import log
from local.log_analytics.query_api import DEFAULT_LIMIT_SECONDS, QueryApi
from local.log_analytics.query_runner import QueryRunner
from local.log_analytics.schema import load_rule, load_tables
from local.log_analytics.store import LogStore
from local.log_analytics.throttle import Throttle

DEFAULT_WORKSPACE_ID = "00000000-0000-0000-0000-000000000001"

_APPLY_EVERY_SECONDS = 1.0


@dataclass(frozen=True)
class Settings:
    """What the command line says."""

    data: Path
    tables: Path
    dcr: Path
    functions: Path
    token: str | None = None
    workspace_id: str = DEFAULT_WORKSPACE_ID
    faults: bool = False
    memory_limit: str = "512MB"
    threads: int = 2
    requests_per_minute: int = 12_000
    bytes_per_minute: int = 2 * 1024**3
    query_limit_seconds: float = DEFAULT_LIMIT_SECONDS


class Service:
    """Everything behind the port."""

    def __init__(self, settings: Settings) -> None:
        """Open the workspace, applying what an earlier process acknowledged; SchemaError for bad files."""
        tables = load_tables(settings.tables)
        rule = load_rule(settings.dcr, tables)
        engine = KqlEngine(tables, load_functions(settings.functions))
        self.store = LogStore(
            settings.data,
            tables,
            rule,
            memory_limit=settings.memory_limit,
            threads=settings.threads,
            transforms=engine.transform,
        )
        self._settings = settings
        self._faults = FaultInjector()
        self._requests: defaultdict[str, Counter[int]] = defaultdict(Counter)
        throttle = Throttle(settings.requests_per_minute, settings.bytes_per_minute, time.monotonic)
        self._ingestion = IngestionApi(self.store, rule, throttle, self._faults)
        self._runner = QueryRunner(self.store, engine, tables)
        self._queries = QueryApi(
            self._runner,
            settings.workspace_id,
            limit_seconds=settings.query_limit_seconds,
        )

    def application(self) -> web.Application:
        """Return the application; its clean-up applies what waits and closes the store."""
        application = web.Application(middlewares=[self._answer], client_max_size=4 * 1024 * 1024)
        application.add_routes(self._ingestion.routes())
        application.add_routes(self._queries.routes())
        application.add_routes([web.get("/status", self._status)])
        if self._settings.faults:
            application.add_routes([web.get("/faults", self._show_faults), web.post("/faults", self._order_faults)])
        application.on_shutdown.append(self._stop_queries)
        application.cleanup_ctx.append(self._background)
        return application

    @web.middleware
    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Check the token, turn refusals into the service's JSON, count statuses."""
        api = "query" if request.path.startswith("/v1/") else "ingestion"
        if request.path in ("/status", "/faults"):
            return await handler(request)
        try:
            self._authorize(request, api)
            response = await handler(request)
        except ServiceError as error:
            response = web.json_response(error.body(), status=error.status, headers=error.headers)
        except web.HTTPException as error:
            response = web.json_response(
                ServiceError(error.status, "PathNotFoundError", error.reason).body(), status=error.status
            )
        except Exception as error:
            log("request_failed", path=request.path, error=repr(error))
            response = web.json_response(ServiceError(500, "UnknownError", str(error)).body(), status=500)
        self._requests[api][response.status] += 1
        return response

    def _authorize(self, request: web.Request, api: str) -> None:
        header = request.headers.get("Authorization", "")
        scheme, _, token = header.partition(" ")
        expected = self._settings.token
        if scheme.lower() == "bearer" and token:
            if expected is None or compare_digest(token.strip().encode(), expected.encode()):
                return
            if api == "query":
                raise QueryError(403, "InvalidAuthenticationToken", "The access token is invalid.")
            raise IngestionError(401, "Unauthorized", "The access token is invalid.")
        message = "Authentication failed. The 'Authorization' header is missing."
        if api == "query":
            raise QueryError(401, "AuthenticationFailed", message)
        raise IngestionError(401, "Unauthorized", message)

    async def _status(self, _: web.Request) -> web.Response:
        return _json(
            {
                "tables": await asyncio.to_thread(self.store.row_counts),
                "pending_bytes": self.store.pending_bytes,
                "requests": {
                    api: {str(status): count for status, count in counts.items()}
                    for api, counts in self._requests.items()
                },
            }
        )

    async def _show_faults(self, _: web.Request) -> web.Response:
        return _json(self._faults.report())

    async def _order_faults(self, request: web.Request) -> web.Response:
        try:
            self._faults.order(FaultSettings.parse(orjson.loads(await request.read())))
        except ValueError as error:
            return _json({"error": {"code": "InvalidFaults", "message": str(error)}}, status=400)
        log("faults_ordered", **self._faults.report())
        return _json(self._faults.report())

    async def _background(self, _: web.Application) -> AsyncIterator[None]:
        timer = asyncio.create_task(self._apply_regularly())
        yield
        timer.cancel()
        with suppress(asyncio.CancelledError):
            await timer
        await asyncio.to_thread(self.store.close)

    async def _stop_queries(self, _: web.Application) -> None:
        self._queries.close()
        self._runner.interrupt()

    async def _apply_regularly(self) -> None:
        while True:
            await asyncio.sleep(_APPLY_EVERY_SECONDS)
            try:
                await asyncio.to_thread(self.store.apply_pending)
            except Exception as error:  # rows stay in the write-ahead log; the next round tries again
                log("apply_failed", error=str(error), pending_bytes=self.store.pending_bytes)


def _json(document: object, status: int = 200) -> web.Response:
    return web.Response(
        body=orjson.dumps(document, option=orjson.OPT_NON_STR_KEYS), status=status, content_type="application/json"
    )
