"""The pod's own identity, for the SDK's asyncio client. For the publisher, when no connection string is set."""

from __future__ import annotations

import asyncio
import os
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from azure.core.credentials import AccessToken, TokenCredential

TIMEOUT = 10
"""Seconds to connect to Entra, and seconds for its answer: a thread that waits longer waits for nothing."""
_OPTIONS: dict[str, Any] = {"connection_timeout": TIMEOUT, "read_timeout": TIMEOUT, "retry_total": 1}


class PodIdentity:
    """A credential of azure-identity whose tokens are fetched in a thread: one an hour, or fewer.

    azure-identity has credentials for asyncio, too, but they bring aiohttp, which takes 8 MiB of the node's memory and
    10 MiB of the image.
    """

    def __init__(self, credential: TokenCredential | None = None) -> None:
        """Without a credential: the pod's workload identity; on a developer's machine what azure-identity finds."""
        self._credential: Any = credential or _find()

    async def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        """Gives a token, from the credential's cache while it is good. Raises what the credential raises."""
        token: AccessToken = await asyncio.to_thread(self._credential.get_token, *scopes, **options)
        return token

    async def close(self) -> None:
        """Closes the credential's connections."""
        self._credential.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        await self.close()


def _find() -> TokenCredential:
    from azure.identity import DefaultAzureCredential, WorkloadIdentityCredential

    if os.environ.get("AZURE_FEDERATED_TOKEN_FILE"):
        return WorkloadIdentityCredential(**_OPTIONS)
    return DefaultAzureCredential(**_OPTIONS)
