"""Training: learns from what healthy nodes did, says clearly what is missing, and is not bent by a node that is ill."""

from datetime import UTC, datetime

import numpy as np
import pytest

from functions.core.fleet_model.history import COLUMNS, Disturbance, Rows, answer_of, rows_of
from functions.core.fleet_model.model import ALARM
from functions.core.fleet_model.training import FEWEST_NODES, NotEnoughHistory, calibration_of, fit, split
from telemetry.tables import FEATURES, TABLES
from tests.fleet_rows import MEMORY, POOL, START, TEMPERATURE, fleet_rows


def answer(rows, missing=None):
    """As FleetHistory.kql answers."""
    return {
        "WindowStart": [datetime.fromtimestamp(60 * int(minute), UTC) for minute in rows.minutes],
        "Cluster": [rows.names[pool][0] for pool in rows.pools],
        "Pool": [rows.names[pool][1] for pool in rows.pools],
        "Node": [f"n{node}" for node in rows.nodes],
        **{column: rows.features[:, place].tolist() for place, column in enumerate(COLUMNS)},
    }


def test_columns_of_history_are_columns_of_the_table():
    assert set(COLUMNS) <= {column.name for column in TABLES["NodeMetrics_CL"]}
    assert len(COLUMNS) == len(FEATURES)


def test_answers_become_rows_in_order_of_time():
    rows = fleet_rows(nodes=4, hours=2)
    late, early = rows.where(np.arange(16, 32)), rows.where(np.arange(16))

    found = rows_of([answer_of(answer(late)), answer_of(answer(early))])

    assert found.minutes.tolist() == rows.minutes.tolist()
    assert found.names == (POOL,)
    assert np.array_equal(found.features, rows.features, equal_nan=True)


def test_null_and_nonsense_of_an_answer_are_missing():
    found = answer(fleet_rows(nodes=1, hours=1))
    found[COLUMNS[0]] = [None, float("inf"), float("nan"), 0.5]

    assert np.isnan(rows_of([answer_of(found)]).features[:, 0]).tolist() == [True, True, True, False]


def test_windows_of_an_incident_are_no_example():
    rows = fleet_rows(nodes=2, hours=2)

    found = rows_of(
        [answer_of(answer(rows))], [Disturbance("c", "n1", START + 15, START + 30), Disturbance("c", "nobody", 0, 1)]
    )

    gone = (rows.nodes == 1) & (rows.minutes >= START + 15) & (rows.minutes <= START + 30)
    assert len(found) == len(rows) - gone.sum() == len(rows) - 2


def test_no_rows_are_refused():
    with pytest.raises(NotEnoughHistory, match="there are no rows"):
        split(rows_of([]))


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (fleet_rows(nodes=8, hours=3), "cover 2.8 h; at least 6 h"),
        (fleet_rows(nodes=1), "largest of 1 pools has 1 nodes"),
        (fleet_rows(nodes=FEWEST_NODES - 1), "largest of 1 pools has 3 nodes"),
        (fleet_rows(nodes=8, pools=tuple(("c", str(number)) for number in range(4))), "no pool has 4 nodes"),
        (fleet_rows(nodes=8, pools=(("c", ""),)), "no pool has 4 nodes"),
        (fleet_rows(nodes=4, hours=20, step=60), "no pool has 4 nodes with 40 windows|windows are left to calibrate"),
    ],
)
def test_too_little_history_is_refused_with_what_is_missing(rows, words):
    with pytest.raises(NotEnoughHistory, match=words):
        fit(split(rows), "m")


def test_small_pool_is_left_out_and_the_others_are_learnt():
    rows = fleet_rows(nodes=9)
    pools = np.where(rows.nodes < 3, 1, 0)
    rows = Rows(rows.minutes, rows.nodes, pools, (POOL, ("c", "small")), rows.features)

    assert fit(split(rows), "m").pools == (POOL,)


def test_model_is_the_same_for_the_same_rows():
    one, two = (fit(split(fleet_rows()), "m") for _ in range(2))

    assert np.array_equal(one.precision, two.precision)
    assert np.array_equal(one.calibration, two.calibration)


def test_rows_without_any_value_are_refused():
    rows = fleet_rows()
    rows.features[:] = np.nan

    with pytest.raises(NotEnoughHistory, match="0 features have values"):
        fit(split(rows), "m")


def test_features_that_never_change_are_learnt_and_found_when_they_do():
    rows = fleet_rows()
    rows.features[:, np.arange(len(FEATURES)) != TEMPERATURE] = 0.4
    model = fit(split(rows), "m")

    same = model.scores(rows.pools[:8], rows.minutes[:8], rows.features[:8])
    other = model.scores(rows.pools[:8], rows.minutes[:8], 5.0 * rows.features[:8])

    assert (same < ALARM).all()
    assert (other >= ALARM).all()


def test_feature_that_only_some_nodes_have_is_learnt():
    rows = fleet_rows()
    rows.features[rows.nodes % 2 == 1, MEMORY] = np.nan

    model = fit(split(rows), "m")

    assert "MemoryUtilization" in model.features
    assert np.isfinite(model.median).all()
    assert not np.isnan(model.scores(rows.pools, rows.minutes, rows.features)).any()


def test_one_node_that_is_ill_all_the_time_does_not_hide_others_that_become_so():
    rows = fleet_rows(nodes=12)
    rows.features[rows.nodes == 0, MEMORY] *= 2.5
    model = fit(split(rows), "m")
    later = fleet_rows(nodes=12, hours=6, seed=1, start=START + 5 * 1440)
    later.features[:, MEMORY] *= 2.5

    own, relation = model.both(model.deviations(later.pools, later.minutes, later.features))
    place = model.features.index("MemoryUtilization")

    assert np.median(np.maximum(own, relation)[later.nodes != 0, place]) > 1.2


def test_what_one_node_does_now_and_then_is_not_taken_for_healthy():
    rows = fleet_rows(nodes=12)
    rows.features[np.flatnonzero(rows.nodes == 0)[::25], MEMORY] *= 6.0

    usual, ill = fit(split(fleet_rows(nodes=12)), "m"), fit(split(rows), "m")

    place = usual.features.index("MemoryUtilization")
    assert ill.longest[0, place] < 1.2 * usual.longest[0, place]


def test_calibration_is_monotone_whatever_the_scores():
    for raw in (np.ones(300), np.zeros(300), np.r_[np.zeros(299), 1e9], np.arange(300.0), np.r_[np.nan, 1.0]):
        knots, shares = calibration_of(raw)
        assert (np.diff(knots) > 0).all()
        assert (np.diff(shares) >= 0).all()
        assert shares[-1] == 1.0


def test_nothing_to_calibrate_with_is_refused():
    with pytest.raises(NotEnoughHistory, match="no held-out window"):
        calibration_of(np.full(5, np.nan))
