"""Retry policies of functions: how often, and how long to wait in between. For the host only.

The waits are those of the WebJobs SDK: RandomizedExponentialBackoffStrategy starts at the minimum and adds
minimum x 2^(n-1) x [0.8, 1.2) at the n-th retry, until the maximum is reached.
"""

import itertools
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

UNLIMITED = -1


class Delays(Protocol):
    """Waits before the first, second, ... retry, in seconds, without end."""

    def delays(self) -> Iterator[float]:
        """A fresh sequence for one batch."""
        ...


@dataclass(frozen=True)
class FixedDelay:
    """The same wait before every retry."""

    seconds: float

    def delays(self) -> Iterator[float]:
        """The fixed wait, for ever."""
        return itertools.repeat(self.seconds)


@dataclass(frozen=True)
class ExponentialBackoff:
    """Waits that double from the minimum until they reach the maximum."""

    minimum: float
    maximum: float
    jitter: Callable[[], float] = lambda: random.uniform(0.8, 1.2)

    def delays(self) -> Iterator[float]:
        """Growing waits, never above the maximum."""
        wait, step = min(self.minimum, self.maximum), self.minimum
        while True:
            yield wait
            if wait < self.maximum:
                wait = min(self.minimum + step * self.jitter(), self.maximum)
                step = min(step * 2, self.maximum * 2)  # bounded, because retries may go on for days


@dataclass(frozen=True)
class RetryPolicy:
    """Re-run a failed invocation up to `max_retry_count` times (UNLIMITED: for ever)."""

    max_retry_count: int
    strategy: Delays

    def allows(self, retries_done: int) -> bool:
        """Whether one more retry may follow."""
        return self.max_retry_count == UNLIMITED or retries_done < self.max_retry_count
