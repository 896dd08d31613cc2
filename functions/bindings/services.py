"""Builds what the functions share, once per process, when the first of them runs: no work at import.

How long a call to a service may take is set here. The SDKs' defaults repeat for minutes (a Blob call waits 15 s before
it tries again) and sleep as long as a Retry-After header says, inside a function that must end within functionTimeout;
but whatever fails is repeated anyway: batches by the trigger's retry policy, which waits longer each time, the sweep
by its schedule, HTTP by its caller. So the SDKs only bridge a hiccup: at most three attempts of 5 s to connect and
15 s without a byte, some seconds between them, about a minute in all for the slowest. What is sent with POST (rows,
transactions) is not repeated by them when no answer came.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from azure.core.credentials import TokenCredential
from azure.core.pipeline import PipelineResponse
from azure.core.pipeline.policies import RetryPolicy
from azure.data.tables import TableClient
from azure.identity import ManagedIdentityCredential
from azure.monitor.ingestion import LogsIngestionClient
from azure.monitor.query import LogsQueryClient
from azure.storage.blob import ContainerClient

from functions.adapters.dead_letter_blobs import BlobDeadLetters
from functions.adapters.history import LogAnalyticsHistory
from functions.adapters.kql_files import kql
from functions.adapters.log_analytics import LogAnalyticsSink
from functions.adapters.maintenance_table import TableMaintenanceCalendar
from functions.adapters.node_directory import NodeDirectory
from functions.adapters.served_model import ServedModel
from functions.adapters.table_state import TableStateStore
from functions.adapters.versioned_blobs import ContainerBlobs
from functions.bindings.settings import Settings, read_settings
from functions.core.fleet_model.registry import Registry
from functions.core.fleet_model.upkeep import Upkeep
from functions.core.forecast.demand import FORECASTS_BLOB, DemandForecast
from functions.core.forecast.demand_memory import NewestForecasts
from functions.core.forecast.exhaustion_watch import ExhaustionWatch
from functions.core.ingest import Ingest
from functions.core.sweep import Sweep
from functions.core.watch import Watch

STATES_TABLE = "NodeStates"
MAINTENANCE_TABLE = "MaintenanceWindows"
DEAD_LETTERS_CONTAINER = "dead-letters"
DETECTOR_STATES_CONTAINER = "detector-states"
FORECAST_STATES_CONTAINER = "forecast-states"
FLEET_MODELS_CONTAINER = "fleet-models"

log = logging.getLogger("services")

TIME_LIMITS: dict[str, Any] = {"connection_timeout": 5, "read_timeout": 15}
RETRIES: dict[str, Any] = {"retry_total": 2, "retry_backoff_factor": 0.5}
BLOB_RETRIES: dict[str, Any] = {"retry_total": 2, "initial_backoff": 0, "increment_base": 1, "random_jitter_range": 1}
LONGEST_RETRY_AFTER = 5.0
QUERY_READ_TIMEOUT = 190
"""Seconds; the service itself gives a query up after 180."""


class PromptRetry(RetryPolicy[Any, Any]):
    """Waits no longer than some seconds however long the service asks for; the trigger's own retries wait longer."""

    def get_retry_after(self, response: PipelineResponse[Any, Any]) -> float | None:
        """What Retry-After says, within bounds."""
        asked = super().get_retry_after(response)
        return None if asked is None else min(asked, LONGEST_RETRY_AFTER)


@dataclass(slots=True)
class Partition:
    """What is kept of one partition between its batches."""

    ingest: Ingest
    lock: threading.Lock = field(default_factory=threading.Lock)
    """Held while a batch runs."""
    untold_runs: list[bytes] = field(default_factory=list)
    """Rows of runs whose batch is committed and that Log Analytics has not accepted yet."""


