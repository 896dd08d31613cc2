"""Notices nodes whose clock is wrong, by when their envelopes arrive.

Pure; used by `fold` and `close`. The newest sample of an envelope was taken moments before Event Hubs received it, by
Event Hubs' clock. A sample from the future comes from a clock that is ahead. One that is old may have waited in a
spool; but what has waited catches up, while a clock that is behind stays behind by the same amount.
"""

from __future__ import annotations

from dataclasses import dataclass

WRONG_MS = 30_000
"""Further off than that, compared with what is usual for the node, a clock is wrong."""
STEADY_MS = 15_000
"""Envelopes that are off by the same amount differ by no more than that."""
LASTS_MS = 180_000
"""How long envelopes must be off by the same amount; by the clock of Event Hubs."""
LONGEST_USUAL_MS = 75_000
"""How old the newest sample may usually be: agents may be told to publish up to a minute later."""


@dataclass(slots=True)
class NodeClock:
    """How far a node's clock is off: the time of its newest sample less the time of receipt, in milliseconds."""

    usual_ms: int | None = None
    """None: nothing is known yet."""
    offset_ms: int = 0
    """Of late; positive: ahead."""
    steady_since_ms: int = 0
    """Time of receipt since which it has been off by that."""
    latest_ms: int = 0
    """Time of receipt of the latest envelope."""
    wrong_since: int = -1
    """Minute since which it has been told to be wrong; -1: it is right."""

    def note(self, sampled_ms: int, received_ms: int) -> None:
        """Notes an envelope: the time of its newest sample, and when it was received."""
        offset = sampled_ms - received_ms
        if self.usual_ms is None:
            self.usual_ms = offset if -LONGEST_USUAL_MS <= offset <= 0 else 0
        if abs(offset - self.offset_ms) > STEADY_MS or not self.steady_since_ms:
            self.offset_ms, self.steady_since_ms = offset, received_ms
        self.latest_ms = max(self.latest_ms, received_ms)

    @property
    def error_ms(self) -> int:
        """How far it is off, compared with what is usual; positive: ahead."""
        return self.offset_ms - (self.usual_ms or 0)

    def change(self) -> bool | None:
        """True: it turns out to be wrong; False: it is right again; None: nothing is new. Remembers which."""
        if self.latest_ms - self.steady_since_ms < LASTS_MS:
            return None
        is_wrong = abs(self.error_ms) >= WRONG_MS
        if is_wrong == (self.wrong_since >= 0):
            return None
        self.wrong_since = self.steady_since_ms // 60_000 if is_wrong else -1
        return is_wrong
