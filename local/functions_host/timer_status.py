"""When each timer ran and is due, kept in blobs under the real host's names. For the timer listener only."""

import contextlib
import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError
from azure.storage.blob.aio import ContainerClient

from local.functions_host.timer_schedule import Schedule

CONTAINER = "azure-webjobs-hosts"
NEVER = datetime.min.replace(tzinfo=UTC)  # .NET's default(DateTime), which the real host writes for "not yet"


@dataclass(frozen=True)
class TimerStatus:
    """The last run, the next due time, and when this was noted; times in UTC."""

    last: datetime
    next: datetime
    last_updated: datetime

    def as_json(self) -> dict[str, str]:
        """The three times under the names the real host gives them."""
        return {
            "Last": self.last.isoformat(),
            "Next": self.next.isoformat(),
            "LastUpdated": self.last_updated.isoformat(),
        }

    def adjusted(self, schedule: Schedule, now: datetime) -> "TimerStatus":
        """The status under a schedule that may have changed since; a new schedule is never past due at once."""
        basis = self.last if self.last != NEVER else self.last_updated
        expected = schedule.next_after(basis if basis != NEVER else now)
        if expected == self.next:
            return self
        return replace(self, next=expected if expected > now else schedule.next_after(now), last_updated=now)


class TimerStatusBlobs:
    """Loads and saves timer statuses of one host."""

    def __init__(self, storage: str, host_id: str) -> None:
        self._storage = storage
        self._host_id = host_id

    async def load(self, function: str) -> TimerStatus | None:
        """The timer's status, None where it never had one or what is there is unreadable."""
        async with self._container() as container:
            try:
                download = await container.download_blob(self._name(function))
                fields = json.loads(await download.readall())
                return TimerStatus(*(_utc(fields[name]) for name in ("Last", "Next", "LastUpdated")))
            except (ResourceNotFoundError, ValueError, KeyError, TypeError):
                return None

    async def save(self, function: str, status: TimerStatus) -> None:
        """Overwrite the timer's status."""
        async with self._container() as container:
            with contextlib.suppress(ResourceExistsError):
                await container.create_container()
            await container.upload_blob(self._name(function), json.dumps(status.as_json()), overwrite=True)

    def _container(self) -> ContainerClient:
        return ContainerClient.from_connection_string(self._storage, CONTAINER)

    def _name(self, function: str) -> str:
        return f"timers/{self._host_id}/Host.Functions.{function}/status"


def _utc(text: str) -> datetime:
    time = datetime.fromisoformat(text)
    return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
