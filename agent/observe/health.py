"""Whether the agent is alive, and whether it does what it is for. For `endpoint`.

Alive: the sampling thread samples and the event loop takes what it samples. That a restart may repair, so Event Hubs
has no part in it. Ready: besides, samples are taken and envelopes are acknowledged. Where that fails somebody has to
do something: every reason says what.
"""

from __future__ import annotations

from typing import NamedTuple, Self

from agent.clock import Clock
from agent.delivery import SEND_LESS_AT_ONCE, WHAT_TO_DO
from agent.observe.sources import Sources
from agent.progress import OVERFLOW, Progress
from agent.sampler import Snapshot

SHORTEST_SAMPLE_LIMIT = 60.0
"""When every collector hangs for the first time, one sample takes nearly so long, and all is well after it."""
SHORTEST_PUBLISH_LIMIT = 90.0
LOOK_AT_LOG = "look for publishing_failed in the agent's log, and let AMQP (port 5671) out to the namespace"


class Limits(NamedTuple):
    """What is too long, in seconds."""

    sample: float
    """Without a sample, or with one that the event loop has not taken."""
    publish: float
    """Waiting for an acknowledgement; and so long the loss of envelopes is remembered."""

    @classmethod
    def of(cls, sample_interval: float, publish_interval: float, publish_spread: float) -> Self:
        """Three intervals, and at least so long that one accident is none."""
        return cls(
            max(SHORTEST_SAMPLE_LIMIT, 3 * sample_interval),
            max(SHORTEST_PUBLISH_LIMIT, 3 * publish_interval + publish_spread),
        )


class Health:
    """Judges by what the sampling thread and the event loop have published last; any thread may ask it."""

    def __init__(self, clock: Clock, sources: Sources, limits: Limits) -> None:
        self._clock = clock
        self._sources = sources
        self._limits = limits
        self._started = clock.monotonic()

    def fresh(self) -> Snapshot | None:
        """Gives the last sample; None when there is none, or it is so old that it says nothing about the present."""
        snapshot = self._sources.snapshot()
        return snapshot if snapshot and self._clock.monotonic() - snapshot.at <= self._limits.sample else None

    def why_not_alive(self) -> list[str]:
        """Gives the reasons for a restart; none when the agent is alive."""
        now, limit = self._clock.monotonic(), self._limits.sample
        snapshot, taken_at = self._sources.snapshot(), self._sources.progress().sample_taken_at
        silent = now - (snapshot.at if snapshot else self._started)
        if silent > limit:
            return [
                f"no sample for {silent:.0f} s, {limit:.0f} s are allowed: the sampling thread hangs. A restart "
                "repairs it; if it comes back, look for collector_failed in the log and leave that collector out "
                "(AGENT_COLLECTORS)"
            ]
        # Up to the last sample: a loop that is not told of any has nothing to take.
        untaken = snapshot.at - (self._started if taken_at is None else taken_at) if snapshot else 0.0
        if untaken > limit:
            return [
                f"the event loop has taken no sample for {untaken:.0f} s, {limit:.0f} s are allowed: it hangs. A "
                "restart repairs it; if it comes back, see whether the spool's disk answers (AGENT_SPOOL_DIR)"
            ]
        return []

    def why_not_ready(self) -> list[str]:
        """Gives what keeps this node's metrics from arriving; nothing when they do."""
        reasons = self.why_not_alive()
        progress, now = self._sources.progress(), self._clock.monotonic()
        if self._sources.snapshot() is None and not reasons:
            reasons.append("no sample yet: the first is taken within AGENT_SAMPLE_INTERVAL of the start. Wait")
        waited = now - progress.oldest_since if progress.oldest_since is not None else 0.0
        if progress.delivery.last_publish_ms is None:
            reasons.append(f"nothing has been acknowledged since the start: {_what_to_do(progress)}")
        elif waited > self._limits.publish:
            reasons.append(
                f"{progress.waiting} envelopes wait, the oldest for {waited:.0f} s, {self._limits.publish:.0f} s are "
                f"allowed: {_what_to_do(progress)}"
            )
        lost_at = progress.overflowed_at
        if lost_at is not None and now - lost_at <= self._limits.publish:
            counts = ", ".join(f"{reason} {progress.drops[reason]}" for reason in OVERFLOW if progress.drops[reason])
            reasons.append(
                f"the spool has dropped envelopes {now - lost_at:.0f} s ago ({counts} since the start): let them be "
                "acknowledged again, or give the spool more room: AGENT_SPOOL_MAX_BYTES, AGENT_SPOOL_MAX_AGE, its disk"
            )
        return reasons


def _what_to_do(progress: Progress) -> str:
    """Says what delivery has met with since the last acknowledgement, and what helps against most of it."""
    if not progress.failed and progress.delivery.too_large:
        return f"{progress.delivery.too_large} were larger than the event hub takes: {SEND_LESS_AT_ONCE}"
    if not progress.failed:
        return "no attempt has failed. Wait"
    reason = max(progress.failed, key=progress.failed.__getitem__)
    failures = ", ".join(f"{count} {each}" for each, count in progress.failed.items())
    return f"failed attempts: {failures}. {WHAT_TO_DO.get(reason, LOOK_AT_LOG)}"
