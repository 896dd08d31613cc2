"""Folders of labelled files: what is read of good ones, and what is said of bad ones."""

import json

import numpy as np
import pytest

from bench.eval.labelled import LabelledDataUnusable, read_labelled

GOOD = "timestamp,value\n" + "".join(f"2014-04-01 00:{minute:02}:00,{minute}.5\n" for minute in range(10))


@pytest.fixture
def folder(tmp_path):
    """Two files, the first with one window."""
    (tmp_path / "data" / "real").mkdir(parents=True)
    (tmp_path / "data" / "real" / "a.csv").write_text(GOOD)
    (tmp_path / "data" / "real" / "b.csv").write_text(GOOD)
    label(tmp_path, [["2014-04-01 00:03:00.000000", "2014-04-01 00:05:00.000000"]])
    return tmp_path


def label(folder, windows, **more):
    (folder / "windows.json").write_text(json.dumps({"real/a.csv": windows, "real/b.csv": [], **more}))


def write(folder, text):
    (folder / "data" / "real" / "a.csv").write_text(text)


def problem(folder):
    with pytest.raises(LabelledDataUnusable) as raised:
        read_labelled(folder)
    return str(raised.value)


def test_files_are_read_with_their_times_values_and_windows(folder):
    (a, b), odd = read_labelled(folder)

    assert odd == []
    assert [a.name, b.name] == ["real/a.csv", "real/b.csv"]
    assert a.windows == ((3, 5),)
    assert b.windows == ()
    assert a.values.tolist() == [minute + 0.5 for minute in range(10)]
    assert a.time[0] == 1_396_310_400.0  # 2014-04-01T00:00:00Z
    assert np.diff(a.time).tolist() == [60.0] * 9


def test_a_checkout_of_the_benchmark_itself_is_read_too(folder):
    (folder / "labels").mkdir()
    (folder / "windows.json").rename(folder / "labels" / "combined_windows.json")

    assert [series.windows for series in read_labelled(folder).series] == [((3, 5),), ()]


def test_files_may_lie_beside_windows_json(folder):
    (folder / "data" / "real").rename(folder / "real")
    (folder / "data").rmdir()

    found = read_labelled(folder).series

    assert [(one.name, one.windows) for one in found] == [("real/a.csv", ((3, 5),)), ("real/b.csv", ())]


def test_an_empty_value_is_missing(folder):
    write(folder, "timestamp,value\n2014-04-01 00:03:00,\n2014-04-01 00:04:00,2\n")

    a = read_labelled(folder).series[0]

    assert np.isnan(a.values[0])
    assert a.windows == ((0, 1),)


def test_times_that_repeat_or_go_back_are_taken_as_they_are_and_told_once_a_file_with_their_line(folder):
    write(folder, "timestamp,value\n2014-04-01 00:03:00,1\n2014-04-01 00:03:00,2\n2014-04-01 00:00:00Z,3\n")

    (a, _), odd = read_labelled(folder)

    assert np.diff(a.time).tolist() == [0.0, -180.0]
    assert a.windows == ((0, 1),)
    (told,) = odd
    assert "a.csv:3: 2014-04-01 00:03:00 is not after 2014-04-01 00:03:00, as are 1 more" in told
    assert "ascending times would be right" in told


def test_a_file_that_windows_do_not_name_has_no_anomaly_and_that_is_told(folder):
    (folder / "data" / "extra.csv").write_text(GOOD)

    found, odd = read_labelled(folder)

    assert {one.name: one.windows for one in found}["extra.csv"] == ()
    (told,) = odd
    assert "extra.csv: windows.json does not name it; it is taken to have no anomaly" in told


