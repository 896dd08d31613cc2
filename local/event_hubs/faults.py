"""Faults that the broker injects into itself when chaos tests ask for them; none unless configured.

Only this package may import it. Every choice comes from one seeded generator, every injected fault is counted.
"""

import random
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from local.event_hubs.errors import RESOURCE_LIMIT_EXCEEDED, SERVER_BUSY, AmqpError

_LEAST = {"server_busy_seconds": 1, "drop_connection_after_bytes": 2}


@dataclass(frozen=True)
class FaultSettings:
    """What goes wrong, and how often. Ratios are of deliveries (a single event, or a batch).

    duplicate_ratio: stored twice, as if the sender had retried.
    server_busy_ratio: rejected with com.microsoft:server-busy, not stored.
    server_busy_seconds: how long such a rejection asks to wait; without it, it does not say.
    quota_exceeded_ratio: rejected with amqp:resource-limit-exceeded, not stored.
    unacknowledged_ratio: stored, but the connection is cut before the sender learns of it.
    drop_connection_after_bytes: every connection opened from now on is cut in mid-frame, after half to one and a
    half times as many bytes, counted over both directions.
    """

    duplicate_ratio: float = 0.0
    server_busy_ratio: float = 0.0
    server_busy_seconds: int | None = None
    quota_exceeded_ratio: float = 0.0
    unacknowledged_ratio: float = 0.0
    drop_connection_after_bytes: int | None = None
    seed: int = 0


@dataclass
class FaultCounters:
    """What has been injected since the broker started."""

    duplicated_deliveries: int = 0
    duplicated_events: int = 0
    server_busy_rejections: int = 0
    quota_exceeded_rejections: int = 0
    unacknowledged_deliveries: int = 0
    unacknowledged_events: int = 0
    dropped_connections: int = 0


class Faults:
    """Decides, delivery by delivery and connection by connection, whether something goes wrong."""

    def __init__(self) -> None:
        self.settings = FaultSettings()
        self.counters = FaultCounters()
        self._random = random.Random(0)

    def configure(self, document: object) -> None:
        """Replace all settings by a JSON document's; what it leaves out is off. Raises ValueError, changing nothing."""
        self.settings = _settings(document)
        self._random = random.Random(self.settings.seed)

    def state(self) -> dict[str, Any]:
        """Return what `GET /faults` answers."""
        return {**asdict(self.settings), "injected": asdict(self.counters)}

    def rejection(self) -> AmqpError | None:
        """Return what to reject this delivery with, or None."""
        if self._hits(self.settings.server_busy_ratio):
            self.counters.server_busy_rejections += 1
            seconds = self.settings.server_busy_seconds
            wish = "Retry." if seconds is None else f"Please wait {seconds} seconds and try again."
            return AmqpError(SERVER_BUSY, f"The server is busy (injected fault). {wish}")
        if self._hits(self.settings.quota_exceeded_ratio):
            self.counters.quota_exceeded_rejections += 1
            return AmqpError(RESOURCE_LIMIT_EXCEEDED, "A quota of the namespace is exceeded (injected fault).")
        return None

    def duplicates(self, events: int) -> bool:
        """Return whether to store this delivery of so many events twice."""
        hit = self._hits(self.settings.duplicate_ratio)
        self.counters.duplicated_deliveries += hit
        self.counters.duplicated_events += events if hit else 0
        return hit

    def loses_acknowledgement(self, events: int) -> bool:
        """Return whether to cut the connection instead of acknowledging this delivery of so many events."""
        hit = self._hits(self.settings.unacknowledged_ratio)
        self.counters.unacknowledged_deliveries += hit
        self.counters.unacknowledged_events += events if hit else 0
        return hit

    def connection_lifetime_bytes(self) -> int | None:
        """Return after how many bytes to cut a connection that opens now."""
        after = self.settings.drop_connection_after_bytes
        return None if after is None else self._random.randint(after // 2, after + after // 2)

    def count_dropped_connection(self) -> None:
        """Count a connection cut in mid-frame."""
        self.counters.dropped_connections += 1

    def _hits(self, ratio: float) -> bool:
        return ratio > 0 and self._random.random() < ratio


def _settings(document: object) -> FaultSettings:
    if not isinstance(document, Mapping):
        raise ValueError(f"faults must be a JSON object, got {document!r:.100}")
    known = asdict(FaultSettings())
    for name, value in document.items():
        if name not in known:
            raise ValueError(f"{name!r:.100} is no fault; there are {', '.join(known)}")
        if name.endswith("_ratio"):
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
                raise ValueError(f"{name} must be a number from 0 to 1, got {value!r:.100}")
        elif name == "seed":
            if type(value) is not int:
                raise ValueError(f"seed must be an integer, got {value!r:.100}")
        elif value is not None and (type(value) is not int or value < _LEAST[name]):
            raise ValueError(f"{name} must be null or an integer of at least {_LEAST[name]}, got {value!r:.100}")
    return FaultSettings(**document)
