"""What the catch-up benchmark makes of an event hub's contents, and what it refuses to make anything of."""

import pytest

from bench.agent.programs import Unmeasurable
from bench.catch_up import reckon
from telemetry.envelope import Envelope

STARTED = 1_792_000_000_000.0


def envelope(instance: str, seq: int, *after_ms: int) -> Envelope:
    return Envelope("bench", "bench", instance, seq, [int(STARTED) + ms for ms in after_ms], {}, {})


BACKLOG = [envelope("old", seq, -3_600_000 + seq) for seq in (1, 2, 3)]
ARRIVED = [
    (BACKLOG[0], STARTED + 700),
    (BACKLOG[1], STARTED + 750),
    (BACKLOG[2], STARTED + 900),
    (envelope("new", 1, 200), STARTED + 910),
    (envelope("new", 2, 400, 600), STARTED + 920),
    (envelope("new", 3, 800), STARTED + 930),
    (envelope("new", 4, 1000), STARTED + 1005),
    (envelope("new", 5, 1200), STARTED + 1203),
]


def test_times_count_from_the_start_and_delays_from_the_last_sample():
    found = reckon(BACKLOG, ARRIVED, STARTED)

    assert found.seconds == pytest.approx(0.9)
    assert found.draining == pytest.approx(0.2)
    assert found.fresh_delay == pytest.approx(0.71)
    assert found.fresh_delay_afterwards == pytest.approx(0.005)
    assert found.missed == 0


def test_a_tick_without_a_sample_is_missed():
    without_600 = [*ARRIVED[:4], (envelope("new", 2, 400), STARTED + 920), *ARRIVED[5:]]

    assert reckon(BACKLOG, without_600, STARTED).missed == 1


@pytest.mark.parametrize(
    "arrived",
    [
        ARRIVED[1:],
        [*ARRIVED[:2], *ARRIVED[3:]],
        [ARRIVED[1], ARRIVED[0], *ARRIVED[2:]],
        [*ARRIVED[:2], ARRIVED[3], ARRIVED[2], *ARRIVED[4:]],
        [*ARRIVED[:3], *ARRIVED[2:]],
        [*ARRIVED[:4], *ARRIVED[5:]],
        ARRIVED[:3],
        ARRIVED[:6],
    ],
    ids=["first lost", "last lost", "order", "fresh before old", "twice", "fresh lost", "no fresh", "none afterwards"],
)
def test_what_is_lost_repeated_or_out_of_order_is_no_catch_up(arrived):
    with pytest.raises(Unmeasurable):
        reckon(BACKLOG, arrived, STARTED)
