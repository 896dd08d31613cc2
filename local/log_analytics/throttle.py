"""The request and byte limits of a data collection rule, over a sliding minute. Used by the ingestion API only."""

from collections import deque
from collections.abc import Callable

_WINDOW_SECONDS = 60


class Throttle:
    """Counts requests and bytes per second and says when a minute's worth is used up."""

    def __init__(self, requests_per_minute: int, bytes_per_minute: int, clock: Callable[[], float]) -> None:
        """Limit to so many per minute; `clock` is monotonic seconds."""
        self._requests_per_minute = requests_per_minute
        self._bytes_per_minute = bytes_per_minute
        self._clock = clock
        self._seconds: deque[list[int]] = deque()  # [second, requests, bytes], oldest first
        self._requests = 0
        self._bytes = 0

    def take(self, size: int) -> int:
        """Count a request of `size` bytes and return 0, or return the seconds to wait and count nothing."""
        second = int(self._clock())
        while self._seconds and self._seconds[0][0] <= second - _WINDOW_SECONDS:
            _, requests, volume = self._seconds.popleft()
            self._requests -= requests
            self._bytes -= volume
        if self._requests + 1 > self._requests_per_minute or self._bytes + size > self._bytes_per_minute:
            oldest = self._seconds[0][0] if self._seconds else second
            return max(1, oldest + _WINDOW_SECONDS - second)
        if not self._seconds or self._seconds[-1][0] != second:
            self._seconds.append([second, 0, 0])
        self._seconds[-1][1] += 1
        self._seconds[-1][2] += size
        self._requests += 1
        self._bytes += size
        return 0
