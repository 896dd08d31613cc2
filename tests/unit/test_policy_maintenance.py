"""Maintenance: whom a planned time covers, and when."""

import pytest

from functions.core.policy.maintenance import MaintenanceWindow, in_maintenance

WHOLE = MaintenanceWindow("c", 1_000, 2_000)
POOL = MaintenanceWindow("c", 1_000, 2_000, pool="user")
NODE = MaintenanceWindow("c", 1_000, 2_000, node="n1")
BOTH = MaintenanceWindow("c", 1_000, 2_000, pool="user", node="n1")


@pytest.mark.parametrize(
    ("window", "cluster", "node", "pool", "covered"),
    [
        (WHOLE, "c", "n1", "user", True),
        (WHOLE, "c", "n1", "", True),
        (WHOLE, "d", "n1", "user", False),
        (POOL, "c", "n9", "user", True),
        (POOL, "c", "n9", "spot", False),
        (NODE, "c", "n1", "spot", True),
        (NODE, "c", "n2", "user", False),
        (BOTH, "c", "n1", "user", True),
        (BOTH, "c", "n1", "spot", False),
    ],
)
def test_a_time_is_of_a_cluster_a_pool_or_a_node(window, cluster, node, pool, covered):
    assert window.covers(cluster, node, pool, 1_500) is covered
    assert in_maintenance([NODE, window], cluster, node, pool, 1_500) is (
        covered or NODE.covers(cluster, node, pool, 1_500)
    )


@pytest.mark.parametrize(("at", "covered"), [(999, False), (1_000, True), (1_999, True), (2_000, False)])
def test_a_time_begins_with_its_first_millisecond_and_ends_before_its_last(at, covered):
    assert in_maintenance([WHOLE], "c", "n1", "user", at) is covered


def test_nothing_planned_covers_nobody():
    assert not in_maintenance([], "c", "n1", "user", 1_500)
