"""The .NET TimeSpan notation host.json and schedules use. For the host only."""

import re

_TIME_SPAN = re.compile(r"(?:(?P<d>\d+)\.)?(?P<h>\d{1,2}):(?P<m>\d{1,2})(?::(?P<s>\d{1,2})(?P<f>\.\d{1,7})?)?")


def parse_time_span(text: str) -> float:
    """Seconds of a `[d.]hh:mm[:ss[.fffffff]]` time span; ValueError for anything else.

    >>> parse_time_span("1.00:00:05")
    86405.0
    """
    match = _TIME_SPAN.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"expected a time span [d.]hh:mm:ss, got {text!r}")
    days, hours, minutes, seconds = (int(match[group] or 0) for group in "dhms")
    if hours > 23 or minutes > 59 or seconds > 59:
        raise ValueError(f"hours must be 0-23, minutes and seconds 0-59, got {text!r}")
    return days * 86400 + hours * 3600 + minutes * 60 + seconds + float(match["f"] or 0)
