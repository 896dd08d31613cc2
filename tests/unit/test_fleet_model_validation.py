"""Comparing models: on the same windows, at the same rate of alarms, by made anomalies."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from functions.core.fleet_model.model import FleetModel
from functions.core.fleet_model.training import fit, split
from functions.core.fleet_model.validation import ANOMALIES, FALSE_RATE, Quality, beats, quality
from tests.fleet_rows import POOL, START, fleet_rows

PARTS = split(fleet_rows(hours=96))


@cache
def trained():
    """Not made while tests are collected: training takes a second's imports."""
    return fit(PARTS, "m")


def changed(**changes):
    values = {name: getattr(trained(), name) for name in FleetModel.__dataclass_fields__}
    return FleetModel(**{**values, **changes})


def test_model_of_the_same_fleet_finds_most_and_alarms_at_the_promised_rate():
    found = quality(trained(), PARTS.held_out)

    assert set(found.by_kind) == set(ANOMALIES)
    assert found.found > 0.6
    assert found.alarm_rate < 3 * FALSE_RATE
    assert found.covered == 1.0
    assert found.holds


def test_measure_is_the_same_every_time():
    assert quality(trained(), PARTS.held_out) == quality(trained(), PARTS.held_out)


def test_model_that_lost_its_relations_is_worse():
    blunt = changed(longest=trained().longest * np.array([[1.0], [1e6]]))

    assert beats(quality(trained(), PARTS.held_out), quality(blunt, PARTS.held_out))
    assert not beats(quality(blunt, PARTS.held_out), quality(trained(), PARTS.held_out))


def test_model_does_not_beat_itself():
    same = quality(trained(), PARTS.held_out)

    assert not beats(same, same)


def test_model_whose_threshold_does_not_hold_any_more_is_beaten_by_one_whose_does():
    grown = split(fleet_rows(hours=96, factor=3.0, start=START + 20 * 1440))

    old, new = quality(trained(), grown.held_out), quality(fit(grown, "n"), grown.held_out)

    assert not old.holds
    assert beats(new, old)
    assert not beats(old, new)


def test_model_that_knows_none_of_the_pools_finds_nothing():
    rows = replace(PARTS.held_out, names=(("c", "renamed"),))

    assert quality(trained(), rows) == Quality(0.0, dict.fromkeys(ANOMALIES, 0.0), 0.0, 0.0)


def test_no_windows_are_no_evidence():
    assert quality(trained(), PARTS.held_out.where(np.zeros(0, np.intp))).found == 0.0


@pytest.mark.parametrize("name", ANOMALIES)
def test_made_anomaly_changes_copies_only_and_something_in_nearly_all_windows(name):
    rows = fleet_rows(hours=12)
    before = rows.features.copy()
    chosen = np.arange(len(rows))

    made = ANOMALIES[name](rows, chosen, np.random.default_rng(1))

    assert np.array_equal(rows.features, before, equal_nan=True)
    assert ((made != before) & ~np.isnan(before)).any(axis=1).mean() > 0.9
    assert np.array_equal(np.isnan(made), np.isnan(before))


def test_pool_is_named():
    assert trained().pools == (POOL,)
