"""The fleet model: finds what is unlike its pool, by itself or in its relations, says why, and takes any input."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from functions.core.fleet_model.model import ALARM, NO_POOL
from functions.core.fleet_model.training import fit, split
from telemetry.tables import FEATURES
from tests.fleet_rows import CPU, ERRORS, MEMORY, POOL, RECEIVE, START, TEMPERATURE, fleet_rows


@pytest.fixture(scope="module")
def model():
    return fit(split(fleet_rows()), "m1")


@pytest.fixture(scope="module")
def unseen():
    return fleet_rows(nodes=8, hours=12, seed=1, start=START + 3 * 1440)


def scores(model, rows, features=None):
    return model.scores(rows.pools, rows.minutes, rows.features if features is None else features)


def changed(rows, **values):
    """The rows with some columns multiplied."""
    features = rows.features.copy()
    for name, factor in values.items():
        features[:, FEATURES.index(name)] *= factor
    return features


def test_healthy_windows_are_rarely_above_the_alarm():
    model = fit(split(fleet_rows(hours=10 * 24)), "m10")
    rows = fleet_rows(hours=4 * 24, start=START + 10 * 1440)

    assert np.mean(scores(model, rows) >= ALARM) < 5 * (1 - ALARM)


def test_feature_far_from_its_pool_is_above_the_alarm(model, unseen):
    found = scores(model, unseen, changed(unseen, MemoryUtilization=3.0))

    assert np.mean(found >= ALARM) > 0.95


def test_broken_relation_is_found_where_each_value_alone_is_usual(model, unseen):
    evening = np.flatnonzero((unseen.minutes // 60 % 24 >= 5) & (unseen.minutes // 60 % 24 < 7))
    rows = unseen.where(evening)
    idle = changed(rows, CpuUtilization=0.75)
    own, relation = model.both(model.deviations(rows.pools, rows.minutes, idle))
    place = model.features.index("CpuUtilization")

    assert own[:, place].max() < 1.0
    assert np.median(relation[:, place]) > 1.0
    assert np.mean(scores(model, rows, idle) >= ALARM) > 0.6


def test_feature_that_never_moved_is_found_when_it_does(model, unseen):
    features = unseen.features.copy()
    features[:, ERRORS] = 20.0

    assert scores(model, unseen, features).min() >= ALARM


def test_explanation_names_the_feature_with_what_was_expected(model, unseen):
    features = unseen.features[0].copy()
    features[MEMORY] = 0.97

    first, *_ = model.explain(0, int(unseen.minutes[0]), features)

    assert first.feature == "MemoryUtilization"
    assert first.value == pytest.approx(0.97)
    assert 0.1 < first.lower < 0.4 < first.upper < 0.9
    assert first.share > 1.0


def test_unknown_pool_has_no_score(model, unseen):
    pools = model.pool_places([("c", "other"), POOL])

    assert pools.tolist() == [NO_POOL, 0]
    assert np.isnan(model.scores(pools[:1], unseen.minutes[:1], unseen.features[:1])).all()


def test_missing_feature_changes_a_score_little(model, unseen):
    features = unseen.features.copy()
    features[:, [CPU, RECEIVE]] = np.nan

    known, less = scores(model, unseen), scores(model, unseen, features)

    assert not np.isnan(less).any()
    assert np.mean(less >= ALARM) <= np.mean(known >= ALARM) + 0.01


def test_missing_features_break_no_relation_of_a_busy_node(model, unseen):
    busy = 1.2 * unseen.features
    partly = busy.copy()
    partly[:, ::3] = np.nan

    assert np.mean(scores(model, unseen, partly) >= ALARM) <= np.mean(scores(model, unseen, busy) >= ALARM)


def test_explanation_names_nothing_that_healthy_nodes_show_as_well(model, unseen):
    features = unseen.features[0].copy()
    features[ERRORS] = 20.0

    found = model.explain(0, int(unseen.minutes[0]), features)

    assert found[0].feature == "NetworkReceiveErrors"
    assert all(one.share >= 1.0 for one in found)


def test_window_with_too_few_features_has_no_score(model, unseen):
    features = np.full((2, len(FEATURES)), np.nan)
    features[:, :10] = unseen.features[:2, :10]

    assert np.isnan(model.scores(unseen.pools[:2], unseen.minutes[:2], features)).all()


def test_feature_without_values_is_left_out(model):
    assert "Temperature" not in model.features
    assert len(model.features) == len(FEATURES) - 1


def test_windows_are_scored_alike_alone_and_together(model, unseen):
    features = unseen.features.copy()
    features[::3, MEMORY] = np.nan
    features[1::7, TEMPERATURE] = 40.0

    together = scores(model, unseen, features)
    alone = [
        model.scores(unseen.pools[i : i + 1], unseen.minutes[i : i + 1], features[i : i + 1])[0] for i in range(40)
    ]

    assert np.allclose(together[:40], alone, rtol=0, atol=1e-12)


nonsense = st.sampled_from([0.0, -1.0, 1e308, -1e308, np.inf, -np.inf, np.nan, 5e-324])


@settings(max_examples=50, deadline=None)
@given(values=st.lists(nonsense, min_size=len(FEATURES), max_size=len(FEATURES)), minute=st.integers(-5, 10**9))
def test_any_numbers_give_a_score_between_0_and_1_or_none(model, values, minute):
    found = model.scores(np.zeros(1, np.intp), np.array([minute]), np.array([values]))

    assert np.isnan(found).all() or 0.0 <= found[0] <= 1.0
    assert all(0 <= one.lower <= one.upper < np.inf for one in model.explain(0, minute, np.array(values)))
