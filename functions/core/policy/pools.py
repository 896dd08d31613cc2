"""What the nodes of a pool do at the same time: one event of the pool, not a fault of each.

Pure; for `watch`. Kept in memory only: it is known again minutes after a start. It knows the nodes of one partition,
which are a random share of every pool.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from functions.core.policy.incidents import incident_id
from functions.core.ports import NodeKey

TOGETHER = 10
"""Minutes within which changes count as the same time."""
SHARE = 1.0 / 3.0
FEWEST = 3
"""Of the pool's nodes, that must have changed in the same metric to make it the pool's event."""
PRESENT = 60
"""Minutes after which a node that says nothing is no longer counted."""
JOINS = 15
"""Minutes after the last node joined in which another one joins the same event."""


class _Event(NamedTuple):
    id: str
    last: int


@dataclass(slots=True)
class _Pool:
    seen: dict[NodeKey, int] = field(default_factory=dict)
    """Node -> the latest minute of it."""
    changed: dict[int, dict[NodeKey, int]] = field(default_factory=dict)
    """Metric -> node -> the latest minute in which its change mattered."""
    event: _Event | None = None


class Pools:
    """The pools of the nodes that one instance sees."""

    def __init__(self) -> None:
        self._pools: dict[tuple[str, str], _Pool] = {}

    def note(self, key: NodeKey, pool: str, minute: int, changed: list[int]) -> None:
        """Notes a node's window and the metrics whose change matters in it."""
        found = self._pools.get((key[0], pool))
        if found is None:
            found = self._pools[key[0], pool] = _Pool()
        found.seen[key] = minute
        for metric in changed:
            found.changed.setdefault(metric, {})[key] = minute

    def shared(self, cluster: str, pool: str, minute: int, metrics: list[int]) -> list[int]:
        """Those of the metrics that changed on a large share of the pool's nodes about this minute."""
        found = self._pools[cluster, pool]
        common = []
        nodes = 0
        for metric in metrics:
            changed = found.changed.get(metric, {})
            together = sum(abs(minute - at) <= TOGETHER for at in changed.values())
            if together < FEWEST:
                continue
            nodes = nodes or sum(minute - at <= PRESENT for at in found.seen.values())
            if together >= SHARE * nodes:
                common.append(metric)
        return common

    def event(self, cluster: str, pool: str, minute: int) -> str:
        """The id of the pool's event that a node takes part in from this minute on; of a new one if there is none.

        Instances that see other nodes of the pool find the same id when they find it within the same half hour.
        """
        found = self._pools[cluster, pool]
        if found.event is None or abs(minute - found.event.last) > JOINS:
            found.event = _Event(incident_id(cluster, pool, "pool", minute // 30), minute)
        found.event = _Event(found.event.id, max(minute, found.event.last))
        return found.event.id

    def forget(self, keys: list[NodeKey]) -> None:
        """Lets go of nodes nobody keeps any more."""
        for pool in self._pools.values():
            for key in keys:
                pool.seen.pop(key, None)
                for changed in pool.changed.values():
                    changed.pop(key, None)
