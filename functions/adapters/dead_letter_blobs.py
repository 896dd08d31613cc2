"""Dead letters in Blob Storage: the raw bytes, and the reason in the blob's metadata.

Names begin with the time counted backwards, so that listing by name shows the newest first; they are the same
every time the same event is put.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from urllib.parse import quote, unquote

from azure.core.exceptions import AzureError, HttpResponseError
from azure.storage.blob import ContainerClient, StorageErrorCode

from functions.adapters import continuation as tokens
from functions.core.ports import DeadLetter
from functions.core.rows import blob_name
from telemetry.errors import SinkUnavailable, StoreUnavailable


@dataclass(frozen=True, slots=True)
class DeadLetterSummary:
    """One line of the list of dead letters."""

    name: str
    reason: str
    detail: str
    size: int
    enqueued_ms: int
    event_hub: str
    partition: str
    sequence: int


class BlobDeadLetters:
    """`functions.core.ports.DeadLetters` on one container, and the list of what lies there."""

    def __init__(self, container: ContainerClient) -> None:
        self._container = container
        self._threads = ThreadPoolExecutor(8, thread_name_prefix="dead-letters")

    def create_container(self) -> None:
        """Makes the container if it is not there. Raises SinkUnavailable."""
        try:
            self._container.create_container()
        except HttpResponseError as error:
            if error.status_code != 409:
                raise SinkUnavailable(f"cannot make the container of dead letters: {error.message}") from error
        except AzureError as error:
            raise SinkUnavailable(f"cannot make the container of dead letters: {error}") from error

    def put(self, letters: Iterable[DeadLetter]) -> None:
        """Keeps every letter; overwriting is harmless, because a name stands for one event for ever."""
        for outcome in [self._threads.submit(self._put, letter) for letter in letters]:
            outcome.result()

    def _put(self, letter: DeadLetter) -> None:
        # Quoted whole: HTTP strips and folds spaces in headers, and a signature over them would no longer match.
        detail = quote(letter.error.detail[:512], safe="", errors="replace")
        metadata = {"reason": letter.error.reason.value, "detail": detail}
        try:
            self._container.upload_blob(blob_name(letter), letter.event.raw, overwrite=True, metadata=metadata)
        except AzureError as error:
            raise SinkUnavailable(f"cannot keep the dead letter {blob_name(letter)}: {error}") from error

    def page(self, *, limit: int, continuation: str | None) -> tuple[list[DeadLetterSummary], str | None]:
        """At most `limit` letters, newest first, and the token of the next page.

        Raises BadContinuation for a token that no page gave, StoreUnavailable otherwise.
        """
        token = tokens.decode(continuation, "Marker")
        try:
            pages = self._container.list_blobs(include=["metadata"], results_per_page=limit).by_page(
                token["Marker"] if token else None
            )
            found = [_summary(blob.name, blob.size, blob.metadata or {}) for blob in next(iter(pages), ())]
        except AzureError as error:
            if continuation and isinstance(error, HttpResponseError) and error.status_code == 400:
                raise tokens.BadContinuation(continuation) from error
            raise StoreUnavailable(f"cannot list dead letters: {error}") from error
        marker: str | None = pages.continuation_token  # type: ignore[attr-defined]
        return found, tokens.encode({"Marker": marker} if marker else None)

    def raw(self, name: str) -> bytes | None:
        """The bytes of a letter; None if there is none of this name. Raises StoreUnavailable."""
        try:
            return self._container.download_blob(name).readall()
        except AzureError as error:
            if getattr(error, "error_code", None) == StorageErrorCode.BLOB_NOT_FOUND:
                return None
            raise StoreUnavailable(f"cannot read the dead letter {name}: {error}") from error


def _summary(name: str, size: int, metadata: Mapping[str, str | None]) -> DeadLetterSummary:
    backwards, event_hub, partition, sequence = name.split("/")
    return DeadLetterSummary(
        name,
        metadata.get("reason") or "",
        unquote(metadata.get("detail") or ""),
        size,
        9_999_999_999_999 - int(backwards),
        event_hub,
        partition,
        int(sequence),
    )
