"""The broker: opens the event hubs, listens, keeps retention, stops cleanly.

Tests and `__main__` import it; nothing else does.
"""

import asyncio
import contextlib
import fcntl
import logging
import os
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from local.event_hubs.connection import Connection
from local.event_hubs.errors import CONNECTION_FORCED, AmqpError
from local.event_hubs.faults import Faults
from local.event_hubs.hub import Hub, SettingsError, open_hub
from local.event_hubs.partition_log import Retention
from local.event_hubs.session import Namespace

_log = logging.getLogger(__name__)
_STOP_SECONDS = 0.5


@dataclass(frozen=True)
class BrokerSettings:
    """What a broker serves, where it keeps it, and for how long.

    hubs: partition count by name. key: the SAS key; None lets every token pass. retention_bytes: per partition.
    fsync: survive the machine losing power, not only the process being killed. idle_timeout: seconds; a client
    silent for twice as long is disconnected.
    """

    data: Path
    hubs: Mapping[str, int]
    host: str = "127.0.0.1"
    port: int = 0
    consumer_groups: tuple[str, ...] = ()
    key: str | None = None
    retention_hours: float = 168.0
    retention_bytes: int = 256 * 1024 * 1024
    fsync: bool = False
    max_message_size: int = 1024 * 1024
    idle_timeout: float = 240.0
    retention_check_seconds: float = 30.0


@dataclass
class Broker:
    """A running broker: `async with Broker(settings) as broker` serves until the block ends."""

    settings: BrokerSettings
    faults: Faults = field(default_factory=Faults)

    async def __aenter__(self) -> "Broker":
        """Open the hubs and listen. Raises SettingsError."""
        with contextlib.ExitStack() as opened:
            await self._open(opened)
            self._opened = opened.pop_all()
        self._retention = asyncio.create_task(self._keep_retention())
        return self

    async def _open(self, opened: contextlib.ExitStack) -> None:
        settings = self.settings
        opened.callback(os.close, _lock(settings.data))
        retention = Retention(int(settings.retention_hours * 3_600_000), settings.retention_bytes)
        hubs: dict[str, Hub] = {}
        for name, count in settings.hubs.items():
            hub = open_hub(settings.data, name, count, settings.consumer_groups, retention, fsync=settings.fsync)
            opened.callback(hub.close)
            hubs[name.lower()] = hub
        self._namespace = Namespace(hubs, self.faults, settings.key, settings.max_message_size, settings.idle_timeout)
        self._connections: set[Connection] = set()
        container_id = f"event-hubs-{uuid.uuid4().hex[:8]}"
        try:
            self._server = await asyncio.get_running_loop().create_server(
                lambda: Connection(self._namespace, self._connections, container_id),
                settings.host,
                settings.port,
                backlog=128,
            )
        except OSError as error:
            raise SettingsError(
                f"cannot listen on {settings.host}:{settings.port}: {error.strerror}; choose another --port, or 0 "
                "for a free one"
            ) from error
        self.port: int = self._server.sockets[0].getsockname()[1]

    async def __aexit__(self, *_: object) -> None:
        """Say goodbye to the clients and close the files."""
        self._retention.cancel()
        self._server.close()
        for connection in list(self._connections):
            connection.fail(AmqpError(CONNECTION_FORCED, "The broker is shutting down."))
        deadline = asyncio.get_running_loop().time() + _STOP_SECONDS
        while self._connections and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.01)
        self._server.abort_clients()
        await asyncio.sleep(0)
        self._opened.close()

    @property
    def connection_string(self) -> str:
        """What a client connects with, as for Microsoft's emulator."""
        key = self.settings.key or "SAS_KEY_VALUE"
        return (
            f"Endpoint=sb://localhost:{self.port};SharedAccessKeyName=RootManageSharedAccessKey;"
            f"SharedAccessKey={key};UseDevelopmentEmulator=true;"
        )

    def status(self) -> dict[str, Any]:
        """Return what `GET /status` answers."""
        return {
            "connections": len(self._connections),
            "hubs": {
                hub.name: {"partitions": {partition.id: partition.status() for partition in hub.partitions}}
                for hub in self._namespace.hubs.values()
            },
        }

    async def _keep_retention(self) -> None:
        while True:
            for hub in self._namespace.hubs.values():
                try:
                    hub.enforce_retention()
                except OSError as error:
                    _log.error("retention failed", extra={"hub": hub.name, "reason": str(error)})
            await asyncio.sleep(self.settings.retention_check_seconds)


def _lock(data: Path) -> int:
    """Return a lock on the data directory: two brokers would tear each other's segments."""
    data.mkdir(parents=True, exist_ok=True)
    lock = os.open(data / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    with contextlib.ExitStack() as on_failure:
        on_failure.callback(os.close, lock)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise SettingsError(f"{data} is in use by another broker; stop it, or choose another --data") from error
        on_failure.pop_all()
    return lock
