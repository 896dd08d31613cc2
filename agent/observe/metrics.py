"""The document at /metrics. For `endpoint`."""

from __future__ import annotations

from typing import NamedTuple

from agent.clock import Clock
from agent.observe.agent_metrics import AgentMetrics
from agent.observe.exposition import Format, tail
from agent.observe.health import Health
from agent.observe.node_metrics import NodeMetrics
from agent.sampler import Snapshot

GOOD_FOR = 1.0
"""Seconds for which a document is given again, so that a hundred scrapers at once cost as much as one."""


class Metrics:
    """Renders the newest sample and the agent's own state. Not for several threads at once.

    A sample that is too old to be healthy is left out: Prometheus then knows that there is none, instead of taking the
    past for the present.
    """

    def __init__(
        self,
        clock: Clock,
        health: Health,
        node: NodeMetrics,
        agent: AgentMetrics,
    ) -> None:
        self._clock = clock
        self._health = health
        self._node = node
        self._agent = agent
        self._last: dict[Format, _Document] = {}

    def document(self, format_: Format) -> bytes:
        """Gives the document as it is now, or was up to a second ago if no sample has come since."""
        now, fresh = self._clock.monotonic(), self._health.fresh()
        last = self._last.get(format_)
        if last and last.snapshot is fresh and now - last.at < GOOD_FOR:
            return last.body
        node = self._node.render(fresh, format_) if fresh else ""
        agent = self._agent.render(now, format_)
        body = (node + agent + tail(format_)).encode()
        self._last[format_] = _Document(now, fresh, body)
        return body


class _Document(NamedTuple):
    at: float
    snapshot: Snapshot | None
    body: bytes
