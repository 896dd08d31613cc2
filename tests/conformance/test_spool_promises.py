"""What every spool promises, on the fake and on the real one."""

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.manual_clock import ManualClock
from agent.spool.disk_spool import DiskSpool
from agent.spool.files import SpoolFiles
from agent.spool.memory_spool import MemorySpool
from agent.spool.spool import DropReason, Spool

MAX_BYTES, MAX_AGE = 1000, 600.0
MakeSpool = Callable[[ManualClock], Spool]


@pytest.fixture(params=["memory", "disk", "disk with fsync", "disk that fails"])
def make_spool(request, tmp_path) -> MakeSpool:
    made = []

    def make(clock: ManualClock) -> Spool:
        if request.param == "memory":
            return MemorySpool(MAX_BYTES, MAX_AGE, clock)
        made.append(1)
        directory = tmp_path / f"spool{len(made)}"
        if request.param == "disk that fails":
            directory.write_text("a file where the directory should be")
        files = SpoolFiles(directory, fsync=request.param == "disk with fsync")
        return DiskSpool.open(files, max_bytes=MAX_BYTES, max_age=MAX_AGE, clock=clock)

    return make


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def spool(make_spool, clock) -> Spool:
    return make_spool(clock)


def bodies(spool: Spool, max_count: int = 1000, max_bytes: int = 10**9) -> list[bytes]:
    return [spooled.body for spooled in spool.oldest(max_count, max_bytes)]


def test_a_new_spool_is_empty(spool):
    assert len(spool) == spool.dropped == 0
    assert spool.oldest(10, 1000) == []


def test_envelopes_come_out_in_order_and_stay_until_removed(spool):
    for body in (b"one", b"two", b"three"):
        spool.append(body)

    assert bodies(spool) == bodies(spool) == [b"one", b"two", b"three"]
    assert len(spool) == 3


def test_the_oldest_are_given_up_to_a_count_and_a_size(spool):
    for size in (10, 20, 30):
        spool.append(b"x" * size)

    assert [len(body) for body in bodies(spool, max_count=2)] == [10, 20]
    assert [len(body) for body in bodies(spool, max_bytes=30)] == [10, 20]
    assert [len(body) for body in bodies(spool, max_bytes=29)] == [10]


def test_one_envelope_is_given_even_when_it_is_larger_than_asked_for(spool):
    spool.append(b"x" * 50)

    assert bodies(spool, max_bytes=1) == [b"x" * 50]


def test_removed_envelopes_are_gone_and_are_not_counted_as_dropped(spool):
    for body in (b"one", b"two", b"three"):
        spool.append(body)

    spool.remove([spool.oldest(1, 1000)[0].number])

    assert bodies(spool) == [b"two", b"three"]
    assert spool.dropped == 0


def test_removing_what_is_not_there_changes_nothing(spool):
    spool.append(b"one")

    spool.remove([99, 12345])

    assert bodies(spool) == [b"one"]


def test_numbers_are_not_used_again(spool):
    spool.append(b"one")
    (first,) = spool.oldest(1, 1000)
    spool.remove([first.number])
    spool.append(b"two")

    assert spool.oldest(1, 1000)[0].number > first.number


def test_the_oldest_are_dropped_only_when_the_bytes_run_out(spool):
    for number in range(10):
        spool.append(bytes([number]) * 100)
    assert (len(spool), spool.dropped) == (10, 0)

    spool.append(b"x" * 150)

    assert (len(spool), spool.dropped) == (9, 2)
    assert bodies(spool)[0] == bytes([2]) * 100


def test_an_envelope_larger_than_the_whole_spool_is_dropped(spool):
    spool.append(b"x" * (MAX_BYTES + 1))

    assert (len(spool), spool.dropped) == (0, 1)


def test_envelopes_older_than_the_bound_are_dropped(spool, clock):
    spool.append(b"old")
    clock.advance(400)
    spool.append(b"young")
    clock.advance(200)
    assert bodies(spool) == [b"old", b"young"]

    clock.advance(1)

    assert bodies(spool) == [b"young"]
    assert spool.dropped == 1


