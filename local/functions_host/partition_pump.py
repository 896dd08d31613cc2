"""Hands one partition's events to the function. For the event hub listener only."""

from collections.abc import Iterator, Sequence

from local.functions_host.checkpoints import Checkpoint, CheckpointWriter
from local.functions_host.event import Event
from local.functions_host.event_buffer import EventBuffer
from local.functions_host.event_inputs import batch_inputs, single_inputs
from local.functions_host.executor import Executor, Outcome
from local.functions_host.host_json import EventHubOptions
from local.functions_host.partition_status import PartitionStatus
from local.functions_host.triggers import EventHubTrigger, Function
from local.functions_host.worker import Inputs


class PartitionPump:
    """Hands the buffered events to the function, batch after batch, and checkpoints whatever the outcome."""

    def __init__(
        self,
        function: Function,
        trigger: EventHubTrigger,
        options: EventHubOptions,
        executor: Executor,
        buffer: EventBuffer,
        checkpoints: CheckpointWriter,
        status: PartitionStatus,
    ) -> None:
        self._function = function
        self._trigger = trigger
        self._options = options
        self._executor = executor
        self._buffer = buffer
        self._checkpoints = checkpoints
        self._status = status

    async def run(self) -> None:
        """Run batches until the buffer closes or the host stops."""
        options = self._options
        batches = 0
        while events := await self._buffer.take(
            options.min_event_batch_size, options.max_event_batch_size, options.max_wait_seconds
        ):
            batches += 1
            checkpointing = batches % options.batch_checkpoint_frequency == 0
            for inputs, last in self._inputs(events, checkpointing):
                self._status.attempts = 0
                self._status.last_sequence_number = last.sequence_number
                outcome = await self._executor.run(self._function, inputs, self._status.attempted)
                if outcome is Outcome.INTERRUPTED or self._status.state == "stolen":
                    return  # unfinished, or no longer ours to judge: whoever reads on gets these events again
            if checkpointing:
                self._checkpoints.advance(Checkpoint(events[-1].offset, events[-1].sequence_number))

    def _inputs(self, events: Sequence[Event], checkpointing: bool) -> Iterator[tuple[Inputs, Event]]:
        """The inputs of each invocation and the last event in them; one at a time, the partition stays in order."""
        partition = self._status.partition
        if self._trigger.many:
            yield batch_inputs(self._trigger, partition, events, checkpointing), events[-1]
            return
        for event in events:
            yield single_inputs(self._trigger, partition, event, checkpointing), event
