"""The outliers of an evaluated fleet: told after a week that was learnt from, of the node that is unlike its pool."""

import numpy as np
import pytest

from bench.eval.unlike import OFFSET, STEP, Outlying
from local.fleet.pools import pool_of
from tests.fleet_rows import MEMORY, START, features

USERS = [node for node in range(20) if pool_of(node).name == "user"][:8]
DAY = 1_440


def told_of(days):
    """What is told when, after so many days of rows, the memory of the third node is used up for half an hour."""
    source, everyone = Outlying(USERS), np.arange(len(USERS))
    learnt = np.arange(START, START + days * DAY + 160, STEP) + OFFSET
    told = []
    for minute, windows in zip(learnt.tolist(), features(learnt, len(USERS), 1), strict=True):
        told += source.feed(minute, everyone, windows)
    first = START + days * DAY + 160
    now = np.arange(first, first + 60)
    for minute, windows in zip(now.tolist(), features(now, len(USERS), 1), strict=True):
        if first + 10 <= minute < first + 40:
            windows[2, MEMORY] *= 3
        told += source.feed(minute, everyone, windows)
    return told, first + 10


def test_outlier_is_told_once_after_ten_of_twelve_windows():
    (one,), began = told_of(7)

    assert (one.node, one.kind, one.metric) == (2, "outlier", "MemoryUtilization")
    assert began + 9 <= one.minute <= began + 12


@pytest.mark.parametrize("days", [0, 1, 4])
def test_nothing_is_told_before_a_week_is_known(days):
    told, _ = told_of(days)

    assert told == []
