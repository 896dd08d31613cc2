"""Clocks: a wrong one is noticed by when envelopes arrive, a late envelope is not taken for one."""

from functions.core.clocks import LASTS_MS, NodeClock

START = 1_790_000_000_000
EVERY = 30_000


class Story:
    """Envelopes of a node every half minute, received `lag` ms after their newest sample, by a right clock."""

    def __init__(self):
        self.clock, self.now, self.told = NodeClock(), START, []

    def live(self, minutes, *, off=0, lag=4_000):
        for _ in range(round(minutes * 2)):
            self.now += EVERY
            self.clock.note(self.now - lag + off, self.now)
            change = self.clock.change()
            if change is not None:
                self.told.append((change, (self.now - START) / 60_000))


def test_a_right_clock_is_never_told_of():
    story = Story()

    story.live(600)

    assert story.told == []


def test_a_clock_that_steps_ahead_and_back_is_told_of_twice():
    story = Story()

    story.live(10)
    story.live(10, off=90_000)
    story.live(10)

    assert [wrong for wrong, _ in story.told] == [True, False]
    assert 10 + LASTS_MS / 60_000 <= story.told[0][1] <= 14.5
    assert 20 + LASTS_MS / 60_000 <= story.told[1][1] <= 24.5


def test_a_clock_that_steps_back_is_found_as_well():
    story = Story()

    story.live(10)
    story.live(10, off=-64_000)

    assert [wrong for wrong, _ in story.told] == [True]
    assert story.clock.error_ms == -64_000


def test_a_clock_that_was_wrong_from_the_start_is_found():
    story = Story()

    story.live(10, off=300_000)

    assert [wrong for wrong, _ in story.told] == [True]


def test_a_node_that_usually_publishes_a_minute_late_has_a_right_clock():
    story = Story()

    story.live(60, lag=62_000)

    assert story.told == []


def test_a_backlog_that_is_sent_quickly_is_no_wrong_clock():
    story = Story()
    story.live(10)

    story.now += 3_600_000
    for late in range(3_600_000, 0, -30_000):
        story.now += 100
        story.clock.note(story.now - late, story.now)
        assert story.clock.change() is None
    story.live(30)

    assert story.told == []


def test_a_backlog_that_shrinks_slowly_is_no_wrong_clock():
    story = Story()
    story.live(10)

    for minute in range(60):
        story.live(1, lag=4_000 + 10_000 * (60 - minute))
    story.live(10)

    assert story.told == []


def test_a_clock_that_is_off_by_a_little_is_right():
    story = Story()

    story.live(10)
    story.live(30, off=20_000)

    assert story.told == []


def test_a_hiccup_of_two_minutes_is_not_told():
    story = Story()

    story.live(10)
    story.live(2, off=90_000)
    story.live(10)

    assert story.told == []
