"""Turns HTTP requests into invocations and their results into responses. For the host's server only."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from aiohttp import web

from local.functions_host.errors import BindingError
from local.functions_host.executor import Executor
from local.functions_host.function_keys import AccessLevel, FunctionKeys
from local.functions_host.messages import TypedData
from local.functions_host.route_template import RouteTemplate
from local.functions_host.triggers import Function, HttpTrigger
from local.functions_host.worker import Inputs

_SAME_SITE = {1: "Lax", 2: "Strict", 3: "None"}
_NOT_FOUND, _UNAUTHORIZED, _FAILED, _EMPTY = 404, 401, 500, 204
_RESERVED = "admin"


@dataclass(frozen=True)
class _Route:
    template: RouteTemplate
    function: Function
    trigger: HttpTrigger


def caller_level(request: web.Request, keys: FunctionKeys) -> AccessLevel:
    """What the request's key opens: header x-functions-key, else query parameter code."""
    return keys.level(request.headers.get("x-functions-key") or request.query.get("code"))


class HttpListener:
    """Serves the app's HTTP functions under their routes."""

    def __init__(
        self,
        functions: Iterable[Function],
        route_prefix: str,
        custom_headers: Mapping[str, str],
        keys: FunctionKeys,
        executor: Executor,
    ) -> None:
        self._routes = _routes(functions, route_prefix)
        self._custom_headers = custom_headers
        self._keys = keys
        self._executor = executor

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer any request outside /admin; 404 where no function has this path and method, as the real host does."""
        for route in self._routes:
            parameters = route.template.match(request.rel_url.raw_path)
            allowed = not route.trigger.methods or request.method in route.trigger.methods
            if parameters is not None and allowed:
                response = await self._invoke(request, route, parameters)
                response.headers.update(self._custom_headers)
                return response
        return web.Response(status=_NOT_FOUND)

    async def _invoke(self, request: web.Request, route: _Route, parameters: dict[str, str]) -> web.Response:
        if caller_level(request, self._keys) < AccessLevel[route.trigger.auth_level.upper()]:
            return web.Response(status=_UNAUTHORIZED)
        inputs = http_inputs(
            route.trigger,
            request.method,
            str(request.url),
            await request.read(),
            headers=_joined((name.lower(), value) for name, value in request.headers.items()),
            query={name: value for name, value in _joined(request.query.items()).items() if value},
            parameters=parameters,
        )
        result = await self._executor.run_once(route.function, inputs)
        if result is None or result.failure is not None:
            return web.Response(status=_FAILED)
        return _response(result.return_value)


def http_inputs(
    trigger: HttpTrigger,
    method: str,
    url: str,
    body: bytes,
    headers: Mapping[str, str] | None = None,
    query: Mapping[str, str] | None = None,
    parameters: Mapping[str, str] | None = None,
) -> Inputs:
    """The HttpRequest a function gets."""
    http = SimpleNamespace(
        method=method,
        url=url,
        headers=headers or {},
        params=parameters or {},
        query=query or {},
        body=TypedData(bytes=body) if body else TypedData(),
    )
    return Inputs({trigger.parameter: TypedData(http=http)})


def _routes(functions: Iterable[Function], route_prefix: str) -> Sequence[_Route]:
    routes = []
    for function in functions:
        if isinstance(function.trigger, HttpTrigger) and not function.disabled:
            path = "/".join(part for part in (route_prefix, function.trigger.route.strip("/")) if part)
            if path.split("/")[0].lower() == _RESERVED:
                raise BindingError(f"function {function.name}: route {path!r} is reserved for the host")
            try:
                routes.append(_Route(RouteTemplate(path), function, function.trigger))
            except ValueError as error:
                raise BindingError(f"function {function.name}: {error}") from error
    return sorted(routes, key=lambda route: route.template.precedence)


def _joined(items: Iterable[tuple[str, str]]) -> dict[str, str]:
    """One value per name; the real host joins repeated ones with a comma."""
    joined: dict[str, str] = {}
    for name, value in items:
        joined[name] = f"{joined[name]},{value}" if name in joined else value
    return joined


def _response(returned: TypedData | None) -> web.Response:
    kind = returned.WhichOneof("data") if returned is not None else None
    if returned is None or kind is None:
        return web.Response(status=_EMPTY)
    if kind == "string":
        return web.Response(text=returned.string)
    http = returned.http
    try:
        status = int(http.status_code)
    except ValueError:
        return web.Response(status=_FAILED)
    response = web.Response(status=status, body=http.body.bytes, headers=http.headers)
    for cookie in http.cookies or ():
        _set_cookie(response, cookie)
    return response


def _set_cookie(response: web.Response, cookie: Any) -> None:
    expires = cookie.expires.value.ToDatetime() if cookie.expires else None
    max_age = int(cookie.max_age.value) if cookie.max_age else None
    response.set_cookie(
        cookie.name,
        cookie.value,
        domain=cookie.domain.value or None if cookie.domain else None,
        path=cookie.path.value or "/" if cookie.path else "/",
        expires=expires.strftime("%a, %d %b %Y %H:%M:%S GMT") if expires else None,
        max_age=max_age,
        secure=bool(cookie.secure and cookie.secure.value) or None,
        httponly=bool(cookie.http_only and cookie.http_only.value) or None,
        samesite=_SAME_SITE.get(cookie.same_site),
    )
