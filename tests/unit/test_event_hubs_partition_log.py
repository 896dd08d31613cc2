"""The durable log: what it acknowledged stays, what is damaged is told, what is too old or too much goes."""

import itertools
import logging
import resource
from pathlib import Path

import pytest
from azure.eventhub._pyamqp._decode import decode_payload
from hypothesis import given, settings
from hypothesis import strategies as st

from local.event_hubs import segments
from local.event_hubs.errors import AmqpError
from local.event_hubs.messages import StoredEvent
from local.event_hubs.partition_log import PartitionLog, Retention
from local.event_hubs.start_position import start_sequence

HOUR_MS = 3_600_000
WEEK = Retention(168 * HOUR_MS, 1 << 30)


class Clock:
    def __init__(self) -> None:
        self.now_ms = 1_700_000_000_000

    def __call__(self) -> int:
        return self.now_ms


def event(body: bytes) -> StoredEvent:
    return StoredEvent(0, b"", b"\x00\x53\x75\xb0" + len(body).to_bytes(4) + body)


def events(*bodies: str) -> list[StoredEvent]:
    return [event(body.encode()) for body in bodies]


def read_all(log: PartitionLog, sequence: int = 0) -> dict[int, str]:
    found = {}
    for _ in range(100_000):
        messages, sequence = log.read(sequence, 100, 1 << 20)
        if not messages:
            return found
        for number, message in messages:
            decoded = decode_payload(memoryview(message))
            assert decoded.message_annotations[b"x-opt-sequence-number"] == number
            found[number] = decoded.data[0].decode()
    raise AssertionError("the log does not end")


def offsets(log: PartitionLog) -> list[int]:
    messages, _ = log.read(0, 10_000, 1 << 30)
    return [int(annotation(message, b"x-opt-offset")) for _, message in messages]


def annotation(message: bytes, name: bytes):
    return decode_payload(memoryview(message)).message_annotations[name]


def segment_files(directory: Path) -> list[Path]:
    return sorted(directory.glob("*.log"))


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def opened(tmp_path, clock):
    logs = []

    def open_log(retention=WEEK, segment_bytes=1 << 20, fsync=False) -> PartitionLog:
        logs.append(PartitionLog(tmp_path, retention, clock, segment_bytes=segment_bytes, fsync=fsync))
        return logs[-1]

    yield open_log
    for log in logs:
        log.close()


@pytest.mark.parametrize("fsync", [False, True])
def test_events_are_read_in_the_order_they_were_appended_also_after_reopening(opened, fsync):
    log = opened(segment_bytes=200, fsync=fsync)
    for start in range(0, 30, 3):
        log.append(events(*(f"e{n}" for n in range(start, start + 3))))

    expected = {n: f"e{n}" for n in range(30)}
    assert read_all(log) == expected
    assert read_all(opened(segment_bytes=200)) == expected
    assert log.segment_count > 3


def test_a_new_log_begins_at_zero_and_has_no_last_event(opened):
    log = opened()

    assert (log.begin_sequence, log.next_sequence, log.next_offset, log.last_event) == (0, 0, 0, None)
    assert log.read(0, 10, 1000) == ([], 0)


def test_a_read_keeps_its_limits_but_always_makes_progress(opened):
    log = opened()
    log.append([event(b"x" * 1000) for _ in range(10)])

    assert [n for n, _ in log.read(2, 3, 1 << 20).messages] == [2, 3, 4]
    assert [n for n, _ in log.read(0, 10, 3000).messages] == [0, 1, 2]
    assert [n for n, _ in log.read(5, 10, 1).messages] == [5]


def test_offsets_grow_and_survive_reopening_and_so_does_the_last_event(opened, clock):
    log = opened(segment_bytes=150)
    for n in range(10):
        clock.now_ms += 5
        log.append(events(f"e{n}"))
    before, last = offsets(log), log.last_event

    reopened = opened(segment_bytes=150)

    assert before == sorted(set(before))
    assert offsets(reopened) == before
    assert reopened.last_event == last
    assert last.sequence_number == 9
    assert reopened.next_offset > last.offset


def test_enqueued_times_never_go_back_even_if_the_clock_does(opened, clock):
    log = opened()
    log.append(events("a"))
    first_ms = log.last_event.enqueued_ms
    clock.now_ms -= HOUR_MS

    log.append(events("b"))

    assert log.last_event.enqueued_ms == first_ms


# ------------------------------------------------------------------------------------------------ seeking


@pytest.fixture
def seekable(opened, clock):
    """Events 0-19, one a second from t0, in several segments; two events share each enqueued time."""
    log = opened(segment_bytes=300)
    for n in range(0, 20, 2):
        log.append(events(f"e{n}", f"e{n + 1}"))
        clock.now_ms += 1000
    return log


