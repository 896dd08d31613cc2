"""What is told of a fleet against what happened there, counted by hand."""

import pytest

from bench.eval.fleet_score import GRACE, MOVED, WEEK, Told, recall, tally
from bench.eval.schedule import FAULT_KINDS, Label
from telemetry.tables import FEATURES

HOUR = 3600.0
FAULT = Label(3, "cpu_runaway", 100 * HOUR, 101 * HOUR, 0.8)
OTHER = Label(4, "memory_leak", 100 * HOUR, 102 * HOUR, 0.2)


def told(node, hours, metric="CpuUtilization"):
    return Told(node, hours * HOUR, "band", metric)


def count(*alarms, faults=(FAULT, OTHER), events=(), **more):
    return tally(alarms, faults, events, nodes=10, seconds=WEEK, **more)


def test_a_fault_is_found_by_what_is_told_of_its_node_while_it_goes_on():
    found = count(told(3, 100.5))

    assert [one.delay for one in found.faults] == [0.5 * HOUR, None]
    assert recall(found.first) == 0.5
    assert found.false_alarms == []


def test_another_nodes_alarm_finds_nothing_and_is_false():
    found = count(told(5, 100.5))

    assert recall(found.first) == 0.0
    assert len(found.false_alarms) == 1


def test_an_alarm_before_the_fault_is_false_and_one_within_the_grace_after_it_is_not():
    late, too_late = 101 + GRACE / HOUR, 101 + (GRACE + 1) / HOUR

    assert len(count(told(3, 99.99)).false_alarms) == 1
    assert recall(count(told(3, 99.99)).faults) == 0.0
    assert recall(count(told(3, late)).faults) == 0.5
    assert count(told(3, late)).false_alarms == []
    assert recall(count(told(3, too_late)).faults) == 0.0
    assert len(count(told(3, too_late)).false_alarms) == 1


def test_the_delay_is_that_of_the_first_alarm_in_whatever_order_they_come():
    found = count(told(3, 100.9), told(3, 100.2), told(3, 100.5))

    assert found.faults[0].delay == pytest.approx(0.2 * HOUR)
    assert found.faults[0].told == 3


def test_each_false_alarm_counts_and_is_put_down_to_the_event_that_went_on():
    backup = Label(5, "nightly_backup", 10 * HOUR, 11 * HOUR, 1.0)

    found = count(told(5, 10.5), told(5, 11.1), told(5, 20), told(6, 10.5), events=[backup])

    assert [one.during for one in found.false_alarms] == ["nightly_backup", "", "nightly_backup", ""]


def test_what_has_one_id_is_one_false_alarm_on_however_many_nodes_and_finds_each_of_their_faults():
    shared = [one._replace(id="abc") for one in (told(3, 100.5), told(4, 100.6), told(5, 100.5), told(6, 100.5))]

    found = count(*shared, told(7, 100.5))

    assert len(found.false_alarms) == 1  # of the pool's incident, the first notice was about a fault
    assert recall(found.first) == 1.0


def test_the_rate_is_per_week_of_nodes_without_a_fault():
    found = count(told(5, 10), told(6, 10))

    faulty = (1 * HOUR + GRACE + 2 * HOUR + GRACE) / WEEK
    assert found.node_weeks == pytest.approx(10 - faulty)
    assert found.false_alarms_per_node_week == pytest.approx(2 / (10 - faulty))


def test_faults_of_a_node_that_overlap_are_taken_from_its_time_once():
    overlapping = Label(3, "io_stall", 100.5 * HOUR, 101.5 * HOUR, 0.9)

    found = count(faults=[FAULT, overlapping])

    assert found.node_weeks == pytest.approx(10 - (1.5 * HOUR + GRACE) / WEEK)


def test_during_faults_that_others_are_to_find_an_alarm_is_neither_right_nor_false():
    found = count(told(7, 50.2), faults=[FAULT], also_excused=[Label(7, "node_gone", 50 * HOUR, 51 * HOUR, 1.0)])

    assert found.false_alarms == []
    assert recall(found.first) == 0.0


def test_a_metric_that_the_fault_moves_is_named_or_it_is_not():
    assert count(told(3, 100.5, "CpuUtilization")).of_kind("cpu_runaway").named == 1
    assert count(told(3, 100.5, "NetworkReceiveDrops")).of_kind("cpu_runaway").named == 0


def test_every_fault_that_metrics_show_moves_features_and_others_move_none():
    for kind in FAULT_KINDS:
        assert MOVED[kind] <= set(FEATURES)
        assert bool(MOVED[kind]) == (kind not in ("clock_step", "node_gone"))


def test_kinds_are_summed_up_in_minutes():
    faults = [Label(node, "io_stall", 10 * HOUR, 11 * HOUR, 0.9) for node in range(4)]

    kind = count(told(0, 10.1), told(1, 10.2), told(2, 10.9), told(2, 10.95), faults=faults).of_kind("io_stall")

    assert (kind.faults, kind.found) == (4, 3)
    assert kind.median_delay == pytest.approx(12.0)
    assert kind.longest_delay == pytest.approx(54.0)
    assert kind.told_per_fault == pytest.approx(4 / 3)


def test_a_fault_that_comes_back_is_counted_apart():
    back = FAULT._replace(start=130 * HOUR, end=131 * HOUR, again=True)

    found = count(told(3, 130.5), faults=[FAULT, back])

    assert recall(found.first) == 0.0
    assert recall(found.again) == 1.0
    assert found.of_kind("cpu_runaway")[-2:] == (1, 1)
    assert found.false_alarms == []


def test_alarms_all_the_time_find_everything_and_chance_says_so():
    alarms = [told(node, hour / 4) for node in range(10) for hour in range(4 * 168)]

    found = count(*alarms)

    assert recall(found.first) == 1.0
    assert found.recall_by_chance > 0.98
    assert count().recall_by_chance == 0.0
