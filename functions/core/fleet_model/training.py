"""History -> model, or a clear reason why not. Pure.

What is learnt is robust by construction: medians and quantiles per pool, covariances of cut deviations, and the longest
healthy deviation is that of the nodes but for the worst ones, since one of them may have been ill all the time.
"""

from __future__ import annotations

import platform
from typing import Any, NamedTuple

import numpy as np

from functions.core.fleet_model.drift import reference_of
from functions.core.fleet_model.features import LEAST_SCALE, to_scale
from functions.core.fleet_model.history import Rows
from functions.core.fleet_model.model import FARTHEST, HOURS, WEEKDAYS, FleetModel, Reference
from telemetry.layout import Floats, Indexes
from telemetry.tables import FEATURES

FEWEST_NODES = 4
"""Of a pool: of three, one odd one is a third of what the others are compared with."""
FEWEST_ROWS = 40
"""Of a pool, to learn its medians from."""
FEWEST_HELD_OUT = 200
"""Windows of all pools together, to calibrate with."""
SHORTEST_HOURS = 6
LEARNT_SHARE = 0.7
"""Of the time; the rest, which is later, is held out: models are calibrated and compared there."""
_PRESENT = 0.5
"""Share of windows that must have a feature for it to be used at all."""
_TAIL, _TAIL_SIGMAS = 0.99, 2.326
_FEWEST_PER_HOUR = 20
_CUT = 6.0
"""Deviations are cut here before covariances are taken: a single fault must not bend relations."""
_LEAST_VARIANCE = 1e-3
"""Of deviations: features that never moved have relations, too."""
_TAIL_OF_NODE = 0.9995
_ILL = 0.02
"""Share of nodes (one at least) whose deviations are not taken for healthy."""
_SIGMAS = 3.3
"""What the longest healthy deviation counts as at least, in deviations: a sample's end is no end."""
_PROBABILITIES = np.array([0.0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999])


class NotEnoughHistory(ValueError):
    """No model can be learnt from these rows; says what is missing."""


class Split(NamedTuple):
    """Rows parted by time."""

    learnt: Rows
    held_out: Rows


def split(rows: Rows) -> Split:
    """The first part of the time and the rest; rows of pools that are too small are in neither.

    Raises NotEnoughHistory.
    """
    if not len(rows):
        raise NotEnoughHistory(
            "there are no rows of the last day; at least some hours of a pool of four nodes are needed"
        )
    first, last = int(rows.minutes.min()), int(rows.minutes.max())
    hours = (last - first) / 60
    if hours < SHORTEST_HOURS:
        raise NotEnoughHistory(f"the rows cover {hours:.1f} h; at least {SHORTEST_HOURS} h are needed")
    border = first + LEARNT_SHARE * (last - first)
    learnt, held_out = rows.where(rows.minutes < border), rows.where(rows.minutes >= border)
    large = _large_pools(learnt)
    if not large:
        most = max((_nodes_of(rows, pool) for pool in range(len(rows.names))), default=0)
        raise NotEnoughHistory(
            f"no pool has {FEWEST_NODES} nodes with {FEWEST_ROWS} windows in the first part; the largest of "
            f"{len(rows.names)} pools has {most} nodes"
        )
    learnt, held_out = (part.where(np.isin(part.pools, large)) for part in (learnt, held_out))
    if len(held_out) < FEWEST_HELD_OUT:
        raise NotEnoughHistory(
            f"{len(held_out)} windows are left to calibrate with; at least {FEWEST_HELD_OUT} are needed"
        )
    return Split(learnt, held_out)


def fit(parts: Split, identity: str, facts: dict[str, Any] | None = None) -> FleetModel:
    """Learns a model of the first part and calibrates it with the second. Raises NotEnoughHistory."""
    learnt = parts.learnt
    values = to_scale(learnt.features)
    present = (~np.isnan(values)).mean(axis=0) >= _PRESENT
    if np.count_nonzero(present) < 2:
        raise NotEnoughHistory(f"{np.count_nonzero(present)} features have values in half of the rows; two are needed")
    columns = np.flatnonzero(present)
    values = values[:, columns]
    pools = _large_pools(learnt)
    median = np.zeros((len(pools), HOURS, len(columns)))
    scale = np.zeros((len(pools), len(columns)))
    z = np.full(values.shape, np.nan)
    places = np.full(len(learnt.names), -1, np.intp)
    for place, pool in enumerate(pools):
        places[pool] = place
        mine = np.flatnonzero(learnt.pools == pool)
        hours = learnt.minutes[mine] // 60 % HOURS
        median[place] = _medians(values[mine], hours)
        z[mine], scale[place] = _standardised(values[mine] - median[place, hours], LEAST_SCALE[columns])
    np.clip(z, -FARTHEST, FARTHEST, out=z)
    mean, precision = _relations(z)
    empty = Reference(*(np.zeros(0) for _ in Reference._fields))
    model = FleetModel(
        identity,
        tuple(FEATURES[column] for column in columns),
        tuple(learnt.names[pool] for pool in pools),
        median,
        scale,
        mean,
        precision,
        np.ones((2, len(columns))),
        np.array([[0.0, 1.0], [0.0, 1.0]]),
        empty,
        {**(facts or {}), WEEKDAYS: _weekdays(parts), "python": platform.python_version(), "numpy": np.__version__},
    )
    longest = np.stack([_longest(kind, learnt.nodes) for kind in model.both(z)])
    model = _with(model, longest=longest)
    held_out = model.deviations(places[parts.held_out.pools], parts.held_out.minutes, parts.held_out.features)
    raw = model.raw_scores(held_out)
    model = _with(model, calibration=calibration_of(raw))
    everything = np.concatenate([z, held_out])
    minutes = np.concatenate([learnt.minutes, parts.held_out.minutes])
    return _with(model, reference=reference_of(everything, minutes, model.calibrated(raw)))


