import os

import pytest

from local.log_analytics.write_ahead_log import WriteAheadLog


def lines_of(generation):
    return {stream: path.read_bytes().splitlines() for stream, path in generation.files()}


@pytest.fixture
def log(tmp_path):
    log = WriteAheadLog(tmp_path)
    log.recover(applied=0)
    return log


def test_appended_lines_are_in_the_closed_generation_by_stream(log):
    log.append("a", b"1")
    log.append("b", b"2")
    log.append("a", b"3")

    generation = log.rotate()

    assert lines_of(generation) == {"a": [b"1", b"3"], "b": [b"2"]}
    assert (generation.size, log.open_bytes) == (6, 0)


def test_nothing_to_rotate_is_no_generation(log):
    assert log.rotate() is None


def test_unapplied_lines_of_a_dead_process_are_recovered_in_order(log, tmp_path):
    log.append("a", b"1")
    log.rotate()
    log.append("a", b"2")

    successor = WriteAheadLog(tmp_path)
    left = successor.recover(applied=0)
    successor.append("a", b"3")

    assert [lines_of(generation) for generation in left] == [{"a": [b"1"]}, {"a": [b"2"]}]
    assert successor.rotate().number > left[-1].number


def test_generation_that_was_applied_is_not_recovered(log, tmp_path):
    log.append("a", b"1")
    applied = log.rotate()
    log.append("a", b"2")

    left = WriteAheadLog(tmp_path).recover(applied=applied.number)

    assert [lines_of(generation) for generation in left] == [{"a": [b"2"]}]
    assert not applied.folder.exists()


@pytest.mark.parametrize("whole", [b"", b"1\n", b"1\n" + b"x" * 200_000 + b"\n"])
@pytest.mark.parametrize("torn", [b"", b"2", b"y" * 200_000])
def test_torn_tail_is_dropped_and_whole_lines_stay(log, tmp_path, whole, torn):
    log.append("a", b"first")
    path = dict(log.rotate().files())["a"]
    path.write_bytes(whole + torn)

    (generation,) = WriteAheadLog(tmp_path).recover(applied=0)

    assert path.read_bytes() == whole
    assert generation.size == len(whole)


def test_partial_write_leaves_nothing_behind(log, monkeypatch):
    log.append("a", b"1")
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:2]))
    with pytest.raises(OSError, match="disk full"):
        log.append("a", b"refused")
    monkeypatch.undo()
    log.append("a", b"2")

    assert lines_of(log.rotate()) == {"a": [b"1", b"2"]}