@pytest.mark.parametrize(
    ("row", "place", "said"),
    [
        ("2014-04-01 00:00:00", ":3: ", "2 columns, has 1"),
        ("2014-04-01 00:00:00,1,2", ":3: ", "2 columns, has 3"),
        ("", ":3: ", "2 columns, has 0"),
        ("yesterday,1", ":3: ", "time must be like 2014-04-01 00:05:00, got 'yesterday'"),
        ("2014-04-01 00:00:00,1_000", ":3: ", "value must be a number, or empty where it is missing, got '1_000'"),
        ("2014-13-01 00:00:00,1", ":3: ", "time must be like 2014-04-01 00:05:00, got '2014-13-01 00:00:00'"),
        (",1", ":3: ", "time must be like 2014-04-01 00:05:00, got ''"),
        ("2014-04-01 00:00:00,much", ":3: ", "value must be a number, or empty where it is missing, got 'much'"),
    ],
)
def test_a_malformed_row_is_named_by_file_and_line(folder, row, place, said):
    write(folder, f"timestamp,value\n2014-04-01 00:03:00,1\n{row}\n2014-04-01 00:04:00,1\n")

    assert f"a.csv{place}" in problem(folder)
    assert said in problem(folder)


def test_a_wrong_header_an_empty_file_and_one_without_rows_are_told(folder):
    for text, said in (
        ("time;value\n", ":1: must be timestamp,value"),
        ("", "is empty"),
        ("timestamp,value\n", "no rows"),
    ):
        write(folder, text)
        assert said in problem(folder)
        assert "a.csv" in problem(folder)


def test_bytes_that_are_no_text_are_told(folder):
    (folder / "data" / "real" / "a.csv").write_bytes(b"timestamp,value\n\xff\xfe\x00,1\n")

    assert "a.csv: cannot be read as CSV in UTF-8" in problem(folder)


def test_a_file_that_windows_name_but_is_not_there_is_told(folder):
    label(folder, [], **{"real/gone.csv": []})

    assert "windows.json: names 'real/gone.csv'" in problem(folder)


def test_all_files_problems_are_told_at_once(folder):
    for name in "ab":
        (folder / "data" / "real" / f"{name}.csv").write_text("nonsense\n")

    assert "a.csv:1" in problem(folder)
    assert "b.csv:1" in problem(folder)


def test_a_folder_without_windows_is_told(tmp_path):
    assert "neither windows.json nor labels/combined_windows.json" in problem(tmp_path)
    assert "right would be data/**/*.csv with timestamp,value" in problem(tmp_path)


def test_what_is_no_folder_is_told(folder):
    assert "nowhere: is no folder" in problem(folder / "nowhere")
    assert "windows.json: is no folder" in problem(folder / "windows.json")


def test_a_file_that_cannot_be_opened_is_told(folder):
    (folder / "data" / "real" / "a.csv").unlink()
    (folder / "data" / "real" / "a.csv").symlink_to("a.csv")  # to itself

    assert "a.csv" in problem(folder)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is no JSON"),
        ("[]", "must be an object"),
        ('{"real/a.csv": 3}', "must have a list of [first, last] times, got 3"),
        ('{"real/a.csv": [["2014-04-01"]]}', "must have a list of [first, last] times"),
        ('{"real/a.csv": [["soon", "2014-04-01"]], "real/b.csv": []}', "got 'soon'"),
    ],
)
def test_windows_that_are_none_are_told(folder, text, said):
    (folder / "windows.json").write_text(text)

    assert "windows.json" in problem(folder)
    assert said in problem(folder)


def test_a_window_without_rows_and_windows_that_overlap_are_told(folder):
    label(folder, [["2015-01-01 00:00:00", "2015-01-02 00:00:00"]])
    assert "no row is from 2015-01-01 00:00:00 to 2015-01-02 00:00:00" in problem(folder)

    label(folder, [["2014-04-01 00:01:00", "2014-04-01 00:04:00"], ["2014-04-01 00:04:00", "2014-04-01 00:06:00"]])
    assert "overlap" in problem(folder)


def test_a_window_that_ends_before_it_begins_is_told(folder):
    label(folder, [["2014-04-01 00:05:00", "2014-04-01 00:03:00"]])

    assert "window of a.csv: ends before it begins: 2014-04-01 00:05:00 to 2014-04-01 00:03:00" in problem(folder)


def test_of_many_problems_the_first_are_told_and_the_number_of_the_others(folder):
    label(folder, [], **{f"gone{number}.csv": [] for number in range(30)})

    assert len(problem(folder).splitlines()) == 21
    assert problem(folder).endswith("... and 10 more")


def test_no_files_at_all_are_told(tmp_path):
    (tmp_path / "windows.json").write_text("{}")

    assert "no CSV file is in it" in problem(tmp_path)
