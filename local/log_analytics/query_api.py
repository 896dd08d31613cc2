"""The Log Analytics query API: one query, the same by GET, and batches. Handlers only, no state of its own."""

import asyncio
import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import orjson
from aiohttp import web

from local.log_analytics.errors import QueryError, ServiceError, bad_query
from local.log_analytics.query_runner import QueryRunner

DEFAULT_LIMIT_SECONDS = 180.0
LONGEST_LIMIT_SECONDS = 600.0

#: The service runs five queries of a user at a time; this machine is smaller.
_CONCURRENT_QUERIES = 4
_BATCH_LIMIT = 100

_WAIT = re.compile(r"\bwait=(\d+)")


class QueryApi:
    """Routes of the query API for one workspace."""

    def __init__(self, runner: QueryRunner, workspace_id: str, *, limit_seconds: float = DEFAULT_LIMIT_SECONDS) -> None:
        self._runner = runner
        self._workspace_id = workspace_id.lower()
        self._limit_seconds = limit_seconds
        self._threads = ThreadPoolExecutor(_CONCURRENT_QUERIES, thread_name_prefix="query")

    def routes(self) -> list[web.RouteDef]:
        """Return the routes to add to an application."""
        return [
            web.post("/v1/workspaces/{workspace}/query", self._post),
            web.get("/v1/workspaces/{workspace}/query", self._get, allow_head=False),
            web.post("/v1/$batch", self._batch),
        ]

    def close(self) -> None:
        """Drop queries that have not started."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _post(self, request: web.Request) -> web.Response:
        body = await _json_object(request)
        answer = await self._answer(request.match_info["workspace"], body, request.headers.get("Prefer", ""))
        return web.Response(body=answer, content_type="application/json")

    async def _get(self, request: web.Request) -> web.Response:
        answer = await self._answer(request.match_info["workspace"], request.query, request.headers.get("Prefer", ""))
        return web.Response(body=answer, content_type="application/json")

    async def _batch(self, request: web.Request) -> web.Response:
        requests = (await _json_object(request)).get("requests")
        if not isinstance(requests, list) or not all(isinstance(entry, dict) for entry in requests):
            raise bad_query("BadArgumentError", "'requests' must be an array of objects")
        if len(requests) > _BATCH_LIMIT:
            raise bad_query("BadArgumentError", f"a batch holds at most {_BATCH_LIMIT} queries")
        responses = await asyncio.gather(*(self._batch_entry(entry) for entry in requests))
        return web.Response(body=b'{"responses":[' + b",".join(responses) + b"]}", content_type="application/json")

    async def _batch_entry(self, entry: Mapping[str, Any]) -> bytes:
        headers = entry.get("headers") or {}
        try:
            if entry.get("path", "/query") != "/query":
                raise QueryError(404, "PathNotFoundError", "The requested path does not exist")
            status = 200
            body = await self._answer(
                str(entry.get("workspace", "")), entry.get("body") or {}, str(headers.get("Prefer", ""))
            )
        except ServiceError as error:
            status, body = error.status, orjson.dumps(error.body())
        identity: dict[str, Any] = {"id": entry.get("id"), "status": status, "headers": {}}
        return orjson.dumps({**identity, "body": orjson.Fragment(body)})

    async def _answer(self, workspace: str, body: Mapping[str, Any], prefer: str) -> bytes:
        if workspace.lower() != self._workspace_id:
            raise QueryError(404, "PathNotFoundError", "The requested path does not exist")
        query, timespan = body.get("query"), body.get("timespan")
        if not isinstance(query, str) or not query.strip():
            raise bad_query("BadArgumentError", "'query' must be a text that is not empty")
        if not isinstance(timespan, str | None):
            raise bad_query("BadArgumentError", f"'timespan' must be a text, got {type(timespan).__name__}")
        wait = _WAIT.search(prefer)
        limit = min(float(wait[1]), LONGEST_LIMIT_SECONDS) if wait else self._limit_seconds
        loop = asyncio.get_running_loop()
        execution = await loop.run_in_executor(
            self._threads, lambda: self._runner.run(query, timespan or None, limit_seconds=limit)
        )
        answer: dict[str, Any] = {"tables": [orjson.Fragment(execution.result.table)]}
        if "include-statistics=true" in prefer:
            answer["statistics"] = {"query": {"executionTime": execution.seconds}}
        if execution.result.partial:
            answer["error"] = execution.result.partial
        return orjson.dumps(answer)


async def _json_object(request: web.Request) -> dict[str, Any]:
    try:
        body = orjson.loads(await request.read())
    except ValueError as error:
        raise bad_query("BadArgumentError", f"the body is not JSON: {error}") from error
    if not isinstance(body, dict):
        raise bad_query("BadArgumentError", "the body must be a JSON object")
    return body
