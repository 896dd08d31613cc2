"""How the soak measures growth, lag and losses."""

from datetime import UTC, datetime

import pytest

from bench.memory import MemoryLog, slope
from bench.oracle.reckoning import EnvelopeId, Logged, Place
from bench.soak import Measured, percentile, settle
from telemetry.envelope import encode
from tests import builders

ENDED = datetime(2026, 9, 21, 12, tzinfo=UTC)
ENDED_MS = ENDED.timestamp() * 1000


def log_of(*seqs, lag_ms=1000):
    return [
        Logged(Place("0", index), encode(builders.envelope(seq)), round(ENDED_MS) - lag_ms)
        for index, seq in enumerate(seqs)
    ]


def run(first, last, stored, duplicates=0, dead_lettered=0):
    return {
        "PartitionId": "0",
        "FirstSequenceNumber": first,
        "LastSequenceNumber": last,
        "Received": last - first + 1,
        "Stored": stored,
        "Duplicates": duplicates,
        "DeadLettered": dead_lettered,
        "WindowStart": ENDED,
        "DurationMs": 500.0,
    }


def identity(seq):
    return EnvelopeId("aks-test", "node-1", builders.INSTANCE, seq)


def settled(log, runs, seqs, memory=None):
    return settle(log, runs, [identity(seq) for seq in seqs], memory or MemoryLog(), 5.0)


def test_books_that_are_complete_lose_nothing_and_lag_ends_with_the_run():
    measured = settled(log_of(1, 2, 2, 3), [run(0, 1, 2), run(2, 3, 1, duplicates=1)], [1, 2, 3])

    assert measured.problems() == []
    assert measured.lag_p95 == pytest.approx(1.5)
    assert (measured.received, measured.stored, measured.duplicates) == (4, 3, 1)


@pytest.mark.parametrize(
    ("log", "runs", "acknowledged", "complaint"),
    [
        (log_of(1), [run(0, 0, 1)], [1, 2], "not in the broker's log"),
        (log_of(1, 2), [run(0, 0, 1)], [1, 2], "told of by no run"),
        (log_of(1, 2), [run(0, 1, 1)], [1, 2], "received is not stored"),
        (log_of(1, 1), [run(0, 1, 2)], [1], "1 different envelopes are in the log, but 2 were stored"),
    ],
)
def test_every_kind_of_loss_is_told(log, runs, acknowledged, complaint):
    measured = settled(log, runs, acknowledged)

    assert any(complaint in problem for problem in measured.problems())


def test_lag_beyond_two_publish_intervals_fails():
    measured = settled(log_of(1, lag_ms=60_000), [run(0, 0, 1)], [1])

    assert len(measured.problems()) == 1
    assert "lag p95" in measured.problems()[0]


def test_a_process_that_grows_fails_and_one_that_filled_its_caches_does_not():
    memory = MemoryLog()
    memory.series = {
        "leaking": [(second, 100 + second * 0.1) for second in range(300)],
        "warming": [(second, min(200, 100 + second)) for second in range(300)],
        "jumpy": [(second, 100 + 50 * (second % 17 == 0)) for second in range(300)],
    }

    problems = Measured([], memory, 5.0, 0, [], 0, 0, 0, 0).problems()

    assert [problem.split()[0] for problem in problems] == ["leaking"]
    assert memory.growth()["leaking"] == pytest.approx(6.0)


@pytest.mark.parametrize(("name", "is_accepted"), [("azurite", True), ("functions", False)])
def test_only_azurite_may_still_fill_its_heap(name, is_accepted):
    memory = MemoryLog()
    memory.series[name] = [(float(second), 100.0 + 10.0 * second / 60) for second in range(300)]

    problems = Measured([], memory, 5.0, 0, [], 0, 0, 0, 0).problems()

    assert (problems == []) == is_accepted


def test_a_series_of_one_point_has_no_slope():
    assert slope([(0.0, 1.0)]) == 0.0


def test_a_process_that_is_gone_leaves_no_point():
    memory = MemoryLog()

    memory.sample(0.0, {"gone": None, "ended": 2**22 + 1})

    assert memory.series == {}


def test_percentiles_of_nothing_and_of_everything():
    assert percentile([], 0.95) == 0.0
    assert percentile([1.0, 2.0, 3.0], 1.0) == 3.0
    assert percentile(list(map(float, range(100))), 0.95) == 95.0
