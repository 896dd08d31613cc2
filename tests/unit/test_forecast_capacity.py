"""Nodes needed: the highest demand of the hours over the target, rounded up, within the bounds."""

from __future__ import annotations

import numpy as np
import pytest

from functions.core.forecast.capacity import Capacity, nodes_needed

FLAT = np.full(288, 3.0)


def test_the_highest_demand_within_the_hours_decides() -> None:
    demand = FLAT.copy()
    demand[30] = 4.1  # two and a half hours ahead

    assert nodes_needed(demand, target=0.5, hours=2, current=6).needed == 6
    assert nodes_needed(demand, target=0.5, hours=3, current=6) == Capacity(9, 9, 4.1, 31 * 300, 3)


def test_a_demand_of_whole_nodes_is_not_rounded_up_for_a_rounding_error() -> None:
    assert nodes_needed(np.full(288, 0.6 * 7), target=0.6, hours=1, current=7).needed == 7


def test_bounds_are_kept_and_what_they_hide_is_told() -> None:
    assert nodes_needed(FLAT, target=0.1, hours=1, current=5, most=8)[:2] == (8, 30)
    assert nodes_needed(FLAT * 0, target=0.5, hours=1, current=5, least=2)[:2] == (2, 0)


def test_fewer_nodes_than_now_is_a_negative_change() -> None:
    assert nodes_needed(FLAT, target=0.5, hours=1, current=10).change == -4


def test_missing_points_do_not_count() -> None:
    demand = np.where(np.arange(288) % 2, FLAT, np.nan)

    assert nodes_needed(demand, target=0.5, hours=1, current=0).needed == 6


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"target": 0.0}, "target must be"),
        ({"target": 1.1}, "target must be"),
        ({"target": float("nan")}, "target must be"),
        ({"hours": 0}, "hours must be 1 to 24"),
        ({"hours": 25}, "hours must be 1 to 24"),
        ({"least": 3, "most": 2}, "fewest nodes"),
        ({"least": -1}, "fewest nodes"),
        ({"current": -1}, "current nodes"),
        ({"demand": np.full(288, np.nan)}, "a day of the pool"),
        ({"demand": np.empty(0)}, "a day of the pool"),
    ],
)
def test_what_makes_no_sense_is_refused_with_what_would(changes: dict, said: str) -> None:
    given = {"demand": FLAT, "target": 0.6, "hours": 6, "current": 3} | changes

    with pytest.raises(ValueError, match=said):
        nodes_needed(given.pop("demand"), **given)
