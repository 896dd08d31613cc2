"""The spool on disk: restarts, damage, full and read-only disks."""

import errno
import os
import tracemalloc
import zlib
from pathlib import Path

import pytest

from agent.manual_clock import ManualClock
from agent.spool import disk_spool
from agent.spool.disk_spool import DiskSpool
from agent.spool.files import SpoolFile, SpoolFiles
from agent.spool.spool import DropReason


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def directory(tmp_path) -> Path:
    return tmp_path / "not" / "there" / "yet"


@pytest.fixture
def start(directory, clock, caplog):
    """Opens the spool, as a new process does."""
    caplog.set_level("INFO")

    def start(max_bytes: int = 10_000, max_age: float = 600) -> DiskSpool:
        return DiskSpool.open(SpoolFiles(directory, fsync=False), max_bytes=max_bytes, max_age=max_age, clock=clock)

    return start


def bodies(spool: DiskSpool) -> list[bytes]:
    return [spooled.body for spooled in spool.oldest(1000, 10**9)]


def events(caplog) -> list[str]:
    return [record.getMessage() for record in caplog.records]


class FullDisk:
    """Makes writes fail while `error` is set."""

    def __init__(self, monkeypatch) -> None:
        self.error: OSError | None = None
        write = SpoolFiles.write

        def write_or_fail(files, number, appended_ms, body):
            if self.error:
                raise self.error
            return write(files, number, appended_ms, body)

        monkeypatch.setattr(SpoolFiles, "write", write_or_fail)


@pytest.fixture
def disk(monkeypatch) -> FullDisk:
    return FullDisk(monkeypatch)


def test_what_an_earlier_process_left_is_sent_first(start):
    first = start()
    first.append(b"one")
    first.append(b"two")

    second = start()
    second.append(b"three")

    assert bodies(second) == [b"one", b"two", b"three"]
    assert bodies(start()) == [b"one", b"two", b"three"]


def test_what_was_removed_does_not_come_back(start):
    first = start()
    first.append(b"one")
    first.append(b"two")
    first.remove([first.oldest(1, 100)[0].number])

    assert bodies(start()) == [b"two"]


def test_age_and_bytes_are_bounded_across_restarts(start, clock):
    first = start()
    first.append(b"old")
    clock.advance(500)
    first.append(b"x" * 900)
    first.append(b"y" * 900)
    clock.advance(200)

    second = start(max_bytes=1000)
    assert bodies(second) == [b"y" * 900]
    assert second.drops[DropReason.OVER_BYTES] == second.dropped == 2

    clock.advance(399)
    assert bodies(second) == [b"y" * 900]
    clock.advance(2)
    assert bodies(second) == []
    assert second.drops[DropReason.OVER_AGE] == 1


def test_what_was_left_behind_too_long_ago_has_a_minute_to_be_sent(start, clock):
    start().append(b"old")
    clock.advance(100_000)

    spool = start(max_age=600)
    spool.append(b"new")
    clock.advance(59)
    assert bodies(spool) == [b"old", b"new"]
    clock.advance(2)

    assert bodies(spool) == [b"new"]
    assert spool.drops[DropReason.OVER_AGE] == 1


def test_a_wall_clock_that_was_wrong_at_the_start_and_is_put_right_drops_nothing(start, clock):
    start().append(b"one")
    clock.advance(100)
    clock.step_wall_clock(86_400 * 365)
    spool = start(max_age=600)
    clock.advance(30)
    assert spool.oldest_age() > 86_400

    clock.step_wall_clock(-86_400 * 365)
    clock.advance(400)

    assert bodies(spool) == [b"one"]
    assert spool.oldest_age() == pytest.approx(530)
    clock.advance(100)
    assert bodies(spool) == []


def test_a_file_that_somebody_else_has_sent_is_skipped(start, directory):
    first = start()
    first.append(b"one")
    second = start()
    first.remove([1])

    assert bodies(second) == []
    assert len(second) == 0
    assert second.drops[DropReason.MISSING] == second.dropped == 1


def test_the_newest_is_sent_without_being_read_back_and_is_on_disk_all_the_same(start, directory, monkeypatch):
    spool = start()
    with monkeypatch.context() as patch:
        patch.setattr(SpoolFiles, "read", lambda files, file: pytest.fail(f"read back: {file}"))
        for number in range(1, 4):
            spool.append(b"body %d" % number)
            assert bodies(spool) == [b"body %d" % number]
            assert [path.read_bytes() for path in directory.glob("*.envelope")] == [b"body %d" % number]
            spool.remove([number])
    spool.append(b"left behind")

    assert bodies(start()) == [b"left behind"]


def test_of_envelopes_on_disk_one_body_at_most_is_kept_in_memory(start):
    spool = start(max_bytes=10**9)
    tracemalloc.start()
    try:
        for _ in range(20):
            spool.append(os.urandom(1_000_000))
        assert tracemalloc.get_traced_memory()[0] < 1_500_000
        spool.remove([20])
        assert tracemalloc.get_traced_memory()[0] < 500_000
    finally:
        tracemalloc.stop()


