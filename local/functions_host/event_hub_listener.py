"""Listens to an event hub for one function: all its partitions, with checkpoints. For the host only."""

import asyncio
import logging

from azure.core.exceptions import AzureError
from azure.eventhub.aio import EventHubConsumerClient
from azure.eventhub.exceptions import EventHubError

from local.functions_host.checkpoints import Checkpoint, CheckpointStore, Stream
from local.functions_host.event_hub_link import open_client
from local.functions_host.executor import Executor
from local.functions_host.host_json import EventHubOptions
from local.functions_host.partition import Partition
from local.functions_host.partition_receiver import backoff
from local.functions_host.partition_status import PartitionStatus
from local.functions_host.triggers import EventHubTrigger, Function

_REQUEST_TIMEOUT_SECONDS = 30.0
_log = logging.getLogger(__name__)


class EventHubListener:
    """Pumps every partition of the function's event hub, one batch at a time each.

    There is no load balancing: this host owns all partitions. A second host takes them over (same owner level, as in
    the service the last to attach wins), and the first lets go.
    """

    def __init__(
        self,
        function: Function,
        trigger: EventHubTrigger,
        options: EventHubOptions,
        executor: Executor,
        storage: str,
    ) -> None:
        self._function = function
        self._trigger = trigger
        self._options = options
        self._executor = executor
        self._storage = storage
        self._partitions: list[Partition] = []
        self.settled = asyncio.Event()

    @property
    def partitions(self) -> list[PartitionStatus]:
        """The state of every partition, in order; empty until the event hub was reached."""
        return [partition.status for partition in self._partitions]

    async def run(self) -> None:
        """Listen until cancelled; an event hub or storage that is not there yet is waited for.

        `settled` is set once every partition is attached, or the first attempt to get there has failed.
        """
        trigger = self._trigger
        stream = Stream(trigger.namespace, trigger.event_hub, trigger.consumer_group)
        async with open_client(trigger) as client, CheckpointStore.open(self._storage, stream) as store:
            partition_ids, checkpoints = await self._reach(client, store)
            self._partitions = [
                Partition(
                    partition_id, self._function, trigger, self._options, self._executor, client, store,
                    checkpoints.get(partition_id),
                )
                for partition_id in partition_ids
            ]  # fmt: skip
            await asyncio.gather(*(partition.start() for partition in self._partitions))
            self.settled.set()
            await asyncio.gather(*(partition.run() for partition in self._partitions))

    async def stop(self, grace: float) -> None:
        """Take no more events, give running batches `grace` seconds, store their checkpoints."""
        await asyncio.gather(*(partition.stop(grace) for partition in self._partitions))

    async def _reach(
        self, client: EventHubConsumerClient, store: CheckpointStore
    ) -> tuple[list[str], dict[str, Checkpoint]]:
        """The partitions and where to go on in them, however long the broker or the storage takes to be there."""
        for wait in backoff():
            try:
                async with asyncio.timeout(_REQUEST_TIMEOUT_SECONDS):
                    return sorted(await client.get_partition_ids(), key=int), await store.load()
            except (EventHubError, AzureError, TimeoutError) as error:
                if not self.settled.is_set():
                    _log.warning(
                        "event hub or storage is out of reach; trying on",
                        extra={
                            "function": self._function.name,
                            "event_hub": self._trigger.event_hub,
                            "error": f"{type(error).__name__}: {error}",
                        },
                    )
                self.settled.set()
            await asyncio.sleep(wait)
        raise AssertionError("backoff never ends")
