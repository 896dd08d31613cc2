"""NCRONTAB schedules, timer statuses and retry delays of the functions host."""

import itertools
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.functions_host.retry import UNLIMITED, ExponentialBackoff, FixedDelay, RetryPolicy
from local.functions_host.timer_schedule import Schedule
from local.functions_host.timer_status import NEVER, TimerStatus

NOON = datetime(2026, 3, 4, 12, 0, 0, tzinfo=UTC)  # a Wednesday


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("*/5 * * * * *", NOON + timedelta(seconds=5)),
        ("0 * * * * *", NOON + timedelta(minutes=1)),
        ("30 15 13 * * *", NOON.replace(hour=13, minute=15, second=30)),
        ("0 0 0 * * Mon", datetime(2026, 3, 9, tzinfo=UTC)),
        ("0 0 0 13 * 5", datetime(2026, 3, 13, tzinfo=UTC)),
        ("15 12 * * *", NOON.replace(minute=15)),
    ],
)
def test_next_occurrence_follows_ncrontab(expression: str, expected: datetime) -> None:
    assert Schedule(expression).next_after(NOON) == expected


def test_day_of_month_and_day_of_week_must_both_match_unlike_in_cron() -> None:
    schedule = Schedule("0 0 0 1 * 1")

    following = schedule.next_after(NOON)

    assert (following.day, following.weekday()) == (1, 0)


@pytest.mark.parametrize(
    "expression", ["", "* * * *", "@daily", "0 0 0 L * *", "61 * * * * *", "0 0 0 * * 1#2", "00:05:00"]
)
def test_expression_azure_would_refuse_is_refused(expression: str) -> None:
    with pytest.raises(ValueError, match="NCRONTAB"):
        Schedule(expression)


@pytest.mark.parametrize(
    ("expression", "often"), [("*/59 * * * * *", True), ("0,30 0 0 * * *", True), ("0 * * * * *", False)]
)
def test_schedule_knows_whether_it_fires_more_often_than_once_a_minute(expression: str, often: bool) -> None:
    assert Schedule(expression).is_more_often_than_a_minute is often


HOURLY = Schedule("0 0 * * * *")


def test_status_of_an_unchanged_schedule_stays_so_that_a_missed_run_is_seen() -> None:
    status = TimerStatus(NOON, NOON + timedelta(hours=1), NOON)

    assert status.adjusted(HOURLY, NOON + timedelta(hours=5)) == status


def test_timer_that_never_ran_is_past_due_after_its_first_due_time() -> None:
    noted = TimerStatus(NEVER, NOON + timedelta(hours=1), NOON)

    assert noted.adjusted(HOURLY, NOON + timedelta(hours=5)).next == NOON + timedelta(hours=1)


def test_changed_schedule_is_never_past_due_at_once() -> None:
    under_old_schedule = TimerStatus(NOON, NOON + timedelta(days=1), NOON)
    now = NOON + timedelta(hours=5, minutes=1)

    adjusted = under_old_schedule.adjusted(HOURLY, now)

    assert adjusted.next == NOON + timedelta(hours=6)
    assert adjusted.last == NOON


def test_fixed_delay_waits_the_same_each_time() -> None:
    assert list(itertools.islice(FixedDelay(3.0).delays(), 4)) == [3.0] * 4


def test_exponential_backoff_adds_doubling_steps_to_the_minimum_up_to_the_maximum() -> None:
    strategy = ExponentialBackoff(minimum=4.0, maximum=30.0, jitter=lambda: 1.0)

    assert list(itertools.islice(strategy.delays(), 6)) == [4.0, 8.0, 12.0, 20.0, 30.0, 30.0]


@given(minimum=st.floats(0, 1e6), maximum=st.floats(0, 1e6))
def test_exponential_backoff_never_waits_longer_than_the_maximum(minimum: float, maximum: float) -> None:
    waits = list(itertools.islice(ExponentialBackoff(minimum, maximum).delays(), 1100))

    assert all(0 <= wait <= maximum for wait in waits)


@pytest.mark.parametrize(
    ("maximum", "done", "allowed"), [(2, 0, True), (2, 1, True), (2, 2, False), (0, 0, False), (UNLIMITED, 10**9, True)]
)
def test_policy_allows_as_many_retries_as_it_says(maximum: int, done: int, allowed: bool) -> None:
    assert RetryPolicy(maximum, FixedDelay(0)).allows(done) is allowed
