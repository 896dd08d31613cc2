"""An event hub: its partitions, who receives from them, and who may.

Only this package may import it. A receiver with an epoch (the SDK's owner level) is alone in its consumer group
and partition: it disconnects all others, and later ones need the same epoch or a higher one. Without epochs, five
receivers may share a partition.
"""

import asyncio
import json
import re
import time
from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any, Protocol

from local.event_hubs.errors import (
    ARGUMENT_OUT_OF_RANGE,
    LINK_STOLEN,
    NOT_FOUND,
    RESOURCE_LIMIT_EXCEEDED,
    SERVER_BUSY,
    AmqpError,
)
from local.event_hubs.messages import StoredEvent
from local.event_hubs.partition_hash import partition_for_key
from local.event_hubs.partition_log import PartitionLog, Retention

MAX_PARTITIONS = 32
MAX_RECEIVERS_WITHOUT_EPOCH = 5
DEFAULT_CONSUMER_GROUP = "$default"
_HUB_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,254}[A-Za-z0-9])?")


class SettingsError(ValueError):
    """A setting cannot be used; the message says which, why, and what would do."""


class Receiver(Protocol):
    """What a partition knows of a link that reads from it."""

    epoch: int | None

    def wake(self) -> None:
        """Send what there is to send."""

    def steal(self, error: AmqpError) -> None:
        """Stop: another receiver has taken the partition over."""


class Partition:
    """One partition: its log and its receivers."""

    def __init__(self, partition_id: str, log: PartitionLog) -> None:
        self.id = partition_id
        self.log = log
        self.receivers: dict[str, list[Receiver]] = {}
        self._wake_scheduled = False

    def append(self, events: Sequence[StoredEvent]) -> None:
        """Store all events or none, and let the receivers know soon. Raises AmqpError if they cannot be stored."""
        try:
            self.log.append(events)
        except OSError as error:
            raise AmqpError(SERVER_BUSY, f"The events cannot be stored: {error.strerror}. Retry.") from error
        if self.receivers and not self._wake_scheduled:
            # Soon, not now: the deliveries that arrived together go out together.
            self._wake_scheduled = True
            asyncio.get_running_loop().call_soon(self._wake)

    def _wake(self) -> None:
        self._wake_scheduled = False
        for receivers in list(self.receivers.values()):
            for receiver in list(receivers):
                receiver.wake()

    def add(self, receiver: Receiver, consumer_group: str) -> None:
        """Let a receiver in, disconnecting those whose epoch it overrules. Raises AmqpError if it is overruled."""
        others = self.receivers.get(consumer_group, [])
        highest = max((other.epoch for other in others if other.epoch is not None), default=None)
        if highest is not None and (receiver.epoch is None or receiver.epoch < highest):
            raise AmqpError(
                LINK_STOLEN,
                f"New receiver with epoch '{receiver.epoch}' cannot be created: a receiver with epoch '{highest}' "
                f"already exists on partition {self.id} of consumer group {consumer_group}.",
            )
        if receiver.epoch is None and len(others) >= MAX_RECEIVERS_WITHOUT_EPOCH:
            raise AmqpError(
                RESOURCE_LIMIT_EXCEEDED,
                "Exceeded the maximum number of allowed receivers per partition in a consumer group, which is "
                f"{MAX_RECEIVERS_WITHOUT_EPOCH}.",
            )
        if receiver.epoch is not None:
            for other in list(others):
                self.remove(other, consumer_group)
                other.steal(
                    AmqpError(
                        LINK_STOLEN,
                        f"New receiver with epoch '{receiver.epoch}' is created, hence the current receiver with "
                        f"epoch '{other.epoch}' is getting disconnected.",
                    )
                )
        self.receivers.setdefault(consumer_group, []).append(receiver)

    def remove(self, receiver: Receiver, consumer_group: str) -> None:
        """Forget a receiver; one that is not there is no error."""
        receivers = self.receivers.get(consumer_group, [])
        if receiver in receivers:
            receivers.remove(receiver)
        if not receivers:
            self.receivers.pop(consumer_group, None)

    def status(self) -> dict[str, Any]:
        """Return what `GET /status` says of this partition."""
        return {
            "begin_sequence_number": self.log.begin_sequence,
            "last_sequence_number": self.log.next_sequence - 1,
            "bytes": self.log.size_bytes,
            "segments": self.log.segment_count,
            "receivers": {group: len(receivers) for group, receivers in sorted(self.receivers.items())},
        }


