"""Published alarms are scored as ours are, and a score that is not the published one is noticed."""

import json

import pytest

from bench.eval.nab_published import main, published

ROWS = 100
TIMES = [f"2014-04-01 {minute // 60:02}:{minute % 60:02}:00" for minute in range(ROWS)]


@pytest.fixture
def checkout(tmp_path):
    """One file with a window from row 50 to row 59; one detector that is perfect, one that is silent."""
    for folder in ("labels", "config", "results/perfect/real", "results/silent/real", "results/unknown/real"):
        (tmp_path / folder).mkdir(parents=True)
    windows = {"real/a.csv": [[f"{TIMES[50]}.000000", f"{TIMES[59]}.000000"]]}
    (tmp_path / "labels" / "combined_windows.json").write_text(json.dumps(windows))
    for detector, alarm in (("perfect", 50), ("silent", None), ("unknown", 50)):
        lines = [f"{time},1,{0.9 if row == alarm else 0.1},0" for row, time in enumerate(TIMES)]
        text = "timestamp,value,anomaly_score,label\n" + "\n".join(lines)
        (tmp_path / "results" / detector / "real" / f"{detector}_a.csv").write_text(text)
    thresholds = {"standard": {"threshold": 0.9}, "reward_low_FP_rate": {"threshold": 0.5}}
    (tmp_path / "config" / "thresholds.json").write_text(json.dumps(dict.fromkeys(("perfect", "silent"), thresholds)))
    final(tmp_path, {"perfect": 100.0, "silent": 0.0})
    return tmp_path


def final(folder, scores):
    of_profiles = {name: {"standard": value, "reward_low_FP_rate": value} for name, value in scores.items()}
    (folder / "results" / "final_results.json").write_text(json.dumps(of_profiles))


def test_perfect_alarms_get_100_and_silence_0_at_the_published_threshold(checkout):
    found = {(one.detector, one.profile): one.ours for one in published(checkout)}

    assert found == {
        ("perfect", "reward_low_FP_rate"): pytest.approx(100.0),
        ("perfect", "standard"): pytest.approx(100.0),
        ("silent", "reward_low_FP_rate"): 0.0,
        ("silent", "standard"): 0.0,
    }


def test_scores_that_are_the_published_ones_are_right_and_others_are_told(checkout, capsys):
    assert main([str(checkout)]) == 0
    assert "DIFFERS" not in capsys.readouterr().out

    final(checkout, {"perfect": 99.9, "silent": 0.0})

    assert main([str(checkout)]) == 1
    out = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in out if line.endswith("DIFFERS")] == ["perfect", "perfect"]


def test_without_a_checkout_it_says_how_to_use_it(capsys):
    assert main([]) == 2

    assert "CHECKOUT_OF_NAB" in capsys.readouterr().err


@pytest.mark.parametrize("spoilt", ["config/thresholds.json", "results/final_results.json"])
def test_what_is_no_checkout_is_refused(checkout, spoilt, capsys):
    (checkout / spoilt).write_text('{"perfect": {}}' if spoilt.startswith("config") else "{")

    assert main([str(checkout)]) == 2
    assert main([str(checkout / "nowhere")]) == 2

    assert capsys.readouterr().err.count("is no checkout of NAB") == 2
