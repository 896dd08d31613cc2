"""`python -m bench.eval`: what it prints and writes, and what it refuses."""

import json

import pytest

from bench.eval import run
from bench.eval.run import main
from bench.eval.schedule import plan

ROWS = 1_200


@pytest.fixture
def folder(tmp_path):
    """One file with a jump that is labelled, one with nothing."""
    (tmp_path / "data" / "a").mkdir(parents=True)
    stamps = [f"2014-04-{1 + n // 288:02} {n % 288 // 12:02}:{n % 12 * 5:02}:00" for n in range(ROWS)]
    for name, height in (("jump", 90.0), ("calm", 0.0)):
        values = [50 + (n * 7919 % 101) / 50 + (height if 1000 <= n < 1030 else 0.0) for n in range(ROWS)]
        text = "timestamp,value\n" + "".join(f"{t},{v}\n" for t, v in zip(stamps, values, strict=True))
        (tmp_path / "data" / "a" / f"{name}.csv").write_text(text)
    windows = {"a/jump.csv": [[stamps[995], stamps[1040]]], "a/calm.csv": []}
    (tmp_path / "windows.json").write_text(json.dumps(windows))
    return tmp_path


def test_labelled_files_are_scored_and_reported(folder, tmp_path, capsys):
    assert main(["--only", "files", "--jobs", "1", "--data", str(folder), "--out", str(tmp_path / "out")]) == 0

    lines = dict(line.split(" ", 1) for line in capsys.readouterr().out.splitlines())
    assert float(lines["eval.nab_standard"].split()[0]) > 80
    assert lines["eval.nab_detected"] == "1 of 1 windows"
    figures = json.loads((tmp_path / "out" / "results.json").read_text())["figures"]
    assert figures["eval.nab_standard"]["unit"] == "points"
    report = (tmp_path / "out" / "report.md").read_text()
    assert "| a/jump.csv | 1 | 1 | 0 | " in report
    assert "| eval.nab_detected | 1 | of 1 windows |" in report
    assert (tmp_path / "out" / "files.png").read_bytes().startswith(b"\x89PNG")


def test_odd_files_are_judged_without_a_complaint(folder, tmp_path, capsys):
    odd = {"missing": ["", "", ""], "infinite": ["inf", "-inf", "1"], "alone": ["5"], "huge": ["1e308", "1", "-1e308"]}
    windows = json.loads((folder / "windows.json").read_text())
    for name, values in odd.items():
        rows = "".join(f"2014-04-01 00:{n:02}:00,{value}\n" for n, value in enumerate(values))
        (folder / "data" / f"{name}.csv").write_text(f"timestamp,value\n{rows}")
        windows[f"{name}.csv"] = []
    (folder / "windows.json").write_text(json.dumps(windows))

    assert main(["--only", "files", "--jobs", "1", "--data", str(folder), "--out", str(tmp_path / "out")]) == 0

    assert "eval.nab_detected 1 of 1 windows" in capsys.readouterr().out


def test_files_without_any_window_have_no_score_but_false_alarms_are_counted(folder, tmp_path, capsys):
    (folder / "windows.json").write_text('{"a/jump.csv": [], "a/calm.csv": []}')

    assert main(["--only", "files", "--jobs", "1", "--data", str(folder), "--out", str(tmp_path / "out")]) == 0

    out = capsys.readouterr().out
    assert "nab_standard" not in out
    assert "eval.nab_false_alarms" in out


def test_without_data_it_says_that_this_part_was_left_out_and_how_to_give_it(tmp_path, capsys):
    assert main(["--only", "files", "--jobs", "1", "--out", str(tmp_path)]) == 0

    told = capsys.readouterr()
    assert "make eval DATA=/path/to/folder" in told.err
    assert "nab" not in told.out
    assert "left out" in (tmp_path / "report.md").read_text()


def test_bad_data_is_refused_before_anything_else_is_done(folder, tmp_path, capsys):
    with (folder / "data" / "a" / "calm.csv").open("a") as file:
        file.write("2014-04-09 00:00:00,high\n")

    assert main(["--data", str(folder), "--out", str(tmp_path / "out")]) == 2

    assert f"calm.csv:{ROWS + 2}: value must be a number" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_not_there_is_refused_and_what_would_be_right_is_said(tmp_path, capsys):
    assert main(["--data", str(tmp_path / "nowhere"), "--out", str(tmp_path / "out")]) == 2

    assert "nowhere: is no folder; give one in NAB's layout: data/**/*.csv" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_files_that_are_odd_are_told_of_and_scored(folder, tmp_path, capsys):
    (folder / "data" / "a" / "new.csv").write_text((folder / "data" / "a" / "calm.csv").read_text())

    assert main(["--only", "files", "--jobs", "1", "--data", str(folder), "--out", str(tmp_path / "out")]) == 0

    told = capsys.readouterr()
    assert "new.csv: windows.json does not name it; it is taken to have no anomaly" in told.err
    assert "eval.nab_detection_rate:a/jump 1 of 1 windows" in told.out
    assert "eval.nab_alarms:a/new " in told.out
    assert "eval.nab_detection_rate:a/new" not in told.out


def test_a_report_folder_that_is_a_file_is_refused(tmp_path, capsys):
    (tmp_path / "out").write_text("")

    assert main(["--only", "files", "--out", str(tmp_path / "out")]) == 2

    assert "out is a file; name another" in capsys.readouterr().err


def test_ctrl_c_ends_it_with_a_word_and_writes_nothing(tmp_path, capsys, monkeypatch):
    def interrupt(given, progress):
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "_read", interrupt)

    assert main(["--out", str(tmp_path / "out")]) == 130

    assert "stopped" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--nodes", "5"], "must be a whole number 20-10000, got '5'"),
        (["--seed", "-1"], "must be a whole number 0-"),
        (["--seed", "one"], "got 'one'"),
        (["--days", "0.5"], "must be 1-60 days, got '0.5'"),
        (["--days", "nan"], "must be 1-60 days"),
        (["--jobs", "0"], "must be a whole number 1-256"),
        (["--only", "everything"], "invalid choice: 'everything'"),
        (["--source", "oracle"], "invalid choice: 'oracle'"),
    ],
)
def test_bad_arguments_are_refused(arguments, said, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(arguments)

    assert said in capsys.readouterr().err


def test_a_fleet_is_simulated_and_reported(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(run, "plan", lambda nodes, days, seed: plan(nodes, 0.15, seed))
    out = tmp_path / "out"

    assert main(["--only", "fleet", "--nodes", "20", "--days", "1", "--jobs", "1", "--out", str(out)]) == 0

    lines = dict(line.split(" ", 1) for line in capsys.readouterr().out.splitlines())
    assert lines["eval.fleet_recall"].endswith("of 10 faults")
    assert {"eval.fleet_recall_incidents", "eval.fleet_recall_static_thresholds"} <= set(lines)
    assert {"eval.fleet_false_alarms_per_node_week", "eval.seconds"} <= set(lines)
    assert f"Simulated fleet, decided by `{run.PRODUCT}`" in (out / "report.md").read_text()
    assert (out / f"fleet-{run.PRODUCT}.png").read_bytes().startswith(b"\x89PNG")