class Hub:
    """An event hub that exists; its partition count is fixed at creation."""

    def __init__(
        self, name: str, created_ms: int, partitions: Sequence[Partition], consumer_groups: Sequence[str]
    ) -> None:
        self.name = name
        self.created_ms = created_ms
        self.partitions = partitions
        self.consumer_groups = {DEFAULT_CONSUMER_GROUP, *(group.lower() for group in consumer_groups)}
        self._round_robin = cycle(partitions)

    def partition(self, partition_id: str) -> Partition:
        """Return a partition. Raises AmqpError if there is none of this id."""
        for partition in self.partitions:
            if partition.id == partition_id:
                return partition
        raise AmqpError(
            ARGUMENT_OUT_OF_RANGE,
            f"The specified partition '{partition_id:.50}' is invalid for an EventHub partition. "
            f"It should be between 0 and {len(self.partitions) - 1}.",
        )

    def partition_for(self, partition_key: str | None) -> Partition:
        """Return the partition of a key, or without one the next in turn."""
        if partition_key is None:
            return next(self._round_robin)
        return self.partitions[partition_for_key(partition_key, len(self.partitions))]

    def consumer_group(self, name: str) -> str:
        """Return a consumer group's canonical name. Raises AmqpError if there is none of this name."""
        if name.lower() in self.consumer_groups:
            return name.lower()
        raise AmqpError(
            NOT_FOUND,
            f"The messaging entity '{self.name}/consumergroups/{name:.100}' could not be found. "
            f"There are: {', '.join(sorted(self.consumer_groups))}.",
        )

    def enforce_retention(self) -> None:
        """Delete what is too old."""
        for partition in self.partitions:
            partition.log.enforce_retention()

    def close(self) -> None:
        """Close the partitions' files."""
        for partition in self.partitions:
            partition.log.close()


def open_hub(
    root: Path,
    name: str,
    partition_count: int,
    consumer_groups: Sequence[str],
    retention: Retention,
    *,
    fsync: bool = False,
) -> Hub:
    """Open the event hub `name` under `root`, creating it if it is not there. Raises SettingsError."""
    if not _HUB_NAME.fullmatch(name):
        raise SettingsError(
            f"hub name must be 1-256 letters, digits, '.', '_' or '-' with a letter or digit at both ends, "
            f"got {name!r}; change --hub"
        )
    if not 1 <= partition_count <= MAX_PARTITIONS:
        raise SettingsError(
            f"partition count of hub {name!r} must be 1-{MAX_PARTITIONS}, got {partition_count}; change --hub"
        )
    directory = root / name.lower()
    created_ms = _created(directory, name, partition_count)
    segment_bytes = max(min(8 * 1024 * 1024, retention.max_bytes // 8), 64 * 1024)
    partitions = [
        Partition(
            str(number),
            PartitionLog(
                directory / str(number), retention, unix_milliseconds, segment_bytes=segment_bytes, fsync=fsync
            ),
        )
        for number in range(partition_count)
    ]
    return Hub(name, created_ms, partitions, consumer_groups)


def unix_milliseconds() -> int:
    """Return the time."""
    return time.time_ns() // 1_000_000


def _created(directory: Path, name: str, partition_count: int) -> int:
    """Return when the hub was created, now if it was not yet. Raises SettingsError on another partition count."""
    file = directory / "hub.json"
    if not file.exists():
        directory.mkdir(parents=True, exist_ok=True)
        created = {"name": name, "partitions": partition_count, "created_ms": unix_milliseconds()}
        temporary = file.with_suffix(".new")
        temporary.write_text(json.dumps(created) + "\n")
        temporary.replace(file)
    existing: Mapping[str, Any] = json.loads(file.read_text())
    if existing["partitions"] != partition_count:
        raise SettingsError(
            f"hub {name!r} has {existing['partitions']} partitions, got {partition_count}; the count is fixed at "
            f"creation: use --hub {name}:{existing['partitions']}, or delete {directory} and all its events"
        )
    return int(existing["created_ms"])
