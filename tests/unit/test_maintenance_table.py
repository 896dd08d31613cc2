"""Maintenance as people write it into the table: what is understood, what is refused and why, how often it is read."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from azure.core.exceptions import ServiceRequestError

from functions.adapters import maintenance_table
from functions.adapters.maintenance_table import READ_EVERY_S, TableMaintenanceCalendar, window_of
from functions.core.policy.maintenance import MaintenanceWindow
from telemetry.errors import StoreUnavailable

EIGHT = datetime(2026, 3, 2, 8, tzinfo=UTC)
EIGHT_MS = 1_772_438_400_000


def entity(**changes):
    fields = {"PartitionKey": "aks", "RowKey": "upgrade", "From": EIGHT, "Until": EIGHT + timedelta(hours=2)} | changes
    return {name: value for name, value in fields.items() if value is not ...}


@pytest.mark.parametrize(
    "start",
    [
        EIGHT,
        "2026-03-02T08:00:00Z",
        "2026-03-02T08:00:00+00:00",
        "2026-03-02T10:00:00+02:00",
        EIGHT.astimezone(timezone(timedelta(hours=-5))),
    ],
)
def test_times_are_date_times_or_texts_with_a_time_zone(start):
    assert window_of(entity(From=start)) == MaintenanceWindow("aks", EIGHT_MS, EIGHT_MS + 7_200_000)


def test_a_pool_or_a_node_may_be_named():
    assert window_of(entity(Pool="user")).pool == "user"
    assert window_of(entity(Node="n1")).node == "n1"


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"From": ...}, "From must be a date-time like 2026-03-02T08:00:00Z, got None"),
        ({"Until": "soon"}, "Until must be a date-time like 2026-03-02T08:00:00Z, got 'soon'"),
        ({"From": 7}, "From must be a date-time like 2026-03-02T08:00:00Z, got 7"),
        ({"From": "2026-03-02T08:00:00"}, "From must say its time zone, like 2026-03-02T08:00:00Z"),
        ({"Until": EIGHT}, "Until must be later than From"),
        ({"Pool": 3}, "Pool must be a text, got 3"),
        ({"Node": True}, "Node must be a text, got True"),
    ],
)
def test_what_cannot_be_understood_is_refused_with_what_would_be_right(changes, what):
    with pytest.raises(ValueError, match="must") as refused:
        window_of(entity(**changes))

    assert what in str(refused.value)


class Table:
    """The part of a TableClient that a calendar uses."""

    def __init__(self, *entities):
        self.entities, self.reads, self.fails = list(entities), 0, False

    def list_entities(self):
        self.reads += 1
        if self.fails:
            raise ServiceRequestError("no route")
        return iter(self.entities)


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        monotonic_s = 1000.0

        def monotonic(self):
            return self.monotonic_s

        def time(self):
            return EIGHT_MS / 1000

    found = Clock()
    monkeypatch.setattr(maintenance_table, "time", found)
    return found


def test_the_table_is_read_once_a_minute(clock):
    table = Table(entity())
    calendar = TableMaintenanceCalendar(table, pytest.fail)

    for _ in range(5):
        assert len(calendar.windows()) == 1
    table.entities.clear()
    clock.monotonic_s += READ_EVERY_S - 1
    assert len(calendar.windows()) == 1
    clock.monotonic_s += 1

    assert len(calendar.windows()) == 0
    assert table.reads == 2


def test_a_bad_entity_is_left_out_and_told_once_and_the_others_hold(clock):
    said = []
    calendar = TableMaintenanceCalendar(Table(entity(From="soon"), entity(RowKey="other")), said.append)

    for _ in range(3):
        assert len(calendar.windows()) == 1
        clock.monotonic_s += READ_EVERY_S

    assert said == [
        "maintenance aks/upgrade is left out: From must be a date-time like 2026-03-02T08:00:00Z, got 'soon'"
    ]


def test_what_was_over_a_day_ago_is_gone(clock):
    long_ago = entity(From=EIGHT - timedelta(days=3), Until=EIGHT - timedelta(days=1, minutes=1))

    assert TableMaintenanceCalendar(Table(long_ago), pytest.fail).windows() == ()


def test_a_failure_raises_once_and_then_what_was_known_holds_for_a_minute(clock):
    table = Table(entity())
    calendar = TableMaintenanceCalendar(table, pytest.fail)
    calendar.windows()
    clock.monotonic_s += READ_EVERY_S
    table.fails = True

    with pytest.raises(StoreUnavailable, match="cannot read the planned maintenance: no route"):
        calendar.windows()
    assert len(calendar.windows()) == 1

    table.fails = False
    clock.monotonic_s += READ_EVERY_S
    assert len(calendar.windows()) == 1
    assert table.reads == 3