@pytest.fixture(params=["written", "reopened"])
def log(request, seekable, opened):
    return seekable if request.param == "written" else opened(segment_bytes=300)


def test_every_offset_is_found_inclusive_and_exclusive(log):
    all_offsets = []
    sequence = 0
    while sequence < 20:
        messages, sequence = log.read(sequence, 100, 1 << 20)
        all_offsets += [
            decode_payload(memoryview(m)).message_annotations[b"x-opt-offset"].decode() for _, m in messages
        ]

    for number, offset in enumerate(all_offsets):
        assert start_sequence(log, f"amqp.annotation.x-opt-offset >= '{offset}'") == number
        assert start_sequence(log, f"amqp.annotation.x-opt-offset > '{offset}'") == number + 1


@pytest.mark.parametrize("number", range(0, 20, 3))
def test_every_sequence_number_is_found_inclusive_and_exclusive(log, number):
    assert start_sequence(log, f"amqp.annotation.x-opt-sequence-number >= '{number}'") == number
    assert start_sequence(log, f"amqp.annotation.x-opt-sequence-number > '{number}'") == number + 1


@pytest.mark.parametrize("second", range(10))
def test_every_enqueued_time_is_found_inclusive_and_exclusive(log, second):
    at = 1_700_000_000_000 + second * 1000

    assert start_sequence(log, f"amqp.annotation.x-opt-enqueued-time >= '{at}'") == 2 * second
    assert start_sequence(log, f"amqp.annotation.x-opt-enqueued-time > '{at}'") == 2 * second + 2
    assert start_sequence(log, f"amqp.annotation.x-opt-enqueued-time > '{at - 1}'") == 2 * second
    assert start_sequence(log, f"amqp.annotation.x-opt-enqueued-time >= '{at + 1}'") == 2 * second + 2


def test_the_oldest_and_the_latest_are_found(log):
    assert start_sequence(log, "amqp.annotation.x-opt-offset > '-1'") == 0
    assert start_sequence(log, "amqp.annotation.x-opt-sequence-number > '-1'") == 0
    assert start_sequence(log, "amqp.annotation.x-opt-enqueued-time > '0'") == 0
    assert start_sequence(log, "amqp.annotation.x-opt-offset > '@latest'") == 20
    assert start_sequence(log, None) == 20


def test_a_position_no_event_has_had_is_refused_as_the_service_does(log):
    with pytest.raises(AmqpError, match=r"argument-error: The supplied offset '999999' is invalid"):
        start_sequence(log, "amqp.annotation.x-opt-offset > '999999'")
    with pytest.raises(AmqpError, match=r"sequence number '21' is invalid. The last .* is '19'"):
        start_sequence(log, "amqp.annotation.x-opt-sequence-number >= '21'")


@pytest.mark.parametrize("selector", ["", "1=1", "amqp.annotation.x-opt-offset > 'abc'", "x" * 10_000])
def test_a_selector_of_another_form_is_refused(log, selector):
    with pytest.raises(AmqpError, match=r"The supplied filter .* is invalid"):
        start_sequence(log, selector)


# ---------------------------------------------------------------------------------------------- retention


def test_old_events_go_and_a_receiver_behind_starts_at_the_oldest_that_is_left(opened, clock):
    log = opened(Retention(8 * HOUR_MS, 1 << 30))
    for n in range(20):
        log.append(events(f"e{n}"))
        clock.now_ms += HOUR_MS

    log.enforce_retention()

    left = read_all(log)
    assert log.begin_sequence == min(left) >= 9
    assert max(left) == 19
    assert set(range(12, 20)) <= set(left)
    assert start_sequence(log, "amqp.annotation.x-opt-offset > '32'") == log.begin_sequence
    assert start_sequence(log, "amqp.annotation.x-opt-sequence-number > '3'") == log.begin_sequence


def test_the_oldest_events_go_when_there_are_too_many_bytes(opened, tmp_path):
    log = opened(Retention(168 * HOUR_MS, 20_000), segment_bytes=2_500)
    for n in range(500):
        log.append([event(f"e{n}".encode().ljust(200))])
        assert log.size_bytes <= 20_000

    assert sum(file.stat().st_size for file in segment_files(tmp_path)) == log.size_bytes
    assert log.begin_sequence > 400
    assert list(read_all(log)) == list(range(log.begin_sequence, 500))


