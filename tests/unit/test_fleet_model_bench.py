"""The reckoning of the fleet model's bench: when rivals' windows are an incident, and which incidents are right."""

import numpy as np

from bench.fleet_model.fleets import DAY, Event, Judged, SimulatedFleet
from bench.fleet_model.reckoning import judged_incidents, persistent
from telemetry.tables import FEATURES

WEEK = 7 * DAY


def above(*runs, windows=100):
    found = np.zeros((windows, 2), np.bool_)
    for node, start, end in runs:
        found[start:end, node] = True
    return found


def judged(*events):
    return Judged(np.zeros((WEEK, 2, 1)), np.zeros((WEEK, 2), np.bool_), list(events))


def test_three_windows_of_five_minutes_in_a_row_are_an_incident_and_two_are_not():
    assert persistent(above((0, 10, 13), (1, 10, 12)), 5) == [(12, 0)]


def test_what_comes_back_before_it_was_quiet_is_the_same_incident():
    assert persistent(above((0, 10, 20), (0, 22, 40), (0, 60, 70)), 5) == [(12, 0), (62, 0)]


def test_incidents_within_a_fault_or_just_after_it_are_right_and_others_false():
    events = [Event("cpu_runaway", 0, 100, 200), Event("io_stall", 1, 100, 200)]

    found, false = judged_incidents([(150, 0), (214, 0), (215, 0), (50, 1)], judged(*events))

    assert found == {"cpu_runaway": [True], "io_stall": [False]}
    assert false == 2 / 2  # two of them in two node-weeks


def test_rows_are_single_windows_and_those_of_nobody_are_left_out():
    fleet = SimulatedFleet(10, 1, healthy=True)
    features = np.zeros((2, 10, len(FEATURES)))
    features[1, 3] = np.nan

    rows = fleet.as_rows(np.array([7, 22]), features)

    assert len(rows) == 19
    assert rows.names == (("sim", "system"), ("sim", "user"), ("sim", "spot"))
    assert [rows.names[pool][1] for pool in rows.pools[:3]] == ["system", "user", "user"]
