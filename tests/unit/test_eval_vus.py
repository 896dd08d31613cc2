"""VUS-PR against cases known beforehand, and against its definition computed threshold by threshold."""

import numpy as np
import pytest

from bench.eval.vus import LONGEST, THRESHOLDS, vus_pr

POINTS = 2_000


def labels(*spans, points=POINTS):
    flags = np.zeros(points, np.bool_)
    for start, end in spans:
        flags[start:end] = True
    return flags


def by_definition(score, label):
    """As TSB-AD's code goes about it: one width and one threshold after the other."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], label.astype(int), [0]])))
    segments = list(zip(edges[::2], edges[1::2] - 1, strict=True))
    descending = -np.sort(-score)
    areas = []
    for width in range(LONGEST + 1):
        extended = label.astype(float)
        for start, end in segments if width else ():
            after = np.arange(end + 1, min(end + width // 2 + 1, len(label)))
            extended[after] += np.sqrt(1 - (after - end) / width)
            before = np.arange(max(start - width // 2, 0), start)
            extended[before] += np.sqrt(1 - (start - before) / width)
        extended = np.minimum(extended, 1.0)
        runs = np.flatnonzero(np.diff(np.concatenate([[0], (extended > 0).astype(int), [0]])))
        area = recall_before = 0.0
        for rank in np.linspace(0, len(score) - 1, THRESHOLDS).astype(int):
            predicted = score >= descending[rank]
            counted = np.where(label, 1.0, extended * predicted)
            true = (counted * predicted).sum()
            exist = np.mean([predicted[a:b].any() for a, b in zip(runs[::2], runs[1::2], strict=True)])
            recall = min(true / ((label.sum() + counted.sum()) / 2), 1.0) * exist
            area += (recall - recall_before) * true / predicted.sum()
            recall_before = recall
        areas.append(area)
    return np.mean(areas)


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize(("seed", "length"), [(1, 1), (2, 40), (3, 120)])
def test_it_is_the_definition(seed, length, sparse):
    random = np.random.default_rng(seed)
    label = labels((100, 100 + length), (240, 250), points=300)
    score = random.random(300) + 0.6 * label * random.random(300)
    if sparse:
        score = np.where(score > 1.0, score, 0.0)

    assert vus_pr(score, label) == pytest.approx(by_definition(score, label), abs=1e-12)


def test_a_score_that_is_the_label_is_perfect():
    label = labels((500, 560), (1_200, 1_230))

    assert vus_pr(label.astype(float), label, exact=True) == pytest.approx(1.0)
    assert vus_pr(label.astype(float), label) == pytest.approx(1.0)


def test_a_random_score_gets_about_the_share_of_labelled_points():
    label = labels((300, 400), (1_200, 1_300))
    random = np.random.default_rng(1)

    for exact in (False, True):
        found = [vus_pr(random.random(POINTS), label, exact=exact) for _ in range(10)]
        assert 0.09 < np.mean(found) < 0.18  # labelled: 0.10; with slopes of 50 on each side up to 0.16


def test_a_constant_score_gets_no_more_than_a_random_one():
    label = labels((300, 400))

    assert vus_pr(np.zeros(POINTS), label) < 0.09
    assert vus_pr(np.zeros(POINTS), label, exact=True) < 0.09


def test_an_inverted_score_is_worse_than_a_random_one():
    label = labels((300, 400))

    assert vus_pr(1.0 - label.astype(float), label, exact=True) < 0.09


def test_some_points_early_or_late_cost_little_and_many_cost_much():
    label = labels((500, 600))
    scores = {shift: np.roll(label.astype(float), shift) for shift in (0, 5, 25, 200)}

    found = {shift: vus_pr(score, label, exact=True) for shift, score in scores.items()}

    assert found[0] == pytest.approx(1.0)
    assert found[0] > found[5] > found[25] > found[200]
    assert found[5] > 0.85
    assert found[200] < 0.1


def test_finding_one_point_of_an_anomaly_is_not_credited_for_the_others():
    label = labels((500, 600))
    score = np.zeros(POINTS)
    score[550] = 1.0

    assert vus_pr(score, label, exact=True) < 0.1  # point adjustment would make it 1


def test_a_missed_anomaly_is_missed_though_another_is_found_whole():
    label = labels((500, 600), (1_500, 1_510))
    score = labels((500, 600)).astype(float)

    assert vus_pr(score, label, exact=True) < 0.6


def test_only_the_order_of_scores_matters():
    label = labels((500, 600))
    score = np.random.default_rng(3).random(POINTS) + 0.5 * label

    assert vus_pr(np.exp(3 * score), label) == pytest.approx(vus_pr(score, label))


def test_without_labels_it_is_refused():
    with pytest.raises(ValueError, match="no point is labelled"):
        vus_pr(np.zeros(10), np.zeros(10, np.bool_))
