"""Counters to rates: what comes out, and what must not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.rates import WRAP_MARGIN, RateMeter

WRAP = 2**32 / 1000
values = st.floats(0, 1e15)
gaps = st.floats(0.05, 59)


def meter() -> RateMeter:
    return RateMeter(longest_gap=60)


def test_the_first_value_of_a_counter_has_no_rate():
    assert meter().rate("reads", 123.0, 0.0, upper=1e12) is None


@given(start=values, increase=values, gap=gaps, at=st.floats(0, 1e8))
def test_a_rate_is_the_increase_over_the_elapsed_time(start, increase, gap, at):
    rates = meter()
    rates.rate("reads", start, at, upper=1e12)

    rate = rates.rate("reads", start + increase, at + gap, upper=1e12)

    assert rate == pytest.approx((start + increase - start) / (at + gap - at))


@given(st.lists(st.tuples(values, gaps), max_size=30), st.sampled_from([None, WRAP]))
def test_no_sequence_of_values_gives_a_negative_or_impossible_rate(steps, wraps_at):
    rates, now = meter(), 0.0
    for value, gap in steps:
        now += gap
        rate = rates.rate("busy", value if wraps_at is None else value % wraps_at, now, upper=1e18, wraps_at=wraps_at)
        assert rate is None or 0 <= rate <= 1e18


def test_a_counter_that_goes_down_was_reset_and_counts_from_its_new_value():
    rates = meter()
    rates.rate("rx", 5_000_000, 0, upper=1e12)

    assert rates.rate("rx", 1_000, 10, upper=1e12) is None
    assert rates.rate("rx", 2_000, 20, upper=1e12) == 100


def test_a_32_bit_counter_near_its_end_wraps():
    rates = meter()
    rates.rate("read_time", WRAP - 3, 0, upper=1e6, wraps_at=WRAP)

    assert rates.rate("read_time", 2.0, 10, upper=1e6, wraps_at=WRAP) == pytest.approx(0.5)


def test_a_32_bit_counter_far_from_its_end_was_reset():
    rates = meter()
    rates.rate("read_time", WRAP * (1 - WRAP_MARGIN) - 1, 0, upper=1e9, wraps_at=WRAP)

    assert rates.rate("read_time", 0.0, 10, upper=1e9, wraps_at=WRAP) is None


def test_a_wrap_that_would_mean_an_impossible_rate_is_a_reset():
    rates = meter()
    rates.rate("busy", WRAP - 100, 0, upper=1.05, wraps_at=WRAP)

    assert rates.rate("busy", 0.0, 10, upper=1.05, wraps_at=WRAP) is None


def test_a_value_beyond_the_declared_wrap_is_never_taken_for_a_wrap():
    rates = meter()
    rates.rate("busy", WRAP + 50, 0, upper=1.05, wraps_at=WRAP)

    assert rates.rate("busy", 1.0, 10, upper=1.05, wraps_at=WRAP) is None


def test_one_missed_sample_is_averaged_over_and_a_long_gap_starts_anew():
    rates = meter()
    rates.rate("rx", 0, 0, upper=1e12)

    assert rates.rate("rx", 2_000, 20, upper=1e12) == 100
    assert rates.rate("rx", 9_000, 81, upper=1e12) is None


def test_no_time_between_two_values_gives_no_rate():
    rates = meter()
    rates.rate("rx", 0, 5, upper=1e12)

    assert rates.rate("rx", 10, 5, upper=1e12) is None


def test_counters_of_devices_that_are_gone_are_forgotten():
    rates = meter()
    for number in range(1000):
        rates.rate(("rx", f"veth{number}"), 1, number, upper=1e12)
        rates.forget_unseen(number)

    assert len(rates) <= 61
