"""What a pool will need in the next 24 hours, with a band, from its last two weeks. Pure.

Seven simple forecasts are made: profiles of the day with what is left of the newest deviation, yesterday, the same day
of last week, levels. Each was right for some series in the past and wrong for others. How far off each was in the last
three days weighs it; the forecast is their weighted median, point by point. How far off that would have been then is
the band. Nothing is fitted beforehand.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from telemetry.layout import Floats

STEP_S = 300
DAY = 86_400 // STEP_S
"""Points forecast, and points of a season."""
HISTORY = 14 * DAY
"""Points that are looked at."""
BAND = 0.8
"""Share of points that the band is to hold."""
_LIMIT = 1e18
_ORIGINS, _GAP = 16, 36
"""Forecasts made of the past to weigh by, and points from one to the next."""
_FEWEST_ORIGINS = 4
_SHARPNESS = 3
"""Weight of a simple forecast: its error to the power of minus so much."""
_INNER = 0.85
"""Share of past errors within the band; they overlap, so they show less than there is."""
_PARTS = 8
"""Of the day ahead, each with errors of its own."""


class DayAhead(NamedTuple):
    """The next 24 hours, point by point."""

    value: Floats
    lower: Floats
    upper: Floats


def day_ahead(history: Floats) -> DayAhead | None:
    """Forecasts the points after a history of 5-minute means, the newest last; NaN is missing.

    None while less than half of the last day is known: there is nothing to forecast from.
    """
    y = np.asarray(history, np.float64)[-HISTORY:]
    y = np.where(np.abs(y) <= _LIMIT, y, np.nan)
    if np.count_nonzero(~np.isnan(y[-DAY:])) < DAY // 2:
        return None
    made, came = _past(y)
    weights = _weights(made, came)
    value = _weighted_median(_simple(y), weights)
    below, above = _errors(y, made, came, weights)
    lower, upper = value + below, value + above
    if np.nanmin(y) >= 0.0:
        value, lower, upper = np.maximum(value, 0.0), np.maximum(lower, 0.0), np.maximum(upper, 0.0)
    return DayAhead(value, lower, upper)


def _simple(y: Floats) -> Floats:
    """The simple forecasts, (7, DAY)."""
    level = float(_median(y[-DAY:, None])[0])
    days = len(y) // DAY
    by_day = y[len(y) - days * DAY :].reshape(days, DAY) if days else np.full((1, DAY), level)
    week = _smooth(_known(_median(by_day[-7:]), level), 3)
    few_days = _smooth(_known(_median(by_day[-3:]), level), 3)
    yesterday = _smooth(_known(by_day[-1], level), 6)
    week_ago = _smooth(_known(by_day[-7], level), 6) if days >= 7 else week
    return np.array(
        [
            _faded(y, week, 12, 24.0),
            _faded(y, week, 72, 192.0),
            _faded(y, few_days, 36, 96.0),
            _faded(y, week_ago, 36, 96.0),
            yesterday,
            np.full(DAY, level),
            np.full(DAY, _known(_median(y[-36:, None]), level)[0]),
        ]
    )


def _faded(y: Floats, profile: Floats, points: int, fading: float) -> Floats:
    """A profile, with the deviation of the newest points from it, which fades."""
    deviation = _known(_median((y[-points:] - profile[-points:])[:, None]), 0.0)[0]
    return np.asarray(profile + deviation * np.exp(-np.arange(1, DAY + 1) / fading))


def _past(y: Floats) -> tuple[Floats, Floats]:
    """Simple forecasts made at moments of the past, (moments, 7, DAY), and what came, (moments, DAY)."""
    made, came = [], []
    for number in range(_ORIGINS):
        origin = len(y) - DAY - number * _GAP
        if origin < DAY:
            break
        if not np.isnan(y[origin - DAY : origin]).all():
            made.append(_simple(y[:origin]))
            came.append(y[origin : origin + DAY])
    return np.array(made).reshape(-1, 7, DAY), np.array(came).reshape(-1, DAY)


def _weights(made: Floats, came: Floats) -> Floats:
    off = np.abs(made - came[:, None])
    known = ~np.isnan(off)
    count = known.sum(axis=(0, 2))
    if not count.any():
        return np.ones(7)
    mean = np.where(known, off, 0.0).sum(axis=(0, 2)) / np.maximum(count, 1)
    least = max(float(mean.max()) * 1e-6, 1e-12)
    return np.asarray((np.maximum(mean, least) / max(float(mean.min()), least)) ** -_SHARPNESS)


def _errors(y: Floats, made: Floats, came: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """How far below and above the forecast the band reaches, point by point."""
    if len(made) >= _FEWEST_ORIGINS:
        off = came - np.array([_weighted_median(each, weights) for each in made])
    else:  # as wide as the last day
        last = y[-DAY:, None]
        off = np.broadcast_to(last - _median(last), (len(last), DAY))
    below, above = np.zeros(DAY), np.zeros(DAY)
    for part in np.split(np.arange(DAY), _PARTS):
        values = off[:, part]
        values = values[~np.isnan(values)]
        if values.size:
            below[part], above[part] = np.quantile(values, [(1 - _INNER) / 2, (1 + _INNER) / 2])
    return np.minimum(below, 0.0), np.maximum(above, 0.0)


def _weighted_median(values: Floats, weights: Floats) -> Floats:
    """Of each column."""
    order = np.argsort(values, axis=0)
    passed = np.cumsum(weights[order], axis=0)
    place = (passed >= passed[-1] / 2).argmax(axis=0)
    return np.asarray(np.take_along_axis(values, order, axis=0)[place, np.arange(values.shape[1])])


def _median(values: Floats) -> Floats:
    """Of each column's known values; NaN where there are none."""
    known = np.count_nonzero(~np.isnan(values), axis=0)
    ordered = np.sort(values, axis=0)
    columns = np.arange(values.shape[1])
    middle = ordered[np.maximum(known - 1, 0) // 2, columns] + ordered[np.minimum(known // 2, len(values) - 1), columns]
    return np.asarray(np.where(known > 0, middle / 2, np.nan))


def _known(values: Floats, otherwise: float) -> Floats:
    return np.where(np.isnan(values), otherwise, values)


def _smooth(day: Floats, reach: int) -> Floats:
    """Means over the neighbours on both sides, around midnight too."""
    width = 2 * reach + 1
    return np.convolve(np.concatenate([day[-reach:], day, day[:reach]]), np.full(width, 1.0 / width), "valid")