def test_numbers_go_on_when_everything_is_expired_also_after_reopening(opened, clock, tmp_path):
    log = opened(Retention(HOUR_MS, 1 << 30))
    log.append(events("a", "b", "c"))
    next_offset = log.next_offset
    clock.now_ms += 2 * HOUR_MS

    log.enforce_retention()

    for reopened in (log, opened(Retention(HOUR_MS, 1 << 30))):
        assert (reopened.begin_sequence, reopened.next_sequence) == (3, 3)
        assert reopened.next_offset == next_offset
        assert reopened.last_event is None
        assert reopened.size_bytes == 0
        assert read_all(reopened) == {}
        assert start_sequence(reopened, "amqp.annotation.x-opt-sequence-number > '1'") == 3
    reopened.append(events("d"))
    assert read_all(reopened) == {3: "d"}
    assert reopened.last_event.offset > next_offset
    assert len(segment_files(tmp_path)) == 1


def test_an_empty_newest_segment_does_not_hide_what_the_one_before_holds(opened, clock, tmp_path):
    log = opened()
    log.append(events("a", "b"))
    (tmp_path / f"{2:020d}-{log.next_offset:020d}.log").touch()  # killed right after the roll

    reopened = opened()

    assert reopened.last_event.sequence_number == 1
    assert read_all(reopened) == {0: "a", 1: "b"}
    assert start_sequence(reopened, "amqp.annotation.x-opt-enqueued-time > '0'") == 0
    clock.now_ms += 200 * HOUR_MS
    reopened.enforce_retention()
    assert (reopened.begin_sequence, reopened.segment_count) == (2, 1)


def test_memory_stays_bounded_over_many_segments(opened):
    log = opened(Retention(168 * HOUR_MS, 1 << 30), segment_bytes=500)
    for n in range(200):
        log.append(events(f"e{n}"))

    assert len(read_all(log)) == 200
    assert log.segment_count > 20
    assert len(log._sealed_indexes) <= 4


# ------------------------------------------------------------------------------------------------- damage


def test_a_torn_write_is_cut_off_at_every_length_and_writing_goes_on(tmp_path, clock, caplog):
    log = PartitionLog(tmp_path / "whole", WEEK, clock)
    log.append(events("a"))
    whole = log.next_offset
    log.append(events("b", "c"))
    log.close()
    data = segment_files(tmp_path / "whole")[0].read_bytes()

    for cut in range(whole, len(data)):
        directory = tmp_path / str(cut)
        directory.mkdir()
        (directory / f"{0:020d}-{0:020d}.log").write_bytes(data[:cut])
        caplog.clear()
        torn = PartitionLog(directory, WEEK, clock)

        torn.append(events("d"))

        assert read_all(torn) == {0: "a", 1: "d"}
        torn.close()
        assert [record.message for record in caplog.records] == ["torn write cut off: it was never acknowledged"] * (
            cut > whole
        )
        assert cut == whole or caplog.records[0].bytes == cut - whole


def test_a_flipped_bit_in_a_sealed_segment_costs_its_chunk_only_and_is_told(opened, tmp_path, caplog):
    log = opened(segment_bytes=400)
    for n in range(0, 30, 2):
        log.append(events(f"e{n}", f"e{n + 1}"))
    victim = segment_files(tmp_path)[1]
    first = int(victim.name[:20])
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 4
    victim.write_bytes(data)

    reopened = opened(segment_bytes=400)
    left = read_all(reopened)

    lost = set(range(30)) - set(left)
    assert len(lost) == 2
    assert all(left[n] == f"e{n}" for n in left)
    record = next(r for r in caplog.records if r.levelno == logging.ERROR)
    assert record.segment == str(victim)
    assert (record.first_lost_sequence_number, record.lost_events) == (min(lost), 2)
    assert min(lost) >= first
    read_all(reopened)
    assert len([r for r in caplog.records if r.levelno == logging.ERROR]) == 1


@pytest.mark.parametrize("damage", ["first header", "last chunk", "emptied"])
def test_damage_at_the_ends_of_a_sealed_segment_is_told_exactly(opened, tmp_path, caplog, damage):
    log = opened(segment_bytes=400)
    for n in range(30):
        log.append(events(f"e{n}"))
    victim, following = segment_files(tmp_path)[1:3]
    first, end = int(victim.name[:20]), int(following.name[:20])
    data = bytearray(victim.read_bytes())
    if damage == "first header":
        data[1] ^= 1
    elif damage == "last chunk":
        data[-1] ^= 1
    else:
        data.clear()
    victim.write_bytes(data)

    reopened = opened(segment_bytes=400)
    lost = set(range(30)) - set(read_all(reopened))

    assert lost == {"first header": {first}, "last chunk": {end - 1}, "emptied": set(range(first, end))}[damage]
    record = next(r for r in caplog.records if r.levelno == logging.ERROR)
    assert (record.first_lost_sequence_number, record.lost_events) == (min(lost), len(lost))