def test_a_write_that_takes_a_part_at_a_time_is_whole_in_the_end(start, monkeypatch):
    write = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda descriptor, rest: write(descriptor, rest[:3]))
        start().append(b"ten bytes.")

    assert bodies(start()) == [b"ten bytes."]


def test_two_agents_on_one_directory_for_a_while_lose_nothing_to_the_third(start):
    start().append(b"backlog")
    one, other = start(), start()
    for number in range(3):
        one.append(b"one %d" % number)
        other.append(b"other %d" % number)

    third = start()

    found = bodies(third)
    assert sorted(found) == sorted([b"backlog", *(b"%s %d" % (who, n) for who in (b"one", b"other") for n in range(3))])
    assert found[0] == b"backlog"
    for who in (b"one", b"other"):
        assert [body for body in found if body.startswith(who)] == [b"%s %d" % (who, n) for n in range(3)]
    third.append(b"new")
    assert bodies(third)[-1] == b"new"
    third.remove([spooled.number for spooled in third.oldest(100, 10_000)])
    assert bodies(start()) == []
    assert third.waiting_bytes == 0


def test_two_agents_never_write_the_same_temporary_file(directory, clock, monkeypatch):
    one, other = SpoolFiles(directory, fsync=False), SpoolFiles(directory, fsync=False)
    replace = Path.replace

    def replace_after_the_other_has_written(path, target):
        monkeypatch.setattr(Path, "replace", replace)
        other.write(1, clock.epoch_ms(), b"other")
        return path.replace(target)

    monkeypatch.setattr(Path, "replace", replace_after_the_other_has_written)
    file = one.write(1, clock.epoch_ms(), b"one")

    assert one.read(file) == b"one"


# ------------------------------------------------------------------------------------- the clock between processes


def test_a_step_of_the_wall_clock_between_two_looks_drops_nothing_that_was_left_behind(start, clock):
    start().append(b"one")
    clock.advance(100)
    spool = start(max_age=600)

    clock.step_wall_clock(86_400)

    assert bodies(spool) == [b"one"]
    assert spool.oldest_age() == pytest.approx(100)


def test_an_envelope_from_the_future_is_kept_and_ages_from_the_start_on(start, clock):
    clock.step_wall_clock(86_400 * 365)
    start().append(b"from the future")
    clock.step_wall_clock(-86_400 * 365)

    spool = start(max_age=600)

    assert spool.oldest_age() == 0
    clock.advance(599)
    assert bodies(spool) == [b"from the future"]
    clock.advance(2)
    assert bodies(spool) == []
    assert spool.drops[DropReason.OVER_AGE] == 1


def test_order_is_that_of_appending_whatever_the_wall_clock_said(start, clock):
    spool = start()
    for number, step in enumerate([0, -5000, 90_000, -1_000_000]):
        clock.step_wall_clock(step)
        spool.append(b"%d" % number)

    assert bodies(start(max_age=10**9)) == [b"0", b"1", b"2", b"3"]


# ------------------------------------------------------------------------------------- a disk that fails


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EIO])
def test_a_disk_that_fails_is_replaced_by_memory_and_order_is_kept(start, disk, caplog, number):
    spool = start()
    spool.append(b"on disk")
    disk.error = OSError(number, os.strerror(number))
    spool.append(b"in memory 1")
    spool.append(b"in memory 2")
    disk.error = None
    spool.append(b"on disk again")

    assert bodies(spool) == [b"on disk", b"in memory 1", b"in memory 2", b"on disk again"]
    assert events(caplog) == ["spool_disk_fails", "spool_disk_recovered"]
    assert bodies(start()) == bodies(spool), "what waited in memory is on disk now"
    spool.remove([1, 2, 3, 4])
    assert len(spool) == 0


def test_what_waited_in_memory_is_written_in_portions_and_said_to_be_safe_only_then(start, disk, caplog, monkeypatch):
    monkeypatch.setattr(disk_spool, "MAX_FILES_AT_ONCE", 3)
    spool = start()
    disk.error = OSError(errno.ENOSPC, "full")
    for number in range(1, 8):
        spool.append(b"%d" % number)
    disk.error = None

    spool.append(b"8")
    assert (spool.disk_failing, bodies(start())) == (True, [b"1", b"2", b"3"])
    spool.append(b"9")
    spool.append(b"10")
    assert "spool_disk_recovered" not in events(caplog)
    spool.append(b"11")

    assert not spool.disk_failing
    assert bodies(start()) == bodies(spool) == [b"%d" % number for number in range(1, 12)]
    assert [event for event in events(caplog) if event != "spool_taken_up"] == [
        "spool_disk_fails",
        "spool_disk_recovered",
    ]


def test_a_disk_with_room_for_some_keeps_those_and_says_nothing_more(start, monkeypatch, caplog):
    spool, room, write = start(), [1, 0, 0, 2, 0], SpoolFiles.write

    def write_while_there_is_room(files, number, appended_ms, body):
        if room[0] == 0:
            room.pop(0)
            raise OSError(errno.ENOSPC, "full")
        room[0] -= 1
        return write(files, number, appended_ms, body)

    with monkeypatch.context() as patch:
        patch.setattr(SpoolFiles, "write", write_while_there_is_room)
        for number in range(1, 6):
            spool.append(b"%d" % number)

    assert bodies(start()) == [b"1", b"2", b"3"]
    assert bodies(spool) == [b"1", b"2", b"3", b"4", b"5"]
    assert events(caplog).count("spool_disk_fails") == 1


