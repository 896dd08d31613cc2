"""Starts the function app with all it talks to: broker, Azurite, Log Analytics stand-in, functions host. Tests only."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import requests
from azure.data.tables import TableClient
from azure.eventhub import EventData, EventHubProducerClient
from azure.monitor.query import LogsQueryClient
from azure.storage.blob import ContainerClient
from functions_host_process import HOST_KEY, MASTER_KEY, REPOSITORY, Broker, Child
from log_analytics_process import TOKEN, WORKSPACE, Service, StaticToken, running_service

from functions.bindings.services import DEAD_LETTERS_CONTAINER, STATES_TABLE
from local.azurite import Azurite
from telemetry.envelope import Envelope, encode

HUB = "telemetry"
FIRST_KEY, SECOND_KEY = "the-first-api-key", "the-second-api-key"
SILENT_AFTER_SECONDS = 600
LOG_ANALYTICS = REPOSITORY / "infra" / "log_analytics"
RULE_ID = json.loads((LOG_ANALYTICS / "dcr.json").read_text())["properties"]["immutableId"]


class Stack:
    """A running chain. Everything is reached the way a user of it would: SDKs and HTTP."""

    def __init__(self, broker: Broker, azurite: Azurite, log_analytics: Service, folder: Path) -> None:
        self.broker, self.azurite, self.log_analytics = broker, azurite, log_analytics
        self._folder = folder
        self._open = ExitStack()
        self.producer = self._open.enter_context(
            EventHubProducerClient.from_connection_string(broker.connection_string, eventhub_name=HUB)
        )
        self.states = self._open.enter_context(
            TableClient.from_connection_string(azurite.connection_string, STATES_TABLE)
        )
        self.dead_letters = self._open.enter_context(
            ContainerClient.from_connection_string(azurite.connection_string, DEAD_LETTERS_CONTAINER)
        )
        bundle = str(log_analytics.certificates.bundle)
        self._queries = self._open.enter_context(
            LogsQueryClient(StaticToken(), endpoint=log_analytics.url, connection_verify=bundle)
        )
        self._session = self._open.enter_context(requests.Session())
        self.start_host()

    def start_host(self) -> None:
        """Starts a functions host; a later one goes on at the checkpoints of the one before."""
        self._folder.mkdir(exist_ok=True)
        storage = self.azurite.connection_string
        bundle = str(self.log_analytics.certificates.bundle)
        settings = {
            "LOCAL_FUNCTIONS_MASTER_KEY": MASTER_KEY,
            "LOCAL_FUNCTIONS_HOST_KEY": HOST_KEY,
            "LOCAL_IDENTITY_TOKEN": TOKEN,
            "SSL_CERT_FILE": bundle,
            "REQUESTS_CA_BUNDLE": bundle,
            "AzureWebJobsStorage": storage,
            "STATE_STORAGE": storage,
            "EVENTHUB": self.broker.connection_string,
            "EVENTHUB_NAME": HUB,
            "EVENTHUB_CONSUMER_GROUP": "$Default",
            "LOGS_INGESTION_ENDPOINT": self.log_analytics.url,
            "LOGS_DCR_IMMUTABLE_ID": RULE_ID,
            "LOGS_WORKSPACE_ID": WORKSPACE,
            "LOGS_QUERY_ENDPOINT": self.log_analytics.url,
            "HTTP_API_KEYS": f"{FIRST_KEY}, {SECOND_KEY}",
            "SILENT_AFTER_SECONDS": str(SILENT_AFTER_SECONDS),
        }
        self.host = Child(["local.functions_host", "--app", str(REPOSITORY)], settings, self._folder)
        self.url = f"http://127.0.0.1:{self.host.ready()['port']}"

    def publish(self, *bodies: Envelope | bytes, partition: str = "0") -> None:
        """Sends envelopes, or anything else, in one batch; returns when Event Hubs has acknowledged them."""
        events = [EventData(body if isinstance(body, bytes) else encode(body)) for body in bodies]
        self.producer.send_batch(events, partition_id=partition)

    def get(self, path: str, *, key: str | None = FIRST_KEY, **options: Any) -> requests.Response:
        """Asks the app; `path` begins with /api and is sent as it is."""
        headers = {"x-functions-key": key} if key else {}
        return self._session.get(
            self.url + path, headers={**headers, **options.pop("headers", {})}, timeout=60, **options
        )

    def snapshot(self, cluster: str, node: str) -> dict[str, Any]:
        """The snapshot of a node; empty while there is none."""
        response = self.get(f"/api/nodes/{quote(cluster)}/{quote(node)}")
        assert response.status_code in (200, 404), response.text
        found: dict[str, Any] = response.json() if response.status_code == 200 else {}
        return found

    def query(self, kql: str) -> list[dict[str, Any]]:
        """Rows of a KQL query."""
        table = self._queries.query_workspace(WORKSPACE, kql, timespan=timedelta(days=30)).tables[0]
        return [dict(zip(table.columns, row, strict=True)) for row in table.rows]

    def order_ingestion_faults(self, **faults: object) -> None:
        """Makes the Log Analytics stand-in fail as POST /faults of it describes; nothing given ends all faults."""
        bundle = str(self.log_analytics.certificates.bundle)
        response = requests.post(f"{self.log_analytics.url}/faults", json=faults, verify=bundle, timeout=10)
        assert response.status_code == 200, response.text

    def ingestion_faults(self) -> dict[str, int]:
        """How many requests met which fault since faults were last ordered."""
        bundle = str(self.log_analytics.certificates.bundle)
        counts = requests.get(f"{self.log_analytics.url}/faults", verify=bundle, timeout=10).json()["counts"]
        return {name: count for name, count in counts.items() if name != "none"}

    def idle(self) -> bool:
        """Whether everything that was published is checkpointed."""
        response = self._session.get(
            f"{self.url}/admin/host/status", headers={"x-functions-key": MASTER_KEY}, timeout=10
        )
        done = {p["partition"]: p["checkpointed_sequence_number"] for p in response.json()["partitions"]}
        last = {
            partition: self.producer.get_partition_properties(partition)["last_enqueued_sequence_number"]
            for partition in self.producer.get_partition_ids()
        }
        return all(number < 0 or done.get(partition) == number for partition, number in last.items())

    def sweep(self) -> None:
        """Runs the sweep now instead of at its next half minute."""
        response = self._session.post(
            f"{self.url}/admin/functions/sweep", json={"input": ""}, headers={"x-functions-key": MASTER_KEY}, timeout=10
        )
        assert response.status_code == 202, response.text

    def close(self) -> None:
        """Lets go of our own clients and of the host."""
        self._open.close()
        if self.host.process.poll() is None:
            self.host.kill()


@contextmanager
def running_log_analytics(folder: Path) -> Iterator[Service]:
    """The Log Analytics stand-in with the product's tables, rule and saved functions, and with faults to order."""
    with running_service(
        folder,
        "--tables", str(LOG_ANALYTICS / "tables.json"),
        "--dcr", str(LOG_ANALYTICS / "dcr.json"),
        "--functions", str(REPOSITORY / "infra" / "queries" / "functions"),
        "--faults",
    ) as service:  # fmt: skip
        yield service


@contextmanager
def running_stack(folder: Path, *, partitions: int = 1) -> Iterator[Stack]:
    """A chain with data of its own in `folder`, with every service on a free port; stops all of it."""
    service_folder = folder / "log_analytics"
    service_folder.mkdir()
    with (
        running_log_analytics(service_folder) as log_analytics,
        Azurite.start() as azurite,
        Broker(folder / "event_hubs", [f"{HUB}:{partitions}"]) as broker,
    ):
        stack = Stack(broker, azurite, log_analytics, folder / "functions")
        try:
            yield stack
        finally:
            stack.close()


__all__ = ["Stack", "running_log_analytics", "running_stack"]
