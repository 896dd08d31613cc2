"""Incidents: one per episode however many metrics take part, ended by quiet, remembered, compared with earlier ones."""

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.core.policy.deviations import CALM, Course
from functions.core.policy.incidents import (
    ENDS_AFTER,
    EPISODES,
    LONGEST,
    Episode,
    Finding,
    Kind,
    Phase,
    Watched,
    begin,
    end,
    go_on,
    incident_id,
    similar_episode,
)
from functions.core.policy.record import from_document, to_document
from functions.core.policy.rules import METRICS, Severity

START = 29_833_333


def finding(metric="CpuSteal", minute=START, strength=1.5, value=0.3):
    return Finding(metric, minute, value, 0.0, 0.1, strength)


@pytest.fixture
def watched():
    found = Watched(START)
    begin(found, "id", Kind.UNUSUAL, START, [finding(minute=START - 3)], suppressed=False)
    return found


def test_an_incident_begins_with_the_oldest_of_its_findings():
    watched = Watched(START)

    told = begin(
        watched, "id", Kind.UNUSUAL, START, [finding(minute=START - 2), finding("OomKills", START)], suppressed=False
    )

    assert told.phase is Phase.BEGIN
    assert (told.incident.since, told.incident.last, told.incident.id) == (START - 2, START, "id")
    assert watched.incident == told.incident


def test_an_incident_goes_on_untold_while_its_metrics_stay_high(watched):
    assert [go_on(watched, START + n, [finding()], [], suppressed=False) for n in range(1, 60)] == [None] * 59

    assert watched.incident.minutes == 63


def test_a_metric_that_joins_is_listed_and_the_strongest_comes_first(watched):
    go_on(watched, START + 1, [], [finding("DiskBusy", START + 1, 9.0)], suppressed=False)

    assert [found.metric for found in watched.incident.strongest_first] == ["DiskBusy", "CpuSteal"]


def test_a_finding_keeps_its_beginning_and_tells_of_its_strongest_moment(watched):
    go_on(watched, START + 1, [finding(strength=4.0, minute=START + 1, value=0.9)], [], suppressed=False)
    go_on(watched, START + 2, [finding(strength=2.0, minute=START + 2, value=0.5)], [], suppressed=False)

    (found,) = watched.incident.findings.values()
    assert (found.since, found.strength, found.value) == (START - 3, 4.0, 0.9)


def test_an_incident_ends_with_its_last_minute_after_a_quarter_of_an_hour_of_quiet(watched):
    go_on(watched, START + 5, [finding()], [], suppressed=False)
    quiet = [go_on(watched, START + 5 + n, [], [], suppressed=False) for n in range(1, ENDS_AFTER)]
    told = go_on(watched, START + 5 + ENDS_AFTER, [], [], suppressed=False)

    assert quiet == [None] * (ENDS_AFTER - 1)
    assert (told.phase, told.incident.last, told.incident.minutes) == (Phase.END, START + 5, 9)
    assert watched.incident is None
    assert watched.episodes == (Episode(START - 3, 9, ("CpuSteal",)),)


def test_what_comes_back_within_that_time_is_the_same_incident(watched):
    for minute in range(START, START + 200, ENDS_AFTER - 1):
        assert go_on(watched, minute, [finding()], [], suppressed=False) is None

    assert watched.incident.id == "id"


def test_an_incident_that_does_not_end_is_told_to_end_after_a_day(watched):
    told = [go_on(watched, minute, [finding()], [], suppressed=False) for minute in range(START, START + LONGEST - 3)]
    last = go_on(watched, START + LONGEST - 3, [finding()], [], suppressed=False)

    assert set(told) == {None}
    assert (last.phase, last.incident.minutes) == (Phase.END, LONGEST + 1)


@pytest.mark.parametrize(
    ("findings", "severity"),
    [
        ([finding("CpuSteal")], Severity.WARNING),
        ([finding("PressureIoSome")], Severity.ERROR),
        ([finding("CpuSteal"), finding("CpuUtilization")], Severity.WARNING),
        ([finding("CpuSteal"), finding("CpuUtilization"), finding("DiskBusy")], Severity.ERROR),
        ([finding("PressureIoSome"), finding("CpuIowait"), finding("DiskBusy")], Severity.ERROR),
        ([finding("FilesystemUtilization", value=0.94)], Severity.WARNING),
        ([finding("FilesystemUtilization", value=0.95)], Severity.CRITICAL),
    ],
)
def test_severity_is_the_worst_rules_more_when_many_take_part_and_critical_near_the_end(findings, severity):
    assert begin(Watched(), "id", Kind.UNUSUAL, START, findings, suppressed=False).incident.severity is severity


def test_an_incident_that_becomes_worse_is_told_once_more_and_never_becomes_better(watched):
    worse = go_on(watched, START + 1, [finding()], [finding("OomKills", START + 1)], suppressed=False)
    same = go_on(watched, START + 2, [finding()], [], suppressed=False)

    assert (worse.phase, worse.incident.severity) == (Phase.UPDATE, Severity.ERROR)
    assert same is None
    assert watched.incident.severity is Severity.ERROR


