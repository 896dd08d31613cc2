"""The figures of docs/detection.md are put where they belong, and nowhere else."""

import json
from pathlib import Path

import pytest

from bench.eval import document
from bench.eval.document import BEGIN, END, tables

ROOT = Path(__file__).parents[2]
RATE = "eval.fleet_false_alarms_per_node_week"


@pytest.fixture
def measured(tmp_path, monkeypatch):
    """A document, and an evaluation that gives its seed as every figure."""
    folder = tmp_path / "results"
    asked = []

    def evaluate(arguments):
        asked.append(arguments)
        out = Path(arguments[arguments.index("--out") + 1])
        seed = int(arguments[arguments.index("--seed") + 1]) if "--seed" in arguments else 74
        out.mkdir(parents=True, exist_ok=True)
        names = ("eval.nab_standard", "eval.vus_pr", "eval.fleet_recall", "eval.forecast_mase_ratio")
        figures = {name: {"value": seed, "unit": ""} for name in names}
        (out / "results.json").write_text(json.dumps({"figures": figures}))
        for made in document.PICTURES:
            if (folder / made).parent == out:
                (folder / made).write_bytes(b"picture")
        return 0

    path = tmp_path / "detection.md"
    path.write_text(f"before\n{BEGIN}\nstale\n{END}\nafter\n")
    (tmp_path / "images").mkdir()
    for name, value in {"DOCUMENT": path, "IMAGES": tmp_path / "images", "_RESULTS": folder, "main": evaluate}.items():
        monkeypatch.setattr(document, name, value)
    return path, asked


def test_tables_hold_the_figures_of_every_seed():
    series = {1: {"eval.vus_pr": 0.7512, "eval.vus_pr_knn": 0.6, "eval.event_f1": 0.5}, 501: {"eval.vus_pr": 0.5}}
    fleets = {3: {"eval.fleet_recall": 0.96, f"{RATE}_band_later": 91.2, f"{RATE}_later": 0.11}}
    forecasts = {1: {"eval.exhaustion_recall_4h": 0.97}}
    others = {"eval.vus_pr_1min": 0.7, "eval.vus_pr_5min": 0.6, "eval.vus_pr_1h_knn": 0.5}

    lines = tables({"eval.nab_standard": 74.4312}, series, {1: others}, fleets, forecasts)

    assert "| NAB score, standard | 74.4 |" in lines
    assert "| NAB score, low FP |  |" in lines
    assert "| Simulated series (seeds 1, 501) | VUS-PR | every value a threshold | event-F1, best threshold |" in lines
    assert "| this product | 0.751, 0.5 | ,  | ,  |" in lines
    assert "| kNN | 0.6,  | ,  | ,  |" in lines
    assert "| event-F1 | 0.5,  |" in lines
    assert "| VUS-PR on series of any kind, with points (seeds 1) | every minute | every five | every hour |" in lines
    assert "| this product | 0.7 | 0.6 |  |" in lines
    assert "| kNN |  |  | 0.5 |" in lines
    assert "| the product: incidents, predictive alerts, outliers | 0.96 |  |  | 0.11 |" in lines
    assert "| a band of eight deviations |  |  |  | 91.2 |" in lines
    assert "| leaks foreseen 4 h ahead | 0.97 |" in lines


def test_what_is_between_the_marks_is_replaced_and_nothing_else(measured):
    path, asked = measured

    assert document.document(["--data", "labelled", "--seeds", "1", "501"]) == 0

    text = path.read_text()
    assert text.startswith(f"before\n{BEGIN}\n")
    assert text.endswith(f"{END}\nafter\n")
    assert "stale" not in text
    assert "| this product | 1, 501 | " in text
    assert (path.parent / "images" / "detection-fleet.png").read_bytes() == b"picture"
    assert asked[0][:4] == ["--only", "files", "--data", "labelled"]
    assert [(one[1], one[3]) for one in asked[1:]] == [
        (part, seed) for part in ("series", "cadences", "fleet", "forecasts") for seed in ("1", "501")
    ]


def test_one_part_is_measured_anew_and_the_others_stay(measured):
    path, asked = measured
    document.document(["--seeds", "1", "501"])
    asked.clear()

    assert document.document(["--only", "forecasts", "--seeds", "7"]) == 0

    assert [(one[1], one[3]) for one in asked] == [("forecasts", "7")]
    assert "| this product | 1, 501 | " in path.read_text()
    assert "| error of the next 24 h over that of seasonal naive | 7 |" in path.read_text()


def test_without_the_seed_that_is_pictured_the_document_stays_and_what_to_do_is_said(measured, capsys):
    path, _ = measured

    assert document.document(["--seeds", "2"]) == 2

    assert "measure all parts, with seed 1 too" in capsys.readouterr().err
    assert "stale" in path.read_text()


def test_the_document_has_the_place_for_them():
    text = (ROOT / "docs/detection.md").read_text()

    assert text.count(BEGIN) == text.count(END) == 1
    assert text.index(BEGIN) < text.index(END)


def test_a_document_without_the_place_is_refused_and_left_alone(tmp_path, monkeypatch, capsys):
    path = tmp_path / "detection.md"
    path.write_text("nothing")
    monkeypatch.setattr(document, "DOCUMENT", path)

    assert document.document([]) == 2

    assert "must have" in capsys.readouterr().err
    assert path.read_text() == "nothing"


@pytest.mark.parametrize("name", document.PICTURES.values())
def test_the_document_shows_every_picture(name):
    assert f"images/{name}" in (ROOT / "docs/detection.md").read_text()