def test_what_waited_in_memory_and_was_sent_meanwhile_is_not_written(start, disk):
    spool = start()
    disk.error = OSError(errno.ENOSPC, "full")
    spool.append(b"one")
    spool.append(b"two")
    spool.remove([1])
    disk.error = None
    spool.append(b"three")

    assert bodies(start()) == [b"two", b"three"]


@pytest.mark.parametrize("full", [False, True])
def test_what_is_on_disk_is_not_in_memory(start, disk, full):
    spool = start(max_bytes=10**8)
    disk.error = OSError(errno.ENOSPC, "full") if full else None
    tracemalloc.start()

    for number in range(20):
        spool.append(bytes([number]) * 100_000)
    disk.error = None
    spool.append(b"x")

    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(spool) == 21
    assert held < 500_000


def test_memory_is_bounded_too(start, disk, monkeypatch):
    monkeypatch.setattr(disk_spool, "MAX_MEMORY_BYTES", 500)
    spool = start()
    spool.append(b"d" * 400)
    disk.error = OSError(errno.ENOSPC, "full")
    for number in range(1, 5):
        spool.append(bytes([number]) * 200)

    assert [body[:1] for body in bodies(spool)] == [b"d", b"\x03", b"\x04"]
    assert spool.drops[DropReason.MEMORY_FULL] == spool.dropped == 2
    assert spool.waiting_bytes == 800


def test_a_directory_that_cannot_be_made_does_not_stop_the_agent(tmp_path, clock, caplog):
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    spool = DiskSpool.open(SpoolFiles(blocked / "spool", fsync=True), max_bytes=1000, max_age=60, clock=clock)
    spool.append(b"one")
    blocked.unlink()
    spool.append(b"two")

    assert bodies(spool) == [b"one", b"two"]
    assert events(caplog)[0] == "spool_disk_fails"
    assert len(list((blocked / "spool").glob("*.envelope"))) == 2


def test_a_directory_deleted_while_running_is_made_again(start, directory):
    spool = start()
    directory.rmdir()
    spool.append(b"one")

    assert bodies(start()) == [b"one"]


def test_an_episode_of_drops_is_logged_at_its_beginning_and_end(start, caplog):
    spool = start(max_bytes=1000)
    for _ in range(8):
        spool.append(b"x" * 300)
    spool.remove([spooled.number for spooled in spool.oldest(10, 10**6)])
    spool.append(b"x")

    assert events(caplog) == ["spool_drops_oldest", "spool_drops_no_more"]
    assert caplog.records[1].dropped == spool.dropped == 5


def test_drops_by_age_while_nothing_can_be_sent_are_one_episode(start, clock, caplog):
    spool = start(max_age=100)
    for _ in range(20):
        spool.append(b"x")
        clock.advance(30)
        spool.oldest(10, 1000)

    assert events(caplog) == ["spool_drops_oldest"]


def test_an_unreadable_file_is_lost_to_this_process_but_stays_on_disk(start, monkeypatch, directory):
    start().append(b"one")
    spool = start()

    def refuse(files, file):
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(SpoolFiles, "read", refuse)
        assert bodies(spool) == []

    assert spool.dropped == 1
    assert bodies(start()) == [b"one"]


def test_a_file_that_cannot_be_removed_is_sent_again_by_the_next_process(start, monkeypatch, caplog):
    spool = start()
    spool.append(b"one")

    with monkeypatch.context() as patch:
        patch.setattr(SpoolFiles, "remove", refuse_to_remove)
        spool.remove([1])

    assert len(spool) == 0
    assert spool.disk_failing
    assert events(caplog) == ["spool_disk_fails"]
    assert bodies(start()) == [b"one"]


def test_a_file_that_could_not_be_removed_is_removed_as_soon_as_the_disk_does_it(start, monkeypatch, caplog):
    spool = start()
    spool.append(b"one")
    with monkeypatch.context() as patch:
        patch.setattr(SpoolFiles, "remove", refuse_to_remove)
        spool.remove([1])
        spool.append(b"two")
        assert spool.disk_failing

    spool.append(b"three")

    assert not spool.disk_failing
    assert bodies(start()) == [b"two", b"three"]
    assert events(caplog)[:2] == ["spool_disk_fails", "spool_disk_recovered"]


def refuse_to_remove(files, file):
    raise OSError(errno.EROFS, "Read-only file system")


def test_a_files_name_says_all_about_it(tmp_path):
    file = SpoolFiles(tmp_path, fsync=True).write(7, 1_792_000_000_000, b"body")

    assert file == SpoolFile(7, 1_792_000_000_000, 4, zlib.crc32(b"body"))
    assert [path.name for path in tmp_path.iterdir()] == [file.name]