@pytest.mark.parametrize("steps", [[-86_400], [86_400], [86_400 * 365, -86_400 * 365], [-1e9], [1e9, -1e9, 1e9]])
def test_a_wall_clock_that_steps_makes_no_envelope_older(spool, clock, steps):
    for number, step in enumerate(steps):
        spool.append(b"%d" % number)
        clock.step_wall_clock(step)
        spool.oldest(10, 1000)
    clock.advance(MAX_AGE)

    assert bodies(spool) == [b"%d" % number for number in range(len(steps))]
    assert spool.dropped == 0
    assert spool.oldest_age() == pytest.approx(MAX_AGE)


def test_a_wall_clock_that_was_set_back_makes_no_envelope_immortal(spool, clock):
    spool.append(b"old")
    clock.step_wall_clock(-86_400)

    clock.advance(MAX_AGE + 1)

    assert bodies(spool) == []
    assert spool.drops[DropReason.OVER_AGE] == 1


def test_the_age_of_the_oldest_is_told(spool, clock):
    assert spool.oldest_age() == 0

    spool.append(b"one")
    clock.advance(7)
    spool.append(b"two")
    clock.advance(5)
    assert spool.oldest_age() == pytest.approx(12)

    spool.remove([spool.oldest(1, 1000)[0].number])
    assert spool.oldest_age() == pytest.approx(5)


def test_the_bytes_that_wait_are_told(spool):
    spool.append(b"x" * 300)
    spool.append(b"y" * 500)
    assert spool.waiting_bytes == 800

    spool.append(b"z" * 400)
    assert spool.waiting_bytes == 900

    spool.remove([spooled.number for spooled in spool.oldest(10, 10_000)])
    assert spool.waiting_bytes == 0


def test_drops_are_counted_by_reason_and_every_reason_is_there(spool, clock):
    assert spool.drops == dict.fromkeys(DropReason, 0)

    spool.append(b"x" * 600)
    spool.append(b"x" * 600)
    clock.advance(MAX_AGE + 1)
    spool.append(b"x")

    assert spool.drops == {**dict.fromkeys(DropReason, 0), DropReason.OVER_BYTES: 1, DropReason.OVER_AGE: 1}
    assert spool.dropped == 2


def test_an_episode_of_drops_is_logged_once_and_its_end_with_the_count(spool, clock, caplog):
    caplog.set_level("INFO")
    for _ in range(10):
        spool.append(b"x" * 300)
    spool.remove([spooled.number for spooled in spool.oldest(10, 10_000)])
    spool.append(b"x")
    for _ in range(5):
        spool.append(b"x" * 500)

    lines = [record for record in caplog.records if record.getMessage().startswith("spool_drops")]
    assert [(line.getMessage(), line.reason) for line in lines] == [
        ("spool_drops_oldest", "over_bytes"),
        ("spool_drops_no_more", "over_bytes"),
        ("spool_drops_oldest", "over_bytes"),
    ]
    assert lines[1].dropped == 7


operations = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(1, 400)),
        st.tuples(st.just("remove"), st.integers(1, 5)),
        st.tuples(st.just("wait"), st.integers(1, 400)),
        st.tuples(st.just("oldest"), st.integers(1, 600)),
    ),
    max_size=30,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None)
@given(operations)
def test_any_sequence_leaves_what_a_plain_list_would_hold(make_spool, steps):
    clock = ManualClock()
    spool = make_spool(clock)
    model: list[tuple[int, bytes]] = []
    appended = removed = dropped = 0

    def forget() -> int:
        gone = 0
        while model and (sum(len(b) for _, b in model) > MAX_BYTES or clock.epoch_ms() - model[0][0] > MAX_AGE * 1000):
            model.pop(0)
            gone += 1
        return gone

    for step, amount in steps:
        if step == "append":
            appended += 1
            body = appended.to_bytes(2) + b"x" * amount
            spool.append(body)
            model.append((clock.epoch_ms(), body))
        elif step == "wait":
            clock.advance(amount)
            continue
        dropped += forget()
        found = spool.oldest(amount if step == "remove" else 1000, amount if step == "oldest" else 10**9)
        assert [spooled.body for spooled in found] == [body for _, body in model[: len(found)]]
        if step == "remove":
            spool.remove(spooled.number for spooled in found)
            del model[: len(found)]
            removed += len(found)

    assert spool.dropped == dropped
    assert len(spool) == len(model)
    assert spool.waiting_bytes == sum(len(body) for _, body in model)
    assert appended == removed + dropped + len(spool)