def _weekdays(parts: Split) -> int:
    """How many days of the week there are rows of, in half of their hours at least."""
    hours = np.unique(np.concatenate([parts.learnt.minutes, parts.held_out.minutes]) // 60 % (7 * HOURS))
    return int(np.count_nonzero(np.bincount(hours // HOURS) >= HOURS // 2))


def calibration_of(raw: Floats) -> Floats:
    """(2, knots): raw scores and the share of windows below. Beyond the highest one seen it goes up to 1 slowly."""
    raw = raw[~np.isnan(raw)]
    if not len(raw):
        raise NotEnoughHistory("no held-out window has enough features to be scored")
    knots = np.quantile(raw, _PROBABILITIES)
    highest = max(float(raw.max()), float(knots[-1]))
    ends = np.array([highest, 2.0 * highest + 1.0])
    x = np.concatenate([knots, ends]) + 1e-9 * np.arange(len(knots) + 2)
    last = max(1.0 - 0.5 / len(raw), _PROBABILITIES[-1])
    return np.stack([x, np.concatenate([_PROBABILITIES, [last, 1.0]])])


def _with(model: FleetModel, **changes: Any) -> FleetModel:
    return FleetModel(**{name: changes.get(name, getattr(model, name)) for name in FleetModel.__dataclass_fields__})


def _nodes_of(rows: Rows, pool: int) -> int:
    return len(np.unique(rows.nodes[rows.pools == pool]))


def _large_pools(rows: Rows) -> list[int]:
    """Places of pools that others can be compared with."""
    counts = np.bincount(rows.pools, minlength=len(rows.names))
    enough = np.flatnonzero(counts >= FEWEST_ROWS).tolist()
    return [pool for pool in enough if rows.names[pool][1] and _nodes_of(rows, pool) >= FEWEST_NODES]


def _medians(values: Floats, hours: Indexes) -> Floats:
    """(HOURS, features); of hours with few windows that of all hours, of features without values 0."""
    overall = _nanmedian(values)
    found = np.tile(overall, (HOURS, 1))
    for hour in range(HOURS):
        mine = values[hours == hour]
        if len(mine) >= _FEWEST_PER_HOUR:
            of_hour = _nanmedian(mine)
            found[hour] = np.where(np.isnan(of_hour), overall, of_hour)
    return np.nan_to_num(found)


def _nanmedian(values: Floats) -> Floats:
    """Per column; NaN where it has no values."""
    found = np.full(values.shape[1], np.nan)
    there = ~np.isnan(values).all(axis=0)
    found[there] = np.nanmedian(values[:, there], axis=0)
    return found


def _standardised(residuals: Floats, least: Floats) -> tuple[Floats, Floats]:
    """Residuals in units of their spread, and the spread: of the middle or of the tails, whichever is wider."""
    scale = least.copy()
    there = ~np.isnan(residuals).all(axis=0)
    known = residuals[:, there]
    middle = 1.4826 * np.nanmedian(np.abs(known), axis=0)
    low, high = np.nanquantile(known, [1.0 - _TAIL, _TAIL], axis=0)
    scale[there] = np.max([scale[there], middle, high / _TAIL_SIGMAS, -low / _TAIL_SIGMAS], axis=0)
    return residuals / scale, scale


def _relations(z: Floats) -> tuple[Floats, Floats]:
    """Mean and precision of cut deviations; what is missing counts as usual."""
    from sklearn.covariance import empirical_covariance, shrunk_covariance  # 4 s and 100 MiB that only training takes

    cut = np.clip(np.nan_to_num(z), -_CUT, _CUT)
    covariance = shrunk_covariance(empirical_covariance(cut)) + _LEAST_VARIANCE * np.eye(cut.shape[1])
    return cut.mean(axis=0), np.linalg.inv(covariance)


def _longest(deviations: Floats, nodes: Indexes) -> Floats:
    """(features): the longest deviation of any healthy node."""
    present = np.unique(nodes)
    of_nodes = np.stack([np.quantile(deviations[nodes == node], _TAIL_OF_NODE, axis=0) for node in present])
    ill = max(int(np.ceil(_ILL * len(present))), 1)
    healthy = np.sort(of_nodes, axis=0)[-1 - ill] if len(present) > ill else of_nodes.max(axis=0)
    return np.asarray(np.maximum(healthy, _SIGMAS))
