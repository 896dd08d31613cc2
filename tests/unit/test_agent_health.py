"""Alive and ready: every reason against it happens, is told with what to do, and goes away again."""

import copy

import pytest

from agent.collector import Reading
from agent.delivery_statistics import DeliveryStatistics
from agent.manual_clock import ManualClock
from agent.observe.health import Health, Limits
from agent.observe.sources import Sources
from agent.progress import ProgressReport
from agent.publisher.publisher import FailureReason
from agent.sampler import Sampler
from agent.spool.memory_spool import MemorySpool

LIMITS = Limits.of(10.0, 30.0, 10.0)


class Load:
    name, device_class = "load", None

    def collect(self):
        return [Reading("load.1m", 1.0)]


class Node:
    """The two threads, done by hand: what they would publish, and how it is judged."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.sampler = Sampler([Load()], self.clock, 10.0)
        self.spool = MemorySpool(10_000, 3600, self.clock)
        self.delivery = DeliveryStatistics()
        self.report = ProgressReport(self.clock, self.spool, self.delivery)
        self.health = Health(
            self.clock, Sources(lambda: self.sampler.latest, lambda: self.report.latest, lambda: 0), LIMITS
        )

    def sample(self, *, taken: bool = True) -> None:
        self.sampler.sample()
        if taken:
            self.report.samples_taken(0)

    def spool_envelope(self, size: int = 100) -> None:
        self.spool.append(b"x" * size)
        self.report.built(1)

    def fail(self, reason: FailureReason) -> None:
        self.delivery.retried[reason] += 1
        self.report.failed()

    def acknowledge(self) -> None:
        self.spool.remove([each.number for each in self.spool.oldest(1000, 10**9)])
        self.delivery.published += 1
        self.delivery.last_publish_ms = self.clock.epoch_ms()
        self.report.acknowledged()

    def live_for(self, seconds: float) -> None:
        """Time passes, with a sample every ten seconds."""
        for _ in range(round(seconds / 10)):
            self.clock.advance(10)
            self.sample()


@pytest.fixture
def node() -> Node:
    return Node()


@pytest.fixture
def ready(node) -> Node:
    node.sample()
    node.spool_envelope()
    node.acknowledge()
    assert node.health.why_not_ready() == []
    return node


@pytest.mark.parametrize(
    ("settings", "limits"),
    [
        ((10.0, 30.0, 10.0), Limits(60.0, 100.0)),
        ((0.2, 0.6, 0.0), Limits(60.0, 90.0)),
        ((60.0, 60.0, 10.0), Limits(180.0, 190.0)),
        ((3600.0, 3600.0, 60.0), Limits(10_800.0, 10_860.0)),
    ],
)
def test_limits_are_three_intervals_and_never_so_short_that_one_accident_counts(settings, limits):
    assert Limits.of(*settings) == limits


def test_at_the_start_the_agent_is_alive_but_not_ready(node):
    assert node.health.why_not_alive() == []
    sample, acknowledgement = node.health.why_not_ready()
    assert sample.startswith("no sample yet: the first is taken within AGENT_SAMPLE_INTERVAL")
    assert acknowledgement == "nothing has been acknowledged since the start: no attempt has failed. Wait"


def test_it_is_ready_once_a_sample_was_taken_and_an_envelope_acknowledged(node):
    node.sample()
    assert [reason.partition(":")[0] for reason in node.health.why_not_ready()] == [
        "nothing has been acknowledged since the start"
    ]

    node.spool_envelope()
    node.acknowledge()

    assert node.health.why_not_ready() == []
    assert node.health.why_not_alive() == []


def test_a_sampling_thread_that_never_samples_is_not_alive(node):
    node.clock.advance(60)
    assert node.health.why_not_alive() == []

    node.clock.advance(1)

    (reason,) = node.health.why_not_alive()
    assert reason.startswith("no sample for 61 s, 60 s are allowed: the sampling thread hangs. A restart repairs it")
    assert "AGENT_COLLECTORS" in reason


def test_a_sampling_thread_that_hangs_is_not_alive_until_it_samples_again(ready):
    ready.live_for(300)
    assert ready.health.why_not_alive() == []
    ready.clock.advance(61)
    (reason,) = ready.health.why_not_alive()
    assert reason.startswith("no sample for 61 s")
    assert ready.health.why_not_ready() == [reason]

    ready.sample()

    assert ready.health.why_not_alive() == []
    assert ready.health.why_not_ready() == []


def test_an_event_loop_that_takes_no_samples_is_not_alive(ready):
    for _ in range(7):
        ready.clock.advance(10)
        ready.sample(taken=False)

    (reason,) = ready.health.why_not_alive()

    assert reason.startswith("the event loop has taken no sample for 70 s, 60 s are allowed: it hangs")
    assert "AGENT_SPOOL_DIR" in reason
    ready.sample()
    assert ready.health.why_not_alive() == []


def test_an_event_loop_that_is_told_of_samples_every_half_minute_is_alive(ready):
    for number in range(30):
        ready.clock.advance(10)
        ready.sample(taken=number % 3 == 2)

        assert ready.health.why_not_alive() == []


def test_one_sample_that_takes_long_is_no_event_loop_that_hangs(ready):
    ready.clock.advance(10)
    ready.sample(taken=False)
    ready.clock.advance(59)

    assert ready.health.why_not_alive() == []


def test_an_event_loop_that_hangs_from_the_start_is_not_alive(node):
    for _ in range(7):
        node.clock.advance(10)
        node.sample(taken=False)

    assert [reason.partition(" has")[0] for reason in node.health.why_not_alive()] == ["the event loop"]


def test_an_event_hub_that_is_away_costs_readiness_and_never_life(ready):
    ready.spool_envelope()
    ready.live_for(100)
    assert ready.health.why_not_ready() == []

    ready.spool_envelope()
    ready.fail(FailureReason.UNREACHABLE)
    ready.live_for(3600)

    assert ready.health.why_not_alive() == []
    (reason,) = ready.health.why_not_ready()
    assert reason.startswith(
        "2 envelopes wait, the oldest for 3700 s, 100 s are allowed: failed attempts: 1 unreachable"
    )
    assert "publishing_failed" in reason
    assert "5671" in reason


def test_readiness_comes_back_with_the_acknowledgement(ready):
    ready.spool_envelope()
    ready.fail(FailureReason.UNREACHABLE)
    ready.live_for(200)
    assert ready.health.why_not_ready()

    ready.acknowledge()

    assert ready.health.why_not_ready() == []
    assert ready.report.latest.failed == {}


@pytest.mark.parametrize(
    ("reason", "advice"),
    [
        (FailureReason.UNAUTHORIZED, "Azure Event Hubs Data Sender"),
        (FailureReason.NOT_FOUND, "EVENTHUB_NAME"),
        (FailureReason.QUOTA_EXCEEDED, "quotas of the namespace"),
        (FailureReason.THROTTLED, "throughput units"),
        (FailureReason.UNREACHABLE, "AMQP (port 5671)"),
        (FailureReason.OTHER, "publishing_failed"),
    ],
)
def test_the_most_frequent_failure_decides_what_to_do(node, reason, advice):
    node.sample()
    node.spool_envelope()
    other = FailureReason.OTHER if reason is FailureReason.UNREACHABLE else FailureReason.UNREACHABLE
    for each in (reason, reason, other):
        node.fail(each)

    (told,) = node.health.why_not_ready()

    assert told.startswith("nothing has been acknowledged since the start: failed attempts: ")
    assert f"2 {reason}" in told
    assert f"1 {other}" in told
    assert advice in told


def test_envelopes_that_are_all_too_large_are_told(node):
    node.sample()
    node.delivery.too_large = 2
    node.spool_envelope()

    (reason,) = node.health.why_not_ready()

    assert "2 were larger than the event hub takes: lower AGENT_PUBLISH_INTERVAL" in reason


def test_failures_before_the_last_acknowledgement_are_forgotten(ready):
    ready.fail(FailureReason.UNAUTHORIZED)
    ready.acknowledge()
    ready.spool_envelope()
    ready.fail(FailureReason.THROTTLED)
    ready.live_for(200)

    (reason,) = ready.health.why_not_ready()

    assert "1 throttled" in reason
    assert "unauthorized" not in reason


def test_a_spool_that_overflows_costs_readiness_for_as_long_as_it_does_and_a_little_longer(ready):
    ready.spool_envelope(6000)
    ready.spool_envelope(6000)

    (reason,) = ready.health.why_not_ready()
    assert reason.startswith("the spool has dropped envelopes 0 s ago (over_bytes 1 since the start)")
    assert "AGENT_SPOOL_MAX_BYTES" in reason
    assert ready.health.why_not_alive() == []

    ready.acknowledge()
    ready.live_for(100)
    assert len(ready.health.why_not_ready()) == 1
    ready.live_for(10)
    assert ready.health.why_not_ready() == []


def test_envelopes_that_became_too_old_are_told_too(ready):
    ready.spool_envelope()
    ready.live_for(3610)
    ready.spool.oldest(1, 1)

    ready.sample()

    assert "over_age 1" in ready.health.why_not_ready()[-1]


def test_what_an_earlier_process_has_lost_is_no_reason(node):
    node.spool.append(b"x" * 6000)
    node.spool.append(b"x" * 6000)
    report = ProgressReport(node.clock, node.spool, node.delivery)

    assert report.latest.drops["over_bytes"] == 1
    assert report.latest.overflowed_at is None


def test_progress_that_was_read_never_changes(node):
    node.spool_envelope()
    before = node.report.latest
    as_it_was = copy.deepcopy(before)

    node.delivery.latencies.observe(0.1)
    node.fail(FailureReason.OTHER)
    node.spool_envelope(9_999)
    node.acknowledge()

    assert before == as_it_was
    assert node.report.latest != before
