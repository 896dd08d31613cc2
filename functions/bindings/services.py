"""Builds what the functions share, once per process, when the first of them runs: no work at import."""

from __future__ import annotations

import os
import threading
from functools import lru_cache

from azure.core.credentials import TokenCredential
from azure.data.tables import TableClient
from azure.identity import ManagedIdentityCredential
from azure.monitor.ingestion import LogsIngestionClient
from azure.storage.blob import ContainerClient

from functions.adapters.dead_letter_blobs import BlobDeadLetters
from functions.adapters.log_analytics import LogAnalyticsSink
from functions.adapters.node_directory import NodeDirectory
from functions.adapters.table_state import TableStateStore
from functions.bindings.settings import Settings, read_settings
from functions.core.detector import Detector, RobustBand
from functions.core.ingest import Ingest
from functions.core.sweep import Sweep

STATES_TABLE = "NodeStates"
DEAD_LETTERS_CONTAINER = "dead-letters"


class Services:
    """Everything behind the bindings. Making it reaches out to storage; raises TransientError or SettingsError."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        credential: TokenCredential = ManagedIdentityCredential(client_id=settings.client_id)
        table, container = _storage(settings, credential)
        self.store = TableStateStore(table)
        self.directory = NodeDirectory(table)
        self.dead_letters = BlobDeadLetters(container)
        self.sink = LogAnalyticsSink(LogsIngestionClient(settings.logs_endpoint, credential), settings.logs_rule_id)
        self.detector: Detector = RobustBand()
        self.sweep = Sweep(self.store, self.sink, self.detector, silent_after_ms=settings.silent_after_ms)
        self._partitions: dict[str, tuple[Ingest, threading.Lock]] = {}
        self._lock = threading.Lock()
        self.store.create_table()
        self.dead_letters.create_container()

    def partition(self, name: str) -> tuple[Ingest, threading.Lock]:
        """The processor of one partition, and the lock to hold while it runs."""
        with self._lock:
            found = self._partitions.get(name)
            if found is None:
                ingest = Ingest(self.store, self.sink, self.dead_letters, self.detector)
                found = self._partitions[name] = (ingest, threading.Lock())
            return found


_making = threading.Lock()


def services() -> Services:
    """The process's services; made by the first caller, tried again by the next if that failed."""
    with _making:
        return _services()


@lru_cache(maxsize=1)
def _services() -> Services:
    return Services(read_settings(os.environ))


def _storage(settings: Settings, credential: TokenCredential) -> tuple[TableClient, ContainerClient]:
    storage = settings.storage
    if storage.connection_string is not None:
        return (
            TableClient.from_connection_string(storage.connection_string, STATES_TABLE),
            ContainerClient.from_connection_string(storage.connection_string, DEAD_LETTERS_CONTAINER),
        )
    assert storage.table_uri is not None and storage.blob_uri is not None
    return (
        TableClient(storage.table_uri, STATES_TABLE, credential=credential),
        ContainerClient(storage.blob_uri, DEAD_LETTERS_CONTAINER, credential=credential),
    )
