"""One event of a partition, detached from the SDK that received it. For the event hub listener's modules."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Event:
    """An event and its position; `enqueued_time` carries a time zone, `offset` is opaque."""

    body: bytes
    sequence_number: int
    offset: str
    enqueued_time: datetime
    partition_key: str | None
    properties: Mapping[str, object]
    system_properties: Mapping[str, object]
