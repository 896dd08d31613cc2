"""Where the newest state of the other threads is found. For `health` and `metrics`."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from agent.progress import Progress
from agent.sampler import Snapshot


class Sources(NamedTuple):
    """What they give is never changed afterwards: it may be asked for in any thread, and one answer fits together."""

    snapshot: Callable[[], Snapshot | None]
    """The last sample; None before the first."""
    progress: Callable[[], Progress]
    ticks_missed: Callable[[], int]
