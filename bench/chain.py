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
from datetime import datetime
from pathlib import Path
from typing import Any

from azure.eventhub import EventData, EventDataBatch
from azure.eventhub.aio import EventHubProducerClient

from bench.figures import Figures
from local.fleet.model import FleetModel
from local.supervisor.stack import Stack
from telemetry.envelope import encode

HUB = "telemetry"


def chain_figures(figures: Figures, *, quick: bool) -> None:
    """Starts a stack of its own and measures it."""
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as folder,
        Stack(Path(folder), faults=False, agent=False) as stack,
    ):
        visible = asyncio.run(_visible(stack, 40 if quick else 150))
        figures.add("chain.p50_visible_ms", visible[len(visible) // 2], "ms")
        figures.add("chain.p95_visible_ms", visible[int(len(visible) * 0.95)], "ms")
        nodes, minutes = (200, 2) if quick else (1_000, 4)
        samples, seconds = asyncio.run(_drain(stack, nodes, minutes))
        figures.add("chain.samples_per_s", samples / seconds, "samples/s")


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


async def _drain(stack: Stack, nodes: int, minutes: float) -> tuple[int, float]:
    """(samples, seconds) from the start of the functions host to the last commit, less the host's own start."""
    stack.process("functions").stop()
    start = int(time.time() * 1000) - round(minutes * 60_000) - 3_600_000
    model = FleetModel(nodes, 3, start_ms=start, cluster="drain")
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
    return samples, await asyncio.to_thread(_await_checkpoints, stack, wanted)


def _await_checkpoints(stack: Stack, wanted: dict[str, int]) -> float:
    """Seconds from the first batch to the last checkpoint."""
    started: float | None = None
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
            started = time.monotonic()
        done = {p["partition"]: p["checkpointed_sequence_number"] for p in partitions}
        if started is not None and all(n < 0 or (done.get(p) or 0) >= n for p, n in wanted.items()):
            return time.monotonic() - started
        time.sleep(0.02)
    raise TimeoutError("the backlog was not drained in 300 s")
