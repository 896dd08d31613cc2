"""Who decides that something is wrong with a node: what the product's decision and simpler ones have in common.

An `IncidentSource` takes the windows of one minute after the other and tells of incidents that begin. To evaluate
another decision, write a class with `feed`, and name it in sources.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

from telemetry.layout import Floats, Indexes


class Incident(NamedTuple):
    """The beginning of an incident."""

    node: int
    """Which of the source's nodes, from 0."""
    minute: int
    """Of the window that was the last one needed to tell, in minutes since the epoch."""
    kind: str
    metric: str = ""
    """Of FEATURES: the one that is named first; empty where none is."""
    id: str = ""
    """What has the same id is the same incident, on however many nodes; empty: it is one of its own."""


class IncidentSource(Protocol):
    """Decides for some nodes, of which it keeps what it has to know."""

    def feed(self, minute: int, nodes: Indexes, features: Floats) -> Iterator[Incident]:
        """Takes the windows (nodes, FEATURES) of the nodes that have one in this minute; minutes ascend."""
