"""The token endpoint a Functions sandbox offers, so that ManagedIdentityCredential works unchanged. For the host only.

Protocol: App Service managed identity, api-version 2019-08-01. The token handed out is the one in the environment; what
accepts it is up to the local services.
"""

import secrets
import time
from collections.abc import MutableMapping

from aiohttp import web

_API_VERSION = "2019-08-01"
_LIFETIME_SECONDS = 3600
_PATH = "/msi/token"


class ManagedIdentityEndpoint:
    """Hands one fixed token to whoever knows the process's identity header."""

    def __init__(self, token: str) -> None:
        self._token = token
        self._header = secrets.token_hex(16)
        application = web.Application()
        application.router.add_get(_PATH, self._give)
        self._runner = web.AppRunner(application, access_log=None)

    async def start(self, environment: MutableMapping[str, str]) -> None:
        """Listen on a free loopback port and announce it as the sandbox does."""
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        port = self._runner.addresses[0][1]
        environment["IDENTITY_ENDPOINT"] = f"http://127.0.0.1:{port}{_PATH}"
        environment["IDENTITY_HEADER"] = self._header

    async def stop(self) -> None:
        """Close the port."""
        await self._runner.cleanup()

    async def _give(self, request: web.Request) -> web.Response:
        given = request.headers.get("X-IDENTITY-HEADER", "")
        if not secrets.compare_digest(given.encode(), self._header.encode()):
            return _refusal(401, "X-IDENTITY-HEADER must carry the value of IDENTITY_HEADER")
        resource = request.query.get("resource")
        if not resource:
            return _refusal(400, "query parameter resource is missing; it names what the token is for")
        version = request.query.get("api-version")
        if version != _API_VERSION:
            return _refusal(400, f"api-version must be {_API_VERSION}, got {version!r}")
        return web.json_response(
            {
                "access_token": self._token,
                "expires_on": str(int(time.time()) + _LIFETIME_SECONDS),
                "resource": resource,
                "token_type": "Bearer",
                "client_id": request.query.get("client_id", "00000000-0000-0000-0000-000000000000"),
            }
        )


def _refusal(status: int, message: str) -> web.Response:
    return web.json_response({"statusCode": status, "message": message}, status=status)
