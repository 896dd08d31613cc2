"""Explanations: short enough to read in a message, exact enough to act on."""

import pytest

from functions.core.policy.explanation import findings_of, rounded, sentence
from functions.core.policy.incidents import Episode, Finding, Incident, Kind, Phase
from functions.core.policy.rules import METRICS, Severity

TEN_O_CLOCK = 29_833_200  # 2026-09-21T12:00Z
ZERO = TEN_O_CLOCK


def incident(*findings, kind=Kind.UNUSUAL, minutes=12):
    found = {finding.metric: finding for finding in findings}
    return Incident("id", kind, ZERO, ZERO + minutes - 1, Severity.WARNING, False, found)


CPU = Finding("CpuUtilization", ZERO, 0.98123, 0.34, 0.58, 2.0)
FAULTS = Finding("MajorFaults", ZERO + 1, 2_345.6, 0.0, 100.0, 5.0)


def test_a_sentence_names_value_band_and_time():
    assert sentence(incident(CPU), None) == "CpuUtilization 98.1 % (usually 34 % to 58 %) since 12:00 UTC"


def test_the_strongest_comes_first_and_large_numbers_are_short():
    text = sentence(incident(CPU, FAULTS), None)

    assert text.startswith("MajorFaults 2.35 k (usually 0 to 100) since 12:01 UTC; CpuUtilization")


def test_of_many_metrics_three_are_named_and_the_others_counted():
    many = [Finding(metric, ZERO, 0.5, 0.0, 0.1, 9.0 - place) for place, metric in enumerate(METRICS[:5])]

    text = sentence(incident(*many), None)

    assert METRICS[2] in text
    assert METRICS[3] not in text
    assert text.endswith("; and 2 more")


def test_a_similar_episode_and_the_end_are_told():
    before = Episode(ZERO - 1440, 7, ("CpuUtilization",))

    assert "; like 2026-09-20 12:00, which lasted 7 min" in sentence(incident(CPU), before)
    assert sentence(incident(CPU), None, Phase.END).endswith("; over after 12 min")
    assert sentence(incident(CPU, minutes=1441), None, Phase.END).endswith(
        "; goes on after 24 h and is not told any more"
    )


def test_a_pools_incident_says_so_first():
    assert sentence(incident(CPU, kind=Kind.POOL), None).startswith("on many nodes of the pool at once: CpuUtil")


@pytest.mark.parametrize("metric", METRICS)
def test_every_watched_metric_can_be_told(metric):
    assert metric in sentence(incident(Finding(metric, ZERO, 1e9, 0.0, 1.0, 3.0)), None)


def test_the_list_has_everything_the_strongest_first():
    first, second = findings_of(incident(CPU, FAULTS))

    assert first == {
        "Metric": "MajorFaults",
        "Value": 2345.6,
        "Lower": 0.0,
        "Upper": 100.0,
        "Since": "2026-09-21T12:01:00Z",
        "Strength": 5.0,
    }
    assert second["Metric"] == "CpuUtilization"


@pytest.mark.parametrize(
    ("value", "short"), [(0.981234567, 0.98123), (123456789.0, 123460000.0), (0.0, 0.0), (1e-9, 1e-9)]
)
def test_numbers_have_five_digits(value, short):
    assert rounded(value) == short
