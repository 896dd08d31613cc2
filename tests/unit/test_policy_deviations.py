"""What is a rise that matters, what makes it lasting and new, and what is forgotten."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.core.detectors.series_state import LEVEL, NOISE, SPREAD, USUAL, new_states
from functions.core.detectors.streaming import THRESHOLD
from functions.core.policy.deviations import (
    CALM,
    HEADROOM,
    NEVER,
    NEWS_LASTS,
    UNKNOWN_HOUR,
    UNLEARNT,
    WIDTHS,
    Course,
    advance,
    confirmed,
    strengths,
    usual,
    windows_since,
)
from functions.core.policy.rules import METRICS, RULES

CPU, STEAL, FAULTS, OOM = (METRICS.index(name) for name in ("CpuUtilization", "CpuSteal", "MajorFaults", "OomKills"))
WIDTH = len(METRICS)
NEWS = THRESHOLD + 0.1


def states(**columns):
    found = new_states(WIDTH).reshape(1, WIDTH)
    for name, value in {"usual": 0.3, "spread": 0.0, "level": 0.3, "noise": 0.0, **columns}.items():
        found["now"][..., {"usual": USUAL, "spread": SPREAD, "level": LEVEL, "noise": NOISE}[name]] = value
    return found


def limit_of(metric, **columns):
    return usual(states(**columns)).limit[0, metric]


def test_a_quiet_metric_must_rise_by_the_least_that_matters():
    assert limit_of(CPU) == pytest.approx(RULES[CPU].least)
    assert limit_of(FAULTS) == pytest.approx(100.0)


def test_a_restless_metric_must_rise_by_more_than_it_usually_does():
    assert limit_of(CPU, noise=0.05, spread=0.03) == pytest.approx(WIDTHS * 0.08, rel=1e-6)
    assert limit_of(FAULTS, noise=100.0) == pytest.approx(WIDTHS * 100.0)


def test_what_uses_up_the_room_there_is_matters_however_restless_the_metric_is():
    assert limit_of(CPU, usual=0.4, noise=0.5) == pytest.approx(HEADROOM * 0.6)
    assert limit_of(CPU, usual=0.95, noise=0.5) == pytest.approx(RULES[CPU].least)


def test_on_the_first_day_the_level_is_what_is_usual_and_a_rise_must_be_larger():
    found = usual(states(usual=np.nan, level=0.2))

    assert found.value[0, CPU] == pytest.approx(0.2)
    assert found.limit[0, CPU] == pytest.approx(UNKNOWN_HOUR * RULES[CPU].least)


def test_strength_is_the_rise_in_units_of_the_limit_and_nothing_for_falls_and_missing_values():
    x = np.full((1, WIDTH), 0.3)
    x[0, CPU], x[0, STEAL], x[0, FAULTS] = 0.7, 0.0, np.nan

    found = strengths(x, usual(states()))[0]

    assert found[CPU] == pytest.approx(2.0)
    assert found[[STEAL, FAULTS, OOM]].tolist() == [0.0, 0.0, 0.0]


def course():
    return Course(CALM.strong[None].copy(), CALM.quiet[None].copy())


def pass_windows(strong, news, gaps=None, score=0.0):
    """The confirmed metrics after each window; `strong` and `news` are lists of sets of metrics."""
    past, found = course(), []
    scores, needed = np.full((1, WIDTH), score), np.full((1, WIDTH), UNLEARNT)
    for turn, (rising, new) in enumerate(zip(strong, news, strict=True)):
        strength, evidence = np.zeros((1, WIDTH)), np.zeros((1, WIDTH))
        strength[0, list(rising)] = 1.0
        evidence[0, list(new)] = NEWS
        past = advance(past, np.array([1 if gaps is None else gaps[turn]]), strength, evidence, scores, needed)
        found.append(set(np.flatnonzero(confirmed(past)[0]).tolist()))
    return past, found


def test_a_brief_rule_needs_three_of_five_windows_and_news():
    _, found = pass_windows([{STEAL}, set(), {STEAL}, {STEAL}, {STEAL}], [{STEAL}] + [set()] * 4)

    assert found == [set(), set(), set(), {STEAL}, {STEAL}]


def test_a_steady_rule_needs_five_of_seven():
    _, found = pass_windows([{CPU}] * 6, [{CPU}] * 6)

    assert [bool(metrics) for metrics in found] == [False] * 4 + [True] * 2


def test_what_has_happened_once_is_confirmed_at_once():
    _, found = pass_windows([{OOM}], [{OOM}])

    assert found == [{OOM}]


def test_a_rise_without_news_is_never_confirmed():
    _, found = pass_windows([{CPU, STEAL}] * 20, [set()] * 20)

    assert not any(found)


def test_what_is_not_yet_normal_is_news_though_the_like_was_there_before():
    _, found = pass_windows([{STEAL}] * 4, [set()] * 4, score=UNLEARNT)
    _, normal = pass_windows([{STEAL}] * 4, [set()] * 4, score=UNLEARNT - 0.01)

    assert found[-2:] == [{STEAL}, {STEAL}]
    assert not any(normal)


def test_a_rise_that_stays_is_news_by_its_score_only_while_it_is_young():
    lasting = 16 + RULES[STEAL].persistence.of + NEWS_LASTS - 1
    _, found = pass_windows([{STEAL}] * (lasting + 50), [set()] * (lasting + 50), score=UNLEARNT)

    assert {STEAL} in found[:10]
    assert not any(found[lasting:])


def test_a_hole_of_a_window_makes_no_rise_young_again():
    lasting = 16 + RULES[STEAL].persistence.of + NEWS_LASTS
    story = [{STEAL}] * lasting + [set()] + [{STEAL}] * 4

    _, found = pass_windows(story, [set()] * len(story), score=UNLEARNT)

    assert not any(found[lasting:])


def test_a_score_without_a_rise_that_matters_is_no_news():
    past, _ = pass_windows([set()] * 3, [set()] * 3, score=0.99)

    assert np.array_equal(past.quiet[0], CALM.quiet)


def test_news_without_a_rise_that_matters_is_never_confirmed():
    _, found = pass_windows([set()] * 20, [{CPU, STEAL}] * 20)

    assert not any(found)


def test_news_counts_for_some_windows_beyond_those_of_the_rule():
    span = RULES[STEAL].persistence.of + NEWS_LASTS
    late = [set()] * (span - 3) + [{STEAL}] * 4

    _, found = pass_windows(late, [{STEAL}] + [set()] * span)

    assert [bool(metrics) for metrics in found[-4:]] == [False, False, True, False]


def test_a_window_without_the_rise_confirms_nothing_though_it_was_there_before():
    _, found = pass_windows([{STEAL}] * 4 + [set()], [{STEAL}] * 5)

    assert found[-2:] == [{STEAL}, set()]


def test_windows_before_a_gap_do_not_count():
    _, found = pass_windows([{STEAL}] * 3, [{STEAL}] * 3, gaps=[1, 1, 4])

    assert found == [set(), set(), set()]


def test_the_first_window_ever_comes_after_a_gap_without_bound():
    past, _ = pass_windows([{STEAL}], [{STEAL}], gaps=[29_833_333])

    assert (past.strong[0, STEAL], past.quiet[0, STEAL]) == (1, 0)


@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(1, 10**9)), max_size=40))
def test_a_past_is_calm_again_once_nothing_has_happened_for_long(story):
    past = course()
    for strong, news, gap in [*story, (False, False, NEVER)]:
        strength, evidence = np.full((1, WIDTH), float(strong)), np.full((1, WIDTH), NEWS * news)
        past = advance(past, np.array([gap]), strength, evidence, 0.0 * evidence, np.ones_like(evidence))

    assert np.array_equal(past.strong[0], CALM.strong)
    assert np.array_equal(past.quiet[0], CALM.quiet)


def test_a_rise_began_with_the_oldest_window_of_its_rule():
    past, _ = pass_windows([{STEAL}] * 9, [{STEAL}] * 9)
    other, _ = pass_windows([set(), {STEAL}, set(), {STEAL}, {STEAL}], [{STEAL}] * 5)

    assert windows_since(int(past.strong[0, STEAL]), STEAL) == 4
    assert windows_since(int(other.strong[0, STEAL]), STEAL) == 3
