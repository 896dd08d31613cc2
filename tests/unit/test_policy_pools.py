"""Pools: what many nodes do at once is found, what few do is not, and nobody who left counts."""

from functions.core.policy.pools import FEWEST, JOINS, PRESENT, TOGETHER, Pools

NOW = 29_833_333
DISK, CPU = 13, 0


def pools(nodes, changing, *, at=NOW, metrics=(DISK,)):
    found = Pools()
    for number in range(nodes):
        found.note(("c", f"n{number}"), "user", NOW, [])
    for number in range(changing):
        found.note(("c", f"n{number}"), "user", at, list(metrics))
    return found


def test_a_third_of_the_pool_makes_it_the_pools_event():
    assert pools(9, 3).shared("c", "user", NOW, [DISK]) == [DISK]
    assert pools(10, 3).shared("c", "user", NOW, [DISK]) == []


def test_fewer_than_three_nodes_never_do():
    assert FEWEST == 3
    assert pools(2, 2).shared("c", "user", NOW, [DISK]) == []
    assert pools(3, 3).shared("c", "user", NOW, [DISK]) == [DISK]


def test_only_the_metrics_that_many_nodes_share_are_the_pools():
    assert pools(6, 3, metrics=(DISK,)).shared("c", "user", NOW, [DISK, CPU]) == [DISK]


def test_changes_longer_ago_are_not_at_the_same_time():
    assert pools(6, 4, at=NOW - TOGETHER).shared("c", "user", NOW, [DISK]) == [DISK]
    assert pools(6, 4, at=NOW - TOGETHER - 1).shared("c", "user", NOW, [DISK]) == []


def test_other_pools_and_other_clusters_are_others():
    found = pools(9, 9)
    found.note(("c", "x"), "system", NOW, [DISK])
    found.note(("d", "x"), "user", NOW, [DISK])

    assert found.shared("c", "system", NOW, [DISK]) == []
    assert found.shared("d", "user", NOW, [DISK]) == []


def test_nodes_that_say_nothing_for_an_hour_are_not_counted():
    found = pools(12, 0)
    for number in range(3):
        found.note(("c", f"n{number}"), "user", NOW + PRESENT + 1, [DISK])

    assert found.shared("c", "user", NOW + PRESENT + 1, [DISK]) == [DISK]


def test_nodes_that_are_forgotten_are_not_counted():
    found = pools(9, 3)

    found.forget([("c", "n0"), ("c", "unknown")])

    assert found.shared("c", "user", NOW, [DISK]) == []


def test_nodes_join_the_pools_event_while_others_do_and_begin_another_one_later():
    found = pools(9, 9)

    first = found.event("c", "user", NOW)
    joined = found.event("c", "user", NOW + JOINS)
    still = found.event("c", "user", NOW + 2 * JOINS)
    later = found.event("c", "user", NOW + 4 * JOINS)

    assert first == joined == still
    assert later != first


def test_instances_that_see_other_nodes_of_the_pool_name_the_event_alike():
    begin = NOW // 30 * 30

    assert pools(9, 9).event("c", "user", begin + 2) == pools(5, 5).event("c", "user", begin + 20)
    assert pools(9, 9).event("c", "user", begin) != pools(5, 5).event("c", "user", begin + 30)
