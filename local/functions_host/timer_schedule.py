"""NCRONTAB schedules: six fields, seconds first, all of which must match. For the host only."""

import itertools
import re
from datetime import UTC, datetime, timedelta

from croniter import croniter

_NAMES = "sun|mon|tue|wed|thu|fri|sat|jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec"
_FIELD = re.compile(rf"(?:[0-9*,/\-]|{_NAMES})+", re.IGNORECASE)
_MINUTE = timedelta(minutes=1)
_SAMPLED_OCCURRENCES = 10


class Schedule:
    """When a timer fires, in UTC.

    NCRONTAB's five-field form (no seconds) is accepted as the real host does. Day of month and day of week must both
    match, unlike in cron. croniter's extensions (`L`, `#`, `@daily`) are refused, because Azure refuses them.
    """

    def __init__(self, expression: str) -> None:
        fields = expression.split()
        if len(fields) not in (5, 6) or not all(_FIELD.fullmatch(field) for field in fields):
            raise ValueError(
                f"expected an NCRONTAB expression of six fields "
                f"{{second}} {{minute}} {{hour}} {{day}} {{month}} {{day-of-week}}, got {expression!r}"
            )
        self._expression = " ".join(fields if len(fields) == 6 else ["0", *fields])
        try:
            self.next_after(datetime.now(UTC))
        except (ValueError, KeyError) as error:
            raise ValueError(f"{expression!r} is no NCRONTAB expression: {error}") from error

    @property
    def is_more_often_than_a_minute(self) -> bool:
        """Whether two of the coming occurrences are closer than a minute."""
        times = [datetime.now(UTC)]
        for _ in range(_SAMPLED_OCCURRENCES):
            times.append(self.next_after(times[-1]))
        return any(later - earlier < _MINUTE for earlier, later in itertools.pairwise(times[1:]))

    def next_after(self, time: datetime) -> datetime:
        """The first occurrence later than `time`."""
        cron = croniter(self._expression, time, second_at_beginning=True, day_or=False)
        following: datetime = cron.get_next(datetime)
        return following
