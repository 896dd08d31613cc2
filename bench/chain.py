"""The whole chain: real broker, functions host, Azurite and Log Analytics stand-in, as processes.

`chain.samples_per_s`: envelopes wait in Event Hubs, then the functions host is started and the time until the last
of them is committed is taken, so that only the chain's own speed counts and not the sender's.
`chain.p95_visible_ms`: one node publishes an envelope; the time from the send's acknowledgement until the HTTP
endpoint shows its newest sample, at local defaults, the endpoint asked every 5 ms.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import psutil
from azure.eventhub import EventData, EventDataBatch
from azure.eventhub.aio import EventHubProducerClient

from bench.figures import Figures
from local.fleet.model import FleetModel
from local.supervisor.stack import Stack
from telemetry.envelope import encode

HUB = "telemetry"


@contextmanager
def chain() -> Iterator[Stack]:
    """A stack of its own, to be measured."""
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as folder,
        Stack(Path(folder), faults=False, agent=False) as stack,
    ):
        yield stack


def chain_figures(figures: Figures, stack: Stack, *, quick: bool) -> None:
    """How soon the chain shows what it is sent, and how much of it."""
    visible = asyncio.run(_visible(stack, 40 if quick else 150))
    figures.add("chain.p50_visible_ms", visible[len(visible) // 2], "ms")
    figures.add("chain.p95_visible_ms", visible[int(len(visible) * 0.95)], "ms")
    nodes, minutes = (200, 2) if quick else (1_000, 4)
    drained = asyncio.run(drain(stack, nodes, minutes, "drain"))
    figures.add("chain.samples_per_s", drained.samples / drained.seconds, "samples/s")


async def _visible(stack: Stack, rounds: int) -> list[float]:
    """Milliseconds from acknowledged to visible, sorted."""
    found = []
    now = int(time.time() * 1000)
    model = FleetModel(1, 7, start_ms=now - 7200_000, cluster="visible")
    due = model.envelopes()
    async with EventHubProducerClient.from_connection_string(stack.connection_string, eventhub_name=HUB) as producer:
        for number in range(rounds + 10):
            envelope = next(due).envelope
            batch = await producer.create_batch(partition_key=envelope.node)
            batch.add(EventData(encode(envelope)))
            await producer.send_batch(batch)
            acknowledged = time.perf_counter()
            wanted = envelope.time[-1]
            while await asyncio.to_thread(_newest, stack, "visible", envelope.node) < wanted:
                if time.perf_counter() - acknowledged > 30:
                    raise TimeoutError(f"envelope {envelope.seq} was not visible after 30 s")
                await asyncio.sleep(0.005)
            if number >= 10:  # the first ones make connections
                found.append((time.perf_counter() - acknowledged) * 1000)
            await asyncio.sleep(0.05)
    return sorted(found)


def _newest(stack: Stack, cluster: str, node: str) -> int:
    try:
        body = _get(stack, f"/api/nodes/{cluster}/{node}")
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return 0
        raise
    return round(datetime.fromisoformat(body["sampleTime"]).timestamp() * 1000)


def _get(stack: Stack, path: str) -> Any:
    request = urllib.request.Request(stack.functions_url + path, headers={"x-functions-key": stack.host_key})
    with urllib.request.urlopen(request, timeout=10) as response:
        return json.loads(response.read())


class Drained(NamedTuple):
    """A backlog that has been worked off."""

    samples: int
    seconds: float
    """From when the functions host receives to the last commit."""
    cpu_seconds: float
    """Of the functions host meanwhile."""


async def drain(stack: Stack, nodes: int, minutes: float, cluster: str) -> Drained:
    """Starts the functions host on a backlog of new nodes, so many minutes long, and waits until it is done."""
    stack.process("functions").stop()
    start = int(time.time() * 1000) - round(minutes * 60_000) - 3_600_000
    model = FleetModel(nodes, 3, start_ms=start, cluster=cluster)
    samples = 0
    async with EventHubProducerClient.from_connection_string(stack.connection_string, eventhub_name=HUB) as producer:
        per_node: dict[str, list[bytes]] = {}
        for due in model.envelopes(start + round(minutes * 60_000)):
            per_node.setdefault(due.envelope.node, []).append(encode(due.envelope))
            samples += len(due.envelope.time)
        for node, envelopes in per_node.items():
            batch: EventDataBatch = await producer.create_batch(partition_key=node)
            for raw in envelopes:
                batch.add(EventData(raw))
            await producer.send_batch(batch)
        wanted = {
            partition: (await producer.get_partition_properties(partition))["last_enqueued_sequence_number"]
            for partition in await producer.get_partition_ids()
        }
    stack.process("functions").start()
    return Drained(samples, *await asyncio.to_thread(_await_checkpoints, stack, wanted))


def _await_checkpoints(stack: Stack, wanted: dict[str, int]) -> tuple[float, float]:
    """Seconds, and those of CPU time of the functions host, from the first batch to the last checkpoint."""
    started: float | None = None
    cpu = 0.0
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        try:
            request = urllib.request.Request(
                stack.functions_url + "/admin/host/status", headers={"x-functions-key": stack.master_key}
            )
            with urllib.request.urlopen(request, timeout=10) as response:
                partitions = json.loads(response.read())["partitions"]
        except OSError:
            time.sleep(0.02)
            continue
        if started is None and any(partition["state"] == "receiving" for partition in partitions):
            started, cpu = time.monotonic(), _cpu_seconds(stack)
        done = {p["partition"]: p["checkpointed_sequence_number"] for p in partitions}
        if started is not None and all(n < 0 or (done.get(p) or 0) >= n for p, n in wanted.items()):
            return time.monotonic() - started, _cpu_seconds(stack) - cpu
        time.sleep(0.02)
    raise TimeoutError("the backlog was not drained in 300 s")


def _cpu_seconds(stack: Stack) -> float:
    """CPU time that the functions host and what it started have taken so far."""
    host = psutil.Process(stack.process("functions").pid)
    times = [process.cpu_times() for process in (host, *host.children(recursive=True))]
    return sum(time.user + time.system for time in times)
