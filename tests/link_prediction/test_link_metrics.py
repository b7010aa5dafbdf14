"""Metrics against scikit-learn; intervals against brute force and by coverage."""

from __future__ import annotations

import numpy as np
import pytest
from octoscope.link_prediction.link_metrics import (
    Estimate,
    auc,
    average_precision,
    interval,
    mean_of,
    ranks,
    relation_weighted,
    standard_error,
)
from sklearn.metrics import average_precision_score, roc_auc_score


def case(seed: int, ties: bool) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.random(300) < 0.4
    score = rng.normal(size=300) + truth
    return np.round(score) if ties else score, truth


@pytest.mark.parametrize("ties", [False, True])
def test_values_and_influences_are_those_of_scikit_learn(ties: bool) -> None:
    score, truth = case(0, ties)
    for ours, theirs in ((auc, roc_auc_score), (average_precision, average_precision_score)):
        estimates = ours(score, truth)
        assert estimates.value == pytest.approx(theirs(truth, score))
        assert estimates.influence.sum() == pytest.approx(0, abs=1e-9)
        for i in (3, 50, 120, 299):  # the derivative by the weight of one pair
            step = 1e-5
            values = [
                theirs(truth, score, sample_weight=1 + s * step * (np.arange(300) == i))
                for s in (1, -1)
            ]
            slope = (values[0] - values[1]) / (2 * step)
            assert estimates.influence[i] == pytest.approx(slope, abs=1e-7)


def test_an_empty_class_has_no_value() -> None:
    for of in (auc, average_precision):
        assert np.isnan(of(np.ones(3), np.ones(3, bool)).value)
    assert np.isnan(mean_of(np.zeros(0)).value)


def test_the_interval_is_that_of_deleting_vertices() -> None:
    rng = np.random.default_rng(1)
    n, m = 80, 2000
    src, dst = rng.integers(0, n, m), rng.integers(0, n, m)
    src, dst = src[src != dst], dst[src != dst]
    truth = rng.normal(size=n)[src] + rng.normal(size=len(src)) > 0
    score = rng.normal(size=n)[src] + rng.normal(size=len(src)) + truth
    estimate = auc(score, truth)
    deleted = []
    for v in range(n):
        kept = (src != v) & (dst != v)
        deleted.append(auc(score[kept], truth[kept]).value)
    brute = np.sqrt((n - 1) / n * np.sum((np.array(deleted) - np.mean(deleted)) ** 2))
    error, vertices = standard_error(estimate.influence, src, dst)
    assert vertices == n
    # deleting counts each pair at both ends, so it is the larger one
    twice = np.sqrt(error**2 + (estimate.influence**2).sum())
    assert twice == pytest.approx(brute, rel=0.1)
    rows = np.sqrt((estimate.influence**2).sum())
    assert error > 1.5 * rows  # vertices matter: intervals by pair would be too narrow


@pytest.mark.parametrize("by_vertex", [False, True])
def test_intervals_cover(by_vertex: bool) -> None:
    """200 graphs of 60 vertices and 900 pairs; both classes are alike, so the true AUC is 0.5."""
    rng = np.random.default_rng(2)
    spread = 1.0 if by_vertex else 0.0
    hit = 0
    for _ in range(200):
        src, dst = rng.integers(0, 60, 900), rng.integers(0, 60, 900)
        truth = spread * rng.normal(size=60)[src] + rng.normal(size=900) > 0
        score = spread * rng.normal(size=60)[src] + rng.normal(size=900)
        low, high, _ = interval(auc(score, truth), src, dst)
        hit += low <= 0.5 <= high
    assert 0.90 <= hit / 200 <= 0.99


def test_a_difference_has_the_interval_of_the_same_pairs() -> None:
    score, truth = case(3, False)
    src = np.arange(300)
    one, other = auc(score, truth), auc(score + 1e-9, truth)
    low, high, _ = interval(one - other, src)
    assert (low, high) == (0, 0)  # though either alone is uncertain
    assert standard_error(one.influence, src)[0] > 0.01
    assert (one - other).value == 0


def test_ranks_count_equal_scores_half() -> None:
    candidates = np.array([[0.1, 0.5, 0.9, np.nan], [0.5, 0.5, 0.5, 0.5]])
    np.testing.assert_array_equal(ranks(np.array([0.5, 0.5]), candidates), [2.5, 3])


def test_relations_are_weighted_by_the_root_of_their_positives() -> None:
    score, truth = case(4, False)
    relation = (np.arange(300) > 250).astype(int)
    parts = [auc(score[relation == r], truth[relation == r]).value for r in (0, 1)]
    weights = [np.sqrt(truth[relation == r].sum()) for r in (0, 1)]
    estimate = relation_weighted(score, truth, relation)
    assert estimate.value == pytest.approx(np.average(parts, weights=weights))
    assert isinstance(estimate, Estimate)
    assert estimate.influence.sum() == pytest.approx(0, abs=1e-9)
