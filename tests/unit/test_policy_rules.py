"""The table of what is watched: complete, within what arrays can hold, and explained where people look."""

import re
from pathlib import Path

import numpy as np
import pytest

from functions.core.policy.rules import COLUMNS, FULL, LEAST, METRICS, RULES, Severity
from telemetry.tables import FEATURES

DOCUMENT = (Path(__file__).parents[2] / "docs/incidents.md").read_text()


def test_every_rule_is_of_a_metric_that_windows_have_and_there_is_one_per_metric():
    assert len(set(METRICS)) == len(METRICS)
    assert [FEATURES[column] for column in COLUMNS] == list(METRICS)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.metric)
def test_a_rule_asks_for_something_possible(rule):
    assert 1 <= rule.persistence.need <= rule.persistence.of <= 16
    assert 0 < rule.least < (rule.full or np.inf)
    assert rule.critical is None or rule.least <= rule.critical < (rule.full or np.inf)
    assert rule.severity in (Severity.WARNING, Severity.ERROR)
    assert len(rule.because) > 10


def test_arrays_say_what_the_rules_say():
    assert LEAST.tolist() == [rule.least for rule in RULES]
    assert FULL[METRICS.index("CpuSteal")] == 1.0
    assert FULL[METRICS.index("MajorFaults")] == np.inf


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.metric)
def test_the_document_tells_every_rule(rule):
    need, of = rule.persistence
    row = next(line for line in DOCUMENT.splitlines() if line.startswith(f"| {rule.metric} |"))

    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert float(re.sub("[, ]", "", cells[1])) == rule.least
    assert cells[2] == (f"{need} of {of}" if of > 1 else "at once")
    assert cells[3] == rule.severity.label + (f", Critical from {rule.critical:g}" if rule.critical else "")
    assert cells[4] == rule.because
