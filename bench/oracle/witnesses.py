"""Asks the running stack what became of everything, each service in its own language. For the oracle.

The event hub is read from its beginning with the SDK, the view with the Logs query client, the dead letters from Blob
Storage, the snapshots over HTTP.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import quote

from azure.eventhub import EventData
from azure.eventhub.aio import EventHubConsumerClient, PartitionContext
from azure.storage.blob import ContainerClient

from bench.oracle.comparison import Row
from bench.oracle.reckoning import Logged, Place
from bench.oracle.traffic import HUB
from local.kql import run_kql
from local.supervisor import Stack

RUNS = "PipelineRuns_CL | summarize arg_max(TimeGenerated, *) by RunId"
SILENCES = 'NodeAnomalies() | where Kind == "silent" | project Cluster, Node, WindowStart'
_DEAD_LETTERS_CONTAINER = "dead-letters"
_READ_SECONDS = 60.0
_CONSUMER_GROUP = "$Default"


class NotConsumed(Exception):
    """The pipeline did not get through what is in the event hub within the time it had."""


class Witnesses:
    """Reads what a stack has stored; changes nothing."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._environment = stack.env_for_clients()

    def query(self, kql: str) -> list[Row]:
        """The rows of a KQL query, complete; RuntimeError where the service gives only a part."""
        answer = run_kql(
            kql,
            endpoint=self._stack.log_analytics_url,
            workspace_id=self._environment["LOG_ANALYTICS_WORKSPACE_ID"],
            token=self._environment["LOG_ANALYTICS_TOKEN"],
            ca_bundle=Path(self._environment["SSL_CERT_FILE"]),
        )
        if answer.warning:
            raise RuntimeError(f"{kql!r:.80} was answered in part only: {answer.warning}")
        return [dict(zip(answer.columns, row, strict=True)) for row in answer.rows]

    def kept_dead_letters(self) -> dict[Place, bytes]:
        """The bytes of every dead letter."""
        connection = self._environment["STATE_STORAGE"]
        with ContainerClient.from_connection_string(connection, _DEAD_LETTERS_CONTAINER) as container:
            found = {}
            for name in container.list_blob_names():
                _, _, partition, sequence = name.split("/")
                found[Place(partition, int(sequence))] = container.download_blob(name).readall()
            return found

    def snapshots(self, nodes: Iterable[tuple[str, str]]) -> dict[tuple[str, str], int]:
        """The time of the newest sample in each node's snapshot; a node without one is left out."""
        found = {}
        for cluster, node in nodes:
            path = f"/api/nodes/{quote(cluster)}/{quote(node)}"
            try:
                document = self._get(path, self._stack.host_key)
            except urllib.error.HTTPError as error:
                if error.code != HTTPStatus.NOT_FOUND:
                    raise
                continue
            found[cluster, node] = round(datetime.fromisoformat(document["sampleTime"]).timestamp() * 1000)
        return found

    def last_sequences(self) -> dict[str, int]:
        """The last sequence number of every partition, from the broker; -1 where it is empty."""
        url = self._stack.faults_urls["event-hubs"].removesuffix("/faults") + "/status"
        partitions = _load(urllib.request.Request(url))["hubs"][HUB]["partitions"]
        return {name: status["last_sequence_number"] for name, status in partitions.items()}

    def checkpoints(self) -> dict[str, int]:
        """The sequence number up to which every partition is done, from the functions host; -1 before the first."""
        status = self._get("/admin/host/status", self._stack.master_key)
        return {
            partition["partition"]: -1
            if partition["checkpointed_sequence_number"] is None
            else partition["checkpointed_sequence_number"]
            for partition in status["partitions"]
        }

    async def until_consumed(self, seconds: float) -> None:
        """Returns when everything in the event hub is done with. Raises NotConsumed."""
        deadline = time.monotonic() + seconds
        behind: Mapping[str, Any] = {}
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                last, done = await asyncio.to_thread(lambda: (self.last_sequences(), self.checkpoints()))
                behind = {name: (done.get(name), end) for name, end in last.items() if done.get(name, -1) < end}
                if not behind:
                    return
            await asyncio.sleep(0.25)
        raise NotConsumed(f"after {seconds:g} s these partitions are behind (done, last): {behind}")

    async def read_log(self) -> list[Logged]:
        """All events of the event hub from the beginning, partition by partition."""
        last = await asyncio.to_thread(self.last_sequences)
        log: list[Logged] = []
        client = EventHubConsumerClient.from_connection_string(
            self._stack.connection_string, _CONSUMER_GROUP, eventhub_name=HUB
        )
        async with client:
            for partition, end in sorted(last.items()):
                if end >= 0:
                    log += await read_partition(client, partition, end)
        return log

    def _get(self, path: str, key: str) -> dict[str, Any]:
        return _load(urllib.request.Request(self._stack.functions_url + path, headers={"x-functions-key": key}))


async def read_partition(client: EventHubConsumerClient, partition: str, end: int) -> list[Logged]:
    """The events of a partition from its beginning to the sequence number `end`."""
    found: list[Logged] = []
    complete = asyncio.Event()

    async def take(context: PartitionContext, events: list[EventData]) -> None:
        for event in events:
            body = event.body
            raw = body if isinstance(body, bytes) else b"".join(body)  # type: ignore[arg-type]
            enqueued = event.enqueued_time
            enqueued_ms = 0 if enqueued is None else round(enqueued.timestamp() * 1000)
            found.append(Logged(Place(partition, int(event.sequence_number or 0)), raw, enqueued_ms))
        if found and found[-1].place.sequence >= end:
            complete.set()

    receiving = asyncio.create_task(
        client.receive_batch(take, partition_id=partition, starting_position="-1", max_batch_size=300, prefetch=900)
    )
    try:
        async with asyncio.timeout(_READ_SECONDS):
            await complete.wait()
    finally:
        receiving.cancel()
        await asyncio.gather(receiving, return_exceptions=True)
    return found


def _load(request: urllib.request.Request) -> dict[str, Any]:
    with urllib.request.urlopen(request, timeout=10) as answer:
        document: dict[str, Any] = json.load(answer)
        return document
