"""Who may call what: master and host keys, and the levels they open. For the host only."""

import contextlib
import enum
import json
import secrets
from collections.abc import Collection
from dataclasses import dataclass

from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError
from azure.storage.blob.aio import ContainerClient

from local.functions_host.errors import HostError

CONTAINER = "azure-webjobs-secrets"
_KEY_BYTES = 40


class AccessLevel(enum.IntEnum):
    """What a caller may do; values of a binding's authLevel compare with it."""

    ANONYMOUS = 0
    FUNCTION = 1
    ADMIN = 2


@dataclass(frozen=True)
class FunctionKeys:
    """The master key, which opens everything, and host keys, which open every function."""

    master: str
    host: Collection[str]

    def level(self, key: str | None) -> AccessLevel:
        """What a key opens; comparing takes the same time however much of it fits."""
        if not key:
            return AccessLevel.ANONYMOUS
        if _equal(key, self.master):
            return AccessLevel.ADMIN
        if any(_equal(key, host) for host in self.host):
            return AccessLevel.FUNCTION
        return AccessLevel.ANONYMOUS


def _equal(given: str, expected: str) -> bool:
    return secrets.compare_digest(given.encode(), expected.encode())


async def stored_keys(storage: str, host_id: str) -> FunctionKeys:
    """The keys in the host's secrets blob, which is made with random ones where it is missing."""
    name = f"{host_id}/host.json"
    async with ContainerClient.from_connection_string(storage, CONTAINER) as container:
        with contextlib.suppress(ResourceExistsError):
            await container.create_container()
        try:
            document = json.loads(await (await container.download_blob(name)).readall())
        except ResourceNotFoundError:
            document = _new_document()
            await container.upload_blob(name, json.dumps(document, indent=2), overwrite=True)
        except ValueError as error:
            raise HostError(f"blob {CONTAINER}/{name} is no JSON: {error}; delete it to get new keys") from error
    try:
        return FunctionKeys(document["masterKey"]["value"], [key["value"] for key in document["functionKeys"]])
    except (KeyError, TypeError) as error:
        raise HostError(f"blob {CONTAINER}/{name} lacks {error}; delete it to get new keys") from error


def _new_document() -> dict[str, object]:
    def key(name: str) -> dict[str, object]:
        return {"name": name, "value": secrets.token_urlsafe(_KEY_BYTES), "encrypted": False}

    return {
        "masterKey": key("master"),
        "functionKeys": [key("default")],
        "systemKeys": [],
        "source": "runtime",
    }
