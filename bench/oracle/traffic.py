"""Keeps simulated nodes publishing through every outage, and remembers what was acknowledged, to the byte.

For the oracle. Simulated time runs faster than the clock, so that many windows close.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Sequence

from bench.oracle.nodes import SimulatedNode
from bench.oracle.reckoning import EnvelopeId
from local.fleet.publishers import EventHubPublisher, Outgoing, event_hub

HUB = "telemetry"
DAY_MS = 86_400_000
_SENDERS = 6
_FALLS_SILENT = 0.003
"""Of a node's envelopes, so many are followed by a silence long enough for `sweep` to close its windows."""
_SILENCE = 40.0, 70.0
SILENT_AFTER_SECONDS = "30"
"""What the function app must be told for that."""


class Traffic:
    """The nodes' publishing; `run` until `stop`."""

    def __init__(self, connection_string: str, seed: int, nodes: int, now_ms: int, interval: float) -> None:
        """Every node publishes 30 s of its life every `interval` seconds; its life began a day ago."""
        self.nodes = [SimulatedNode(seed, number, now_ms - DAY_MS) for number in range(nodes)]
        self.acknowledged: dict[EnvelopeId, bytes] = {}
        """Good envelopes the broker has acknowledged."""
        self.poison: dict[bytes, str] = {}
        """Bytes that went out to be refused -> why."""
        self.acknowledged_poison: Counter[bytes] = Counter()
        self.repeated = 0
        """Envelopes sent again on purpose, long after their acknowledgement."""
        self._connection_string = connection_string
        self._interval = interval
        self._random = random.Random(f"traffic {seed}")
        self._stopped = asyncio.Event()

    def stop(self) -> None:
        """Lets the nodes fall silent; `run` returns when everything is acknowledged."""
        self._stopped.set()

    async def run(self) -> None:
        """Publishes until told to stop, and then until all is acknowledged."""
        publisher = self._publisher()
        try:
            await asyncio.gather(*(self._live(node, publisher) for node in self.nodes))
            await publisher.drain()
        finally:
            await publisher.close()

    async def send(self, outgoing: Sequence[Outgoing]) -> None:
        """Publishes these and returns when they are acknowledged."""
        publisher = self._publisher()
        try:
            for one in outgoing:
                await publisher.put(one)
            await publisher.drain()
        finally:
            await publisher.close()

    async def _live(self, node: SimulatedNode, publisher: EventHubPublisher) -> None:
        while not self._stopped.is_set():
            for sent in node.publish():
                if sent.reason is not None:
                    self.poison[sent.outgoing.body] = sent.reason
                self.repeated += sent.repeated
                await publisher.put(sent.outgoing)
            silence = self._random.uniform(*_SILENCE) if self._random.random() < _FALLS_SILENT else 0.0
            try:
                async with asyncio.timeout(self._interval + silence):
                    await self._stopped.wait()
            except TimeoutError:
                continue

    def _publisher(self) -> EventHubPublisher:
        return EventHubPublisher(
            event_hub(self._connection_string, HUB), self._note, senders=_SENDERS, limit=40 * len(self.nodes)
        )

    def _note(self, batch: Sequence[Outgoing]) -> None:
        for one in batch:
            if one.body in self.poison:
                self.acknowledged_poison[one.body] += 1
            else:
                self.acknowledged[EnvelopeId(one.cluster, one.node, one.instance, one.seq)] = one.body


def silence_sdk() -> None:
    """The SDK and the publisher shout at every broken connection; here breaking them is the purpose."""
    for name in ("azure", "local.fleet", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
