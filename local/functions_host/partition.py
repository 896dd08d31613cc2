"""One partition of one function's event hub, from broker to checkpoint. For the event hub listener only."""

import asyncio
import contextlib
from datetime import datetime

from azure.eventhub.aio import EventHubConsumerClient

from local.functions_host.checkpoints import Checkpoint, CheckpointStore, CheckpointWriter
from local.functions_host.event_buffer import EventBuffer
from local.functions_host.executor import Executor
from local.functions_host.host_json import EventHubOptions
from local.functions_host.partition_pump import PartitionPump
from local.functions_host.partition_receiver import PartitionReceiver
from local.functions_host.partition_status import PartitionStatus
from local.functions_host.triggers import EventHubTrigger, Function

_FLUSH_SECONDS = 2.0


class Partition:
    """A receiver that fills a buffer, a pump that empties it, a writer that remembers how far it got."""

    def __init__(
        self,
        partition_id: str,
        function: Function,
        trigger: EventHubTrigger,
        options: EventHubOptions,
        executor: Executor,
        client: EventHubConsumerClient,
        store: CheckpointStore,
        checkpoint: Checkpoint | None,
    ) -> None:
        self.status = PartitionStatus(function.name, trigger.event_hub, trigger.consumer_group, partition_id)
        self._position: str | datetime = options.starting_position
        if checkpoint is not None:
            self._position = checkpoint.offset
            self._checkpointed(checkpoint)
        credit = options.prefetch_count or options.max_event_batch_size
        self._buffer = EventBuffer(max(credit, options.min_event_batch_size))
        self._receiver = PartitionReceiver(client, self.status, self._buffer, credit)
        self._writer = CheckpointWriter(store, partition_id, self._checkpointed)
        self._pump = PartitionPump(
            function, trigger, options, executor, self._buffer, self._writer, self.status
        )  # fmt: skip
        self._pumping: asyncio.Task[None] | None = None
        self._others: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Begin to receive and to pump; returns once the partition is attached or the first attempt has failed."""
        self._pumping = asyncio.create_task(self._pump.run())
        self._others = [
            asyncio.create_task(self._receiver.run(self._position)),
            asyncio.create_task(self._writer.run()),
        ]
        await self._receiver.settled.wait()

    async def run(self) -> None:
        """Wait until stopped; raises what went wrong inside, which is a fault of the host itself."""
        assert self._pumping is not None, "start comes first"
        ended, _ = await asyncio.wait({self._pumping, *self._others}, return_when=asyncio.FIRST_EXCEPTION)
        for task in ended:
            if not task.cancelled():
                task.result()

    async def stop(self, grace: float) -> None:
        """Take no more events, give a running batch `grace` seconds, store its checkpoint, let go."""
        self._buffer.close()
        if self._pumping is not None:
            await asyncio.wait({self._pumping}, timeout=grace)
            self._pumping.cancel()
            await asyncio.gather(self._pumping, return_exceptions=True)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FLUSH_SECONDS):
                await self._writer.flushed()
        for task in self._others:
            task.cancel()
        await asyncio.gather(*self._others, return_exceptions=True)

    def _checkpointed(self, checkpoint: Checkpoint) -> None:
        self.status.checkpointed_sequence_number = checkpoint.sequence_number
