"""The query API's `timespan`: ISO 8601 durations and intervals. Pure; used by the query API only."""

import re
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

_DURATION = re.compile(
    r"P(?:(?P<weeks>\d+(?:\.\d+)?)W)?(?:(?P<days>\d+(?:\.\d+)?)D)?"
    r"(?:T(?:(?P<hours>\d+(?:\.\d+)?)H)?(?:(?P<minutes>\d+(?:\.\d+)?)M)?(?:(?P<seconds>\d+(?:\.\d+)?)S)?)?"
)


class Timespan(NamedTuple):
    """A closed interval of UTC times without zone."""

    start: datetime
    end: datetime


def parse_timespan(text: str, now: datetime) -> Timespan:
    """Return the interval of `PT1H`, `start/end`, `start/duration` or `duration/end`; ValueError otherwise.

    A duration alone ends at `now` (UTC without zone).
    """
    try:
        interval = _parse(text.strip(), now)
    except OverflowError:
        raise ValueError(f"timespan {text!r} is beyond the years 1 to 9999") from None
    if interval.start > interval.end:
        raise ValueError(f"timespan {text!r} ends before it starts")
    return interval


def _parse(text: str, now: datetime) -> Timespan:
    first, slash, second = text.partition("/")
    if not slash:
        return Timespan(now - _duration(text), now)
    if first.startswith("P"):
        end = _moment(second)
        return Timespan(end - _duration(first), end)
    start = _moment(first)
    return Timespan(start, start + _duration(second) if second.startswith("P") else _moment(second))


def _duration(text: str) -> timedelta:
    match = _DURATION.fullmatch(text)
    parts = {unit: float(count) for unit, count in match.groupdict().items() if count} if match else {}
    if not parts:
        raise ValueError(
            f"timespan {text!r} is not an ISO 8601 duration of weeks, days, hours, minutes and seconds, "
            "such as PT1H or P1DT12H"
        )
    return timedelta(**parts)


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ValueError(f"timespan boundary {text!r} is not an ISO 8601 time") from None
    return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment
