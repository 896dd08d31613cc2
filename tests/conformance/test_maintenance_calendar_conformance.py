"""What every MaintenanceCalendar promises (functions.core.ports)."""

import time

import pytest

from functions.core.policy.maintenance import MaintenanceWindow
from tests.conformance.port_factories import CALENDARS

NOW = round(time.time()) * 1000
HOUR = 3_600_000


@pytest.fixture(params=CALENDARS)
def maintenance_calendar(request):
    with CALENDARS[request.param]() as under_test:
        yield under_test


def test_nothing_is_planned_at_first(maintenance_calendar):
    assert list(maintenance_calendar.calendar.windows()) == []


def test_what_is_planned_comes_back_as_it_was_planned(maintenance_calendar):
    planned = {
        MaintenanceWindow("blue", NOW - HOUR, NOW + HOUR),
        MaintenanceWindow("blue", NOW + HOUR, NOW + 2 * HOUR, pool="user"),
        MaintenanceWindow("green", NOW, NOW + HOUR, node="aks-user-1"),
        MaintenanceWindow("green", NOW, NOW + HOUR, pool="it's a pool", node="aks-user-1"),
    }

    for window in planned:
        maintenance_calendar.plan(window)

    assert set(maintenance_calendar.calendar.windows()) == planned


def test_what_has_just_ended_is_still_known_for_samples_that_come_late(maintenance_calendar):
    over = MaintenanceWindow("blue", NOW - 2 * HOUR, NOW - HOUR)

    maintenance_calendar.plan(over)

    assert list(maintenance_calendar.calendar.windows()) == [over]
