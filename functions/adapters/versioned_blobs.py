"""What detectors and models know, in Blob Storage: one container per kind, every blob guarded by its ETag."""

from __future__ import annotations

from typing import Any

from azure.core import MatchConditions
from azure.core.exceptions import AzureError, HttpResponseError
from azure.storage.blob import ContainerClient, StorageErrorCode

from functions.core.ports import StoredState
from telemetry.errors import StateConflict, StoreUnavailable

_UNCHANGED = 304
_CONFLICTS = frozenset({404, 409, 412})


class ContainerBlobs:
    """`functions.core.ports.VersionedBlobs` on one container."""

    def __init__(self, container: ContainerClient) -> None:
        self._container = container

    def create_container(self) -> None:
        """Makes the container if it is not there. Raises StoreUnavailable."""
        try:
            self._container.create_container()
        except HttpResponseError as error:
            if error.status_code != 409:
                raise StoreUnavailable(
                    f"cannot make the container {self._container.container_name}: {error.message}"
                ) from error
        except AzureError as error:
            raise StoreUnavailable(f"cannot make the container {self._container.container_name}: {error}") from error

    def load(self, name: str, *, unless: str | None = None) -> StoredState | None:
        """Reads a blob; see `VersionedBlobs.load`."""
        condition: dict[str, Any] = {}
        if unless is not None:
            condition = {"etag": unless, "match_condition": MatchConditions.IfModified}
        try:
            found = self._container.download_blob(name, **condition)
            return StoredState(found.readall(), found.properties.etag)
        except AzureError as error:
            if getattr(error, "status_code", None) == _UNCHANGED:
                return None
            if _code(error) == StorageErrorCode.BLOB_NOT_FOUND:
                return StoredState(None, None)
            raise StoreUnavailable(f"cannot read {self._container.container_name}/{name}: {error}") from error

    def save(self, name: str, blob: bytes, expected_version: str | None) -> str:
        """Writes a blob over the version expected; see `VersionedBlobs.save`."""
        condition: dict[str, Any] = {"overwrite": False}
        if expected_version is not None:
            condition = {
                "overwrite": True,
                "etag": expected_version,
                "match_condition": MatchConditions.IfNotModified,
            }
        try:
            return str(self._container.get_blob_client(name).upload_blob(blob, **condition)["etag"])
        except AzureError as error:
            is_conflict = getattr(error, "status_code", None) in _CONFLICTS
            if is_conflict and _code(error) != StorageErrorCode.CONTAINER_NOT_FOUND:
                raise StateConflict([(self._container.container_name, name)]) from error
            raise StoreUnavailable(f"cannot write {self._container.container_name}/{name}: {error}") from error


def _code(error: AzureError) -> str | None:
    return getattr(error, "error_code", None)