class Services:
    """Everything behind the bindings. Making it reaches out to storage; raises TransientError or SettingsError."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        credential: TokenCredential = ManagedIdentityCredential(client_id=settings.client_id, **TIME_LIMITS, **RETRIES)
        tables, containers = _storage(settings, credential)
        self.store = TableStateStore(tables(STATES_TABLE))
        self.directory = NodeDirectory(tables(STATES_TABLE))
        self.calendar = TableMaintenanceCalendar(tables(MAINTENANCE_TABLE), log.error)
        self.dead_letters = BlobDeadLetters(containers(DEAD_LETTERS_CONTAINER))
        self.detector_states = ContainerBlobs(containers(DETECTOR_STATES_CONTAINER))
        self.forecast_states = ContainerBlobs(containers(FORECAST_STATES_CONTAINER))
        self.fleet_models = ContainerBlobs(containers(FLEET_MODELS_CONTAINER))
        logs = LogsIngestionClient(
            settings.logs_endpoint, credential, retry_policy=PromptRetry(**RETRIES), **TIME_LIMITS
        )
        self.sink = LogAnalyticsSink(logs, settings.logs_rule_id)
        queries = LogsQueryClient(
            credential,
            endpoint=settings.query_endpoint,
            retry_policy=PromptRetry(**RETRIES),
            connection_timeout=TIME_LIMITS["connection_timeout"],
            read_timeout=QUERY_READ_TIMEOUT,
        )
        self.history = LogAnalyticsHistory(queries, settings.workspace_id)
        self.sweep = Sweep(self.store, self.sink, self.calendar, silent_after_ms=settings.silent_after_ms)
        self.demand = DemandForecast(self.history, kql, self.forecast_states, self.sink)
        self.forecasts = NewestForecasts(self.forecast_states, FORECASTS_BLOB)
        self.exhaustion = ExhaustionWatch(self.history, kql, self.forecast_states, self.sink, self.calendar)
        self._partitions: dict[str, Partition] = {}
        self._lock = threading.Lock()
        self.store.create_table()
        self.calendar.create_table()
        self.dead_letters.create_container()
        self.detector_states.create_container()
        self.forecast_states.create_container()
        self.fleet_models.create_container()
        self.fleet_model = ServedModel(Registry(self.fleet_models))
        self.fleet_model()  # begins to read it, so that the first batch may have it already

    def partition(self, name: str) -> Partition:
        """What is kept of one partition; made when its first batch comes."""
        with self._lock:
            found = self._partitions.get(name)
            if found is None:
                watch = Watch(self.detector_states, name=name)
                ingest = Ingest(self.store, self.sink, self.dead_letters, watch, self.calendar, self.fleet_model)
                found = self._partitions[name] = Partition(ingest)
            return found

    def upkeep(self) -> Upkeep:
        """Trains and checks the fleet model; one per run."""
        return Upkeep(self.history, kql, Registry(self.fleet_models), self.sink)


_making = threading.Lock()


def services() -> Services:
    """The process's services; made by the first caller, tried again by the next if that failed."""
    with _making:
        return _services()


@lru_cache(maxsize=1)
def _services() -> Services:
    return Services(read_settings(os.environ))


def _storage(
    settings: Settings, credential: TokenCredential
) -> tuple[Callable[[str], TableClient], Callable[[str], ContainerClient]]:
    """Makers of clients of a table and of a container of the storage account, by name."""
    storage = settings.storage
    tables, blobs = {**TIME_LIMITS, **RETRIES}, {**TIME_LIMITS, **BLOB_RETRIES}
    if storage.connection_string is not None:
        connection = storage.connection_string
        return (
            lambda name: TableClient.from_connection_string(connection, name, **tables),
            lambda name: ContainerClient.from_connection_string(connection, name, **blobs),
        )
    table_uri, blob_uri = storage.table_uri, storage.blob_uri
    assert table_uri is not None and blob_uri is not None
    return (
        lambda name: TableClient(table_uri, name, credential=credential, **tables),
        lambda name: ContainerClient(blob_uri, name, credential=credential, **blobs),
    )
