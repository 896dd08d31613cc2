"""What is known about one partition of one function, for the status document. For the event hub listener's modules."""

from dataclasses import dataclass

from local.functions_host.worker import Failure


@dataclass
class PartitionStatus:
    """What the status document tells about a partition.

    `attempts` counts the ended attempts at the current batch; `state` is connecting, receiving or stolen.
    """

    function: str
    event_hub: str
    consumer_group: str
    partition: str
    state: str = "connecting"
    last_sequence_number: int | None = None
    checkpointed_sequence_number: int | None = None
    attempts: int = 0
    last_error: str | None = None
    succeeded: int = 0
    failed: int = 0

    def attempted(self, number: int, failure: Failure | None) -> None:
        """Note an ended attempt at the current batch."""
        self.attempts = number
        if failure is None:
            self.succeeded += 1
        else:
            self.failed += 1
            self.last_error = failure.message
