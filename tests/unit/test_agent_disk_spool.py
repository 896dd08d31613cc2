"""The spool on disk: restarts, damage, full and read-only disks."""

import errno
import os
import zlib
from pathlib import Path

import pytest

from agent.manual_clock import ManualClock
from agent.spool import disk_spool
from agent.spool.disk_spool import DiskSpool
from agent.spool.files import ASIDE, MAX_SET_ASIDE, SpoolFile, SpoolFiles


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
    assert second.dropped == 2


def test_a_write_that_a_crash_cut_off_is_cleaned_up(start, directory):
    start().append(b"whole")
    (directory / "000000000002.tmp").write_bytes(b"hal")

    assert bodies(start()) == [b"whole"]
    assert not list(directory.glob("*.tmp"))


@pytest.mark.parametrize("damage", [b"", b"on", b"onf", b"one and more"])
def test_a_damaged_file_is_set_aside_and_its_neighbours_are_sent(start, directory, caplog, damage):
    first = start()
    first.append(b"one")
    first.append(b"two")
    (file,) = [path for path in directory.iterdir() if path.name.startswith("000000000001")]
    file.write_bytes(damage)

    second = start()

    assert bodies(second) == [b"two"]
    assert second.dropped == 1
    assert [path.read_bytes() for path in (directory / ASIDE).iterdir()] == [damage]
    assert "spool_envelope_lost" in events(caplog)
    assert bodies(start()) == [b"two"]


def test_a_spool_of_damaged_files_only_is_empty_in_the_end(start, directory):
    first = start()
    for number in range(50):
        first.append(b"%d" % number)
    for path in directory.glob("*.envelope"):
        path.write_bytes(b"")

    spool = start()

    assert spool.oldest(10, 1000) == []
    assert (len(spool), spool.dropped) == (0, 50)


def test_foreign_files_are_set_aside_and_said(start, directory, caplog):
    directory.mkdir(parents=True)
    (directory / "notes.txt").write_text("hello")
    (directory / "000000000001-x.envelope").write_text("not ours")
    (directory / "a-directory").mkdir()

    spool = start()

    assert len(spool) == 0
    assert sorted(path.name for path in (directory / ASIDE).iterdir()) == [
        "000000000001-x.envelope",
        "a-directory",
        "notes.txt",
    ]
    assert caplog.records[0].foreign_files == 3
    assert [path.name for path in directory.iterdir()] == [ASIDE]


def test_what_is_set_aside_does_not_pile_up(start, directory):
    directory.mkdir(parents=True)
    for number in range(MAX_SET_ASIDE + 10):
        (directory / f"{number}.txt").write_text("x")

    start()

    assert len(list((directory / ASIDE).iterdir())) == MAX_SET_ASIDE


def test_a_file_that_somebody_else_has_sent_is_skipped(start, directory):
    first, second = start(), start()
    first.append(b"one")
    second = start()
    first.remove([1])

    assert bodies(second) == []
    assert len(second) == 0


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


def test_memory_is_bounded_too(start, disk, monkeypatch):
    monkeypatch.setattr(disk_spool, "MAX_MEMORY_BYTES", 500)
    spool = start()
    spool.append(b"d" * 400)
    disk.error = OSError(errno.ENOSPC, "full")
    for number in range(1, 5):
        spool.append(bytes([number]) * 200)

    assert [body[:1] for body in bodies(spool)] == [b"d", b"\x03", b"\x04"]
    assert spool.dropped == 2


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

    def refuse(files, file):
        raise OSError(errno.EROFS, "Read-only file system")

    with monkeypatch.context() as patch:
        patch.setattr(SpoolFiles, "remove", refuse)
        spool.remove([1])

    assert len(spool) == 0
    assert events(caplog) == ["spool_disk_fails"]
    assert bodies(start()) == [b"one"]


def test_a_files_name_says_all_about_it(tmp_path):
    file = SpoolFiles(tmp_path, fsync=True).write(7, 1_792_000_000_000, b"body")

    assert file == SpoolFile(7, 1_792_000_000_000, 4, zlib.crc32(b"body"))
    assert [path.name for path in tmp_path.iterdir()] == [file.name]
