"""The spool's directory after bit rot, crashes and people: what is damaged costs itself, never its neighbours."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.manual_clock import ManualClock
from agent.spool.disk_spool import DiskSpool
from agent.spool.files import ASIDE, MAX_SET_ASIDE, SpoolFiles
from agent.spool.spool import DropReason


@pytest.fixture
def directory(tmp_path) -> Path:
    return tmp_path / "spool"


@pytest.fixture
def start(directory, caplog):
    """Opens the spool, as a new process does."""
    caplog.set_level("INFO")

    def start(max_bytes: int = 10_000) -> DiskSpool:
        return DiskSpool.open(SpoolFiles(directory, fsync=False), max_bytes=max_bytes, max_age=600, clock=ManualClock())

    return start


def bodies(spool: DiskSpool) -> list[bytes]:
    return [spooled.body for spooled in spool.oldest(1000, 10**9)]


def events(caplog) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def file_of(directory: Path, number: int) -> Path:
    (path,) = directory.glob(f"{number:012d}-*")
    return path


def replace_by(path: Path, kind: str) -> None:
    path.unlink()
    if kind == "directory":
        path.mkdir()
    elif kind == "symbolic link":
        (path.parents[1] / "elsewhere").write_bytes(b"one")
        path.symlink_to(path.parents[1] / "elsewhere")
    elif kind == "pipe":
        os.mkfifo(path)


@pytest.mark.parametrize("damage", [b"", b"on", b"onf", b"one and more"])
@pytest.mark.parametrize("running", [False, True])
def test_a_damaged_file_is_set_aside_and_its_neighbours_are_sent(start, directory, caplog, damage, running):
    first = start()
    for body in (b"nil", b"one", b"two"):
        first.append(body)
    file_of(directory, 2).write_bytes(damage)

    spool = first if running else start()

    assert bodies(spool) == [b"nil", b"two"]
    assert spool.drops[DropReason.DAMAGED] == spool.dropped == 1
    assert spool.waiting_bytes == 6
    assert [path.read_bytes() for path in (directory / ASIDE).iterdir()] == [damage]
    assert events(caplog).count("spool_envelope_lost") == 1
    assert bodies(start()) == [b"nil", b"two"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50, deadline=None)
@given(body=st.binary(min_size=1, max_size=200), where=st.integers(0, 10**6))
def test_one_flipped_bit_is_noticed_wherever_it_is(tmp_path_factory, body, where):
    directory = tmp_path_factory.mktemp("flip")
    files = SpoolFiles(directory, fsync=False)
    file = files.write(1, 1_792_000_000_000, body)
    flipped = bytearray(body)
    flipped[where // 8 % len(body)] ^= 1 << where % 8

    (directory / file.name).write_bytes(flipped)

    assert files.read(file) is None


@pytest.mark.parametrize("kind", ["directory", "symbolic link", "pipe", "nothing"])
def test_what_is_no_file_in_the_place_of_one_is_none_at_the_start(start, directory, kind):
    first = start()
    first.append(b"one")
    first.append(b"two")
    replace_by(file_of(directory, 1), kind)

    spool = start()

    assert bodies(spool) == [b"two"]
    assert [path.name for path in directory.glob("*.envelope")] == [file_of(directory, 2).name]
    assert spool.dropped == 0


@pytest.mark.parametrize(("kind", "reason"), [("directory", DropReason.DAMAGED), ("nothing", DropReason.MISSING)])
def test_what_is_no_file_any_more_while_running_costs_itself_only(start, directory, kind, reason):
    spool = start()
    spool.append(b"one")
    spool.append(b"two")
    replace_by(file_of(directory, 1), kind)

    assert bodies(spool) == [b"two"]
    assert spool.drops[reason] == spool.dropped == 1


def test_a_file_that_has_become_huge_is_not_read_as_a_whole(start, directory):
    spool = start()
    spool.append(b"one")
    spool.append(b"two")
    with file_of(directory, 1).open("wb") as stream:
        stream.truncate(10**12)

    assert bodies(spool) == [b"two"]
    assert spool.drops[DropReason.DAMAGED] == 1


@pytest.mark.parametrize(
    "name",
    [
        "notes.txt",
        "000000000007-1792000000000-3-00000000.envelope.bak",
        "7-1792000000000-3-00000000.envelope",
        "000000000007-1792000000000-003-00000000.envelope",
        "000000000007-1792000000000-3-0000000G.envelope",
        "000000000007-1792000000000-3-00000000.ENVELOPE",
        "999999999999-1792000000000-3-00000000.envelope",
        "000000000007-1792000000000-999999999999-00000000.envelope",
        "\u0661\u0661\u0661\u0661\u0661\u0661\u0661\u0661\u0661\u0661\u0661\u0661-1792000000000-3-00000000.envelope",
        os.fsdecode(b"\xff\xfe.envelope"),
        "n" * 255,
    ],
)
def test_a_file_that_no_spool_has_named_is_set_aside(start, directory, caplog, name):
    start().append(b"one")
    (directory / name).write_bytes(b"abc")

    spool = start()
    spool.append(b"two")

    assert bodies(spool) == bodies(start()) == [b"one", b"two"]
    assert spool.dropped == 0
    assert [path.name for path in (directory / ASIDE).iterdir()] == [name]
    assert next(record for record in caplog.records if record.getMessage() == "spool_taken_up").foreign_files == 1


def test_a_name_that_claims_a_size_it_does_not_have_drops_no_neighbour(start, directory):
    first = start()
    first.append(b"one")
    first.append(b"two")
    (directory / "000000000003-1792000000000-999999999-00000000.envelope").write_bytes(b"tiny")

    spool = start(max_bytes=1000)

    assert bodies(spool) == [b"one", b"two"]
    assert spool.drops == {**dict.fromkeys(DropReason, 0), DropReason.DAMAGED: 1}


def test_a_spool_of_damaged_files_only_is_empty_in_the_end_and_says_so_once(start, directory, caplog):
    earlier = start()
    for number in range(250):
        earlier.append(b"%03d" % number)
    spool = start()
    for path in directory.glob("*.envelope"):
        path.write_bytes(b"bad")

    assert spool.oldest(10, 1000) == []
    assert (len(spool), spool.waiting_bytes, spool.drops[DropReason.DAMAGED]) == (0, 0, 250)
    assert events(caplog) == ["spool_taken_up", "spool_envelope_lost"]
    spool.append(b"whole")
    spool.append(b"whole too")

    assert events(caplog) == ["spool_taken_up", "spool_envelope_lost", "spool_drops_no_more"]
    assert caplog.records[2].dropped == 250
    assert len(list((directory / ASIDE).iterdir())) == MAX_SET_ASIDE


def test_foreign_files_are_set_aside_and_said(start, directory, caplog):
    directory.mkdir(parents=True)
    (directory / "notes.txt").write_text("hello")
    (directory / "a-directory").mkdir()
    (directory / "lost+found").mkdir()

    spool = start()

    assert len(spool) == 0
    assert sorted(path.name for path in (directory / ASIDE).iterdir()) == ["a-directory", "notes.txt"]
    assert caplog.records[0].foreign_files == 2
    assert sorted(path.name for path in directory.iterdir()) == ["lost+found", ASIDE]


def test_a_file_of_a_name_that_is_set_aside_already_does_not_replace_it(start, directory):
    for text in ("first", "second"):
        directory.mkdir(exist_ok=True)
        (directory / "notes.txt").write_text(text)
        start()
    (directory / "notes.txt").mkdir()
    start()

    assert len(list((directory / ASIDE).iterdir())) == 3
    assert (directory / ASIDE / "notes.txt").read_text() == "first"


def test_what_is_set_aside_does_not_pile_up(start, directory):
    directory.mkdir(parents=True)
    for number in range(MAX_SET_ASIDE + 10):
        (directory / f"{number}.txt").write_text("x")

    start()

    assert len(list((directory / ASIDE).iterdir())) == MAX_SET_ASIDE


def test_where_nothing_can_be_set_aside_the_envelopes_are_sent_all_the_same(start, directory, caplog):
    start().append(b"one")
    (directory / ASIDE).write_text("a file where the directory should be")
    (directory / "notes.txt").write_text("hello")

    spool = start()

    assert bodies(spool) == [b"one"]
    assert "spool_disk_fails" in events(caplog)
    spool.append(b"two")
    assert events(caplog)[-1] == "spool_disk_recovered"


def test_writes_that_a_crash_cut_off_are_deleted(start, directory):
    start().append(b"whole")
    (directory / "0a1b2c3d.tmp").write_bytes(b"hal")

    assert bodies(start()) == [b"whole"]
    assert [path.name for path in directory.iterdir()] == [file_of(directory, 1).name]