def test_an_incident_that_outlasts_maintenance_is_told_again_as_no_longer_suppressed():
    watched = Watched(START)
    begun = begin(watched, "id", Kind.UNUSUAL, START, [finding()], suppressed=True)

    during = go_on(watched, START + 1, [finding()], [], suppressed=True)
    after = go_on(watched, START + 2, [finding()], [], suppressed=False)
    again = go_on(watched, START + 3, [finding()], [], suppressed=True)

    assert begun.incident.suppressed
    assert (during, again) == (None, None)
    assert (after.phase, after.incident.suppressed) == (Phase.UPDATE, False)


def test_what_was_told_does_not_change_with_the_incident(watched):
    told = go_on(watched, START + 1, [], [finding("OomKills", START + 1)], suppressed=False)

    go_on(watched, START + 2, [], [finding("DiskBusy", START + 2)], suppressed=False)

    assert (told.incident.last, set(told.incident.findings)) == (START + 1, {"CpuSteal", "OomKills"})


def test_ids_are_the_same_for_the_same_and_differ_otherwise():
    assert incident_id("c", "n", Kind.UNUSUAL, 7) == incident_id("c", "n", Kind.UNUSUAL, 7)
    made = {incident_id(*of) for of in (("c", "n", 7), ("c", "m", 7), ("d", "n", 7), ("c", "n", 8), ("cn", 7))}
    assert len(made) == 5
    assert all(len(name) == 16 for name in made)


def test_no_more_than_some_episodes_are_remembered_the_latest_ones():
    watched = Watched()
    for number in range(EPISODES + 3):
        begin(watched, "id", Kind.UNUSUAL, START + number, [finding(minute=START + number)], suppressed=False)
        end(watched)

    assert [episode.since - START for episode in watched.episodes] == list(range(3, EPISODES + 3))


def test_the_similar_episode_has_half_of_the_metrics_in_common_and_is_the_latest_of_the_best(watched):
    io = Episode(1, 5, ("DiskBusy", "PressureIoSome"))
    steal = Episode(2, 6, ("CpuSteal",))
    later = Episode(3, 7, ("CpuSteal",))
    mixed = Episode(4, 8, ("CpuSteal", "CpuUtilization"))
    far = Episode(5, 9, ("CpuSteal", "CpuUtilization", "DiskBusy"))

    assert similar_episode(watched.incident, (io,)) is None
    assert similar_episode(watched.incident, (io, steal, later, mixed)) == later
    assert similar_episode(watched.incident, (io, mixed)) == mixed
    assert similar_episode(watched.incident, (far,)) is None
    assert similar_episode(watched.incident, ()) is None


class TestRecord:
    def test_what_is_remembered_survives_json(self, watched):
        end(watched)
        begin(watched, "other", Kind.POOL, START + 9, [finding(), finding("DiskBusy", START, 2.0)], suppressed=True)
        strong, quiet = CALM.strong.copy(), CALM.quiet.copy()
        strong[3], quiet[3], quiet[5] = 0xFFFF, 0, 254
        watched.course = Course(strong, quiet)

        back = from_document(json.loads(json.dumps(to_document(watched))))

        assert (back.minute, back.incident, back.episodes) == (watched.minute, watched.incident, watched.episodes)
        assert back.course.strong.tolist() == strong.tolist()
        assert back.course.quiet.tolist() == quiet.tolist()

    def test_a_calm_node_takes_few_bytes(self):
        assert len(json.dumps(to_document(Watched(START)))) < 40
        assert from_document(to_document(Watched(START))).course is CALM

    def test_metrics_that_have_no_rule_any_more_are_left_behind(self, watched):
        document = json.loads(json.dumps(to_document(watched)).replace("CpuSteal", "Gone"))

        assert from_document(document).incident is None

    @given(st.recursive(st.none() | st.integers() | st.text(max_size=3), lambda inner: st.lists(inner, max_size=7)))
    def test_rubbish_is_refused_with_one_of_the_expected_errors(self, rubbish):
        with suppress(ValueError, LookupError, TypeError, OverflowError):
            from_document(rubbish)

    @given(st.integers(0, 400), st.sampled_from(["null", "-1", '"x"', "[]", "1e400", str(2**70)]))
    def test_a_changed_document_is_refused_with_one_of_the_expected_errors(self, position, replacement):
        watched = Watched(START)
        begin(watched, "id", Kind.UNUSUAL, START, [finding(name) for name in METRICS[:3]], suppressed=False)
        text = json.dumps(to_document(watched))
        changed = text[:position] + replacement + text[position + len(replacement) :]
        with suppress(ValueError, LookupError, TypeError, OverflowError):
            from_document(json.loads(changed))
