"""Where each partition of a stream has got to, kept in blobs. For the event hub listener only.

Written by Microsoft's own checkpoint store, so names (`{namespace}/{hub}/{group}/checkpoint/{partition}`) and metadata
(`offset`, `sequencenumber`) are those the real extension and every SDK use.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from azure.core.exceptions import AzureError, ResourceExistsError
from azure.eventhub.extensions.checkpointstoreblobaio import BlobCheckpointStore
from azure.storage.blob.aio import ContainerClient

CONTAINER = "azure-webjobs-eventhub"
_RETRY_SECONDS = 1.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Stream:
    """One consumer group of one event hub."""

    namespace: str
    event_hub: str
    consumer_group: str


@dataclass(frozen=True)
class Checkpoint:
    """The position of the last event that is done with."""

    offset: str
    sequence_number: int


class CheckpointStore:
    """Loads and saves the checkpoints of one stream."""

    def __init__(self, store: BlobCheckpointStore, storage: str, stream: Stream) -> None:
        self._store = store
        self._storage = storage
        self._stream = stream

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, storage: str, stream: Stream) -> AsyncIterator["CheckpointStore"]:
        """A store on the account behind the connection string; its connections close with the context."""
        async with BlobCheckpointStore.from_connection_string(storage, CONTAINER) as store:
            yield cls(store, storage, stream)

    async def load(self) -> dict[str, Checkpoint]:
        """The checkpoint of every partition that has one; makes the container where it is missing."""
        async with ContainerClient.from_connection_string(self._storage, CONTAINER) as container:
            with contextlib.suppress(ResourceExistsError):
                await container.create_container()
        stored = await self._store.list_checkpoints(
            self._stream.namespace, self._stream.event_hub, self._stream.consumer_group
        )
        return {
            entry["partition_id"]: Checkpoint(str(entry["offset"]), int(entry["sequence_number"])) for entry in stored
        }

    async def save(self, partition_id: str, checkpoint: Checkpoint) -> None:
        """Overwrite a partition's checkpoint."""
        await self._store.update_checkpoint(
            {
                "fully_qualified_namespace": self._stream.namespace,
                "eventhub_name": self._stream.event_hub,
                "consumer_group": self._stream.consumer_group,
                "partition_id": partition_id,
                "offset": checkpoint.offset,
                "sequence_number": checkpoint.sequence_number,
            }
        )


class CheckpointWriter:
    """Writes one partition's checkpoints in order, beside the pump instead of in its way.

    Only positions of finished batches are handed in, so a checkpoint that is late costs a repetition after a crash,
    never an event. While a write is under way newer positions replace each other: the last one counts.
    """

    def __init__(self, store: CheckpointStore, partition_id: str, saved: Callable[[Checkpoint], None]) -> None:
        self._store = store
        self._partition_id = partition_id
        self._saved = saved
        self._pending: Checkpoint | None = None
        self._changed = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    def advance(self, checkpoint: Checkpoint) -> None:
        """Note that everything up to here is done with."""
        self._pending = checkpoint
        self._idle.clear()
        self._changed.set()

    async def flushed(self) -> None:
        """Wait until the last noted position is stored."""
        await self._idle.wait()

    async def run(self) -> None:
        """Store positions until cancelled; an outage of the storage is waited out and logged once."""
        failing = False
        while True:
            await self._changed.wait()
            self._changed.clear()
            checkpoint = self._pending
            if checkpoint is None:
                continue
            try:
                await self._store.save(self._partition_id, checkpoint)
            except AzureError as error:
                if not failing:
                    _log.warning(
                        "checkpoint cannot be stored; trying on",
                        extra={"partition": self._partition_id, "error": str(error)},
                    )
                failing = True
                self._changed.set()
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            if failing:
                _log.info("checkpoints are stored again", extra={"partition": self._partition_id})
            failing = False
            self._saved(checkpoint)
            if self._pending is checkpoint:
                self._idle.set()
