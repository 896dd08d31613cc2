"""The figures of docs/detection.md are put where they belong, and nowhere else."""

from pathlib import Path

import pytest

from bench.eval import document
from bench.eval.document import BEGIN, END, tables

ROOT = Path(__file__).parents[2]


def test_tables_hold_the_figures_of_every_seed():
    series = [{"eval.vus_pr": 0.7512, "eval.vus_pr_knn": 0.6, "eval.event_f1": 0.5}, {"eval.vus_pr": 0.5}]
    rate = "eval.fleet_false_alarms_per_node_week"
    fleets = [{"eval.fleet_recall": 0.96, f"{rate}_band_later": 91.2, f"{rate}_later": 0.11}]

    lines = tables({"eval.nab_standard": 74.4312}, series, fleets, "abc1234")

    assert lines[0].startswith("Made at commit abc1234")
    assert "| NAB score, standard | 74.4 |" in lines
    assert "| NAB score, low FP |  |" in lines
    assert any(line.startswith("| this product | 0.751, 0.5 |") for line in lines)
    assert "| recall | 0.96 |" in lines
    assert "| the same in the second week | 0.11 |" in lines
    assert "| the same in the second week | 91.2 |" in lines


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