@pytest.mark.parametrize("spot", ["magic", "size", "body", "count"])
def test_sequence_numbers_are_not_given_twice_after_the_newest_events_were_damaged(opened, tmp_path, caplog, spot):
    log = opened()
    log.append(events("a"))
    start = log.next_offset
    log.append(events("b", "c"))
    file = segment_files(tmp_path)[0]
    data = bytearray(file.read_bytes())
    data[{"magic": start, "size": start + 9, "body": len(data) - 1, "count": start + 31}[spot]] ^= 1
    file.write_bytes(data)

    reopened = opened()
    reopened.append(events("d"))

    left = read_all(reopened)
    assert left.pop(0) == "a"
    assert list(left.values()) == ["d"]
    assert min(left) >= 3
    assert reopened.last_event.offset > start
    assert any(record.levelno == logging.ERROR for record in caplog.records)
    assert read_all(opened()) == {0: "a", **left}


def test_a_payload_that_looks_like_the_log_is_not_taken_for_it_when_its_chunk_is_damaged(opened, tmp_path):
    log = opened()
    log.append(events("a", "b"))
    damaged_at = log.next_offset
    log.append([event(segments.encode_chunk(events("forged"), 0, 1_700_000_000_000))])
    log.append(events("d"))
    file = segment_files(tmp_path)[0]
    data = bytearray(file.read_bytes())
    data[damaged_at] ^= 1
    file.write_bytes(data)

    assert read_all(opened()) == {0: "a", 1: "b", 3: "d"}


def test_a_sealed_segment_is_scanned_once_while_it_is_read(opened, monkeypatch):
    log = opened(segment_bytes=400)
    for n in range(30):
        log.append(events(f"e{n}"))
    reopened = opened(segment_bytes=400)
    scanned = []
    scan = segments.scan
    monkeypatch.setattr(segments, "scan", lambda data, base: scanned.append(base) or scan(data, base))

    for sequence in range(8):
        reopened.read(sequence, 1, 1000)

    assert scanned
    assert len(scanned) == len(set(scanned))


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_whatever_bit_flips_what_is_read_is_what_was_written(data, tmp_path_factory):
    directory = tmp_path_factory.mktemp("log")
    clock = Clock()
    log = PartitionLog(directory, WEEK, clock, segment_bytes=300)
    for n in range(0, 12, 2):
        log.append(events(f"e{n}", f"e{n + 1}"))
    log.close()
    file = data.draw(st.sampled_from(segment_files(directory)))
    content = bytearray(file.read_bytes())
    bit = data.draw(st.integers(0, len(content) * 8 - 1))
    content[bit // 8] ^= 1 << bit % 8
    file.write_bytes(content)

    reopened = PartitionLog(directory, WEEK, clock, segment_bytes=300)
    left = read_all(reopened)
    reopened.append(events("new"))
    new_sequence = reopened.last_event.sequence_number
    reopened.close()

    assert all(body == f"e{n}" for n, body in left.items())
    assert len(left) == 10
    assert new_sequence >= 12


def test_a_write_that_fails_stores_nothing_and_later_ones_succeed(opened, tmp_path):
    log = opened()
    log.append(events("a"))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (log.next_offset + 40, hard))
    try:
        with pytest.raises(OSError):
            log.append(events("too much"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert segment_files(tmp_path)[0].stat().st_size == log.next_offset
    log.append(events("b"))
    assert read_all(log) == {0: "a", 1: "b"}
    assert read_all(opened()) == {0: "a", 1: "b"}


def test_files_of_others_in_the_directory_are_left_alone(opened, tmp_path):
    (tmp_path / "notes.log").write_text("mine")

    opened().append(events("a"))

    assert (tmp_path / "notes.log").read_text() == "mine"


@settings(max_examples=40, deadline=None)
@given(
    batches=st.lists(st.lists(st.binary(max_size=120), min_size=1, max_size=6), max_size=20), size=st.integers(1, 900)
)
def test_any_batches_in_any_segment_size_read_back_equal(batches, size, tmp_path_factory):
    directory = tmp_path_factory.mktemp("log")
    log = PartitionLog(directory, WEEK, Clock(), segment_bytes=size)
    for batch in batches:
        log.append([event(body) for body in batch])
    log.close()

    reopened = PartitionLog(directory, WEEK, Clock(), segment_bytes=size)

    found, sequence = [], 0
    for _ in itertools.repeat(None, 1000):
        messages, sequence = reopened.read(sequence, 7, 500)
        if not messages:
            break
        found += [decode_payload(memoryview(message)).data[0] for _, message in messages]
    reopened.close()
    assert found == [body for batch in batches for body in batch]
