"""Recognises an envelope that was received before: an anti-replay window per agent process.

Pure; part of a node's state. As in RFC 4303 (IPsec), section 3.4.3: the highest number seen and a bitmap of the
64 numbers up to it. Order is normally kept, because the partition key is the node; the bitmap makes the few
exceptions (a producer without a partition key) harmless.
"""

from __future__ import annotations

from dataclasses import dataclass, field

BITS = 64
MAX_INSTANCES = 32
_ALL = (1 << BITS) - 1


@dataclass(slots=True)
class ReplayWindow:
    """Which envelopes of one node were folded, per agent process (instance)."""

    seen: dict[str, tuple[int, int]] = field(default_factory=dict)
    """instance -> (highest seq, bitmap: bit i is highest - i); the most recently heard instance comes last."""

    def is_duplicate(self, instance: str, seq: int) -> bool:
        """Whether this envelope was marked before, or is too far behind to tell (which counts as seen)."""
        known = self.seen.get(instance)
        if known is None or seq > known[0]:
            return False
        behind = known[0] - seq
        return behind >= BITS or bool(known[1] >> behind & 1)

    def mark(self, instance: str, seq: int) -> None:
        """Remembers an envelope. Of more than 32 instances the one heard longest ago is forgotten."""
        highest, bitmap = self.seen.pop(instance, (seq, 0))
        if seq > highest:
            bitmap = bitmap << (seq - highest) & _ALL if seq - highest < BITS else 0
            highest = seq
        self.seen[instance] = (highest, bitmap | 1 << (highest - seq))
        if len(self.seen) > MAX_INSTANCES:
            del self.seen[next(iter(self.seen))]
