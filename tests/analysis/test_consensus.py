"""Consensus of models and contrasts of categories: definitions, nulls, planted structure."""

from __future__ import annotations

import numpy as np
import pytest
from octoscope.analysis import statistics
from octoscope.analysis.consensus import (
    contrast_noise,
    contrast_test,
    score,
    specificity,
    support,
    support_test,
)

GROUPS = ["A", "A", "B"]


def test_score_averages_models_then_groups_and_the_unknown_is_chance() -> None:
    q = np.array([[0.01, 0.1, np.nan, np.nan], [0.1, np.nan, np.nan, np.nan],
                  [0.001, 0.1, 0.01, np.nan]])  # fmt: skip
    scores = score(q, GROUPS)
    assert scores[0] == pytest.approx((1.5 + 3) / 2)
    assert scores[1] == pytest.approx(1)
    assert scores[2] == pytest.approx((np.log10(2) + 2) / 2)  # group A cannot rank it
    assert np.isnan(scores[3])
    assert score(np.stack([q, q], 1), GROUPS).shape == (2, 4)  # [models, categories, pairs]


def test_scores_and_contrasts_are_exact_to_float32_so_that_equal_ones_tie() -> None:
    q = np.random.default_rng(0).uniform(1e-4, 1, size=(3, 5000)).astype(np.float32)
    logs = -np.log10(q.astype(np.float64))
    scores = score(q, ["A", "B", "C"])
    assert np.array_equal(scores, logs.mean(0).astype(np.float32))
    for order in ([1, 2, 0], [2, 1, 0]):  # sums in another order
        assert np.array_equal(score(q[order], ["A", "B", "C"]), scores)
    contrast, _ = specificity(q[:2])
    assert np.array_equal(contrast[0], np.float32(np.log10(q[1].astype(np.float64) / q[0])))
    assert np.array_equal(contrast[0], -contrast[1])


def test_support_counts_models_and_groups() -> None:
    members = np.array([[1, 1, 0], [1, 0, 0], [0, 1, 0]], bool)
    models, groups = support(members, GROUPS)
    assert models.tolist() == [2, 2, 0]
    assert groups.tolist() == [1, 2, 0]


def lists(seed: int, planted: int, n: int = 50, k: int = 120) -> tuple[np.ndarray, ...]:
    """Three models' lists of k pairs among hubs of their own, the first ``planted`` shared."""
    rng = np.random.default_rng(seed)
    shared = rng.choice(n * n, planted, replace=False)
    codes = []
    for _ in range(3):
        heavy = rng.lognormal(sigma=2, size=n)[:, None] * rng.lognormal(sigma=2, size=n)
        rest = np.argsort(-(heavy * rng.lognormal(size=(n, n))).ravel())[: k - planted]
        codes.append(np.concatenate([shared, rest]))
    every = np.unique(np.concatenate(codes))
    return every // n, every % n, np.stack([np.isin(every, c) for c in codes])


def test_lists_that_share_nothing_look_like_the_null() -> None:
    p = []
    for seed in range(60):
        query, key, members = lists(seed, 0)
        support = support_test(query, key, members, ["A", "B", "C"], 50, permutations=60, seed=seed)
        assert support["n_groups"].tolist() == [2, 3]
        p.append(support["p"].iloc[0])
    assert np.mean(np.array(p) < 0.1) < 0.22
    assert 0.35 < np.mean(p) < 0.65


def test_shared_pairs_are_found_and_a_model_group_counts_once() -> None:
    query, key, members = lists(0, 30)
    support = support_test(query, key, members, ["A", "B", "C"], 50, permutations=99, seed=0)
    assert support["n_pairs"].iloc[1] >= 30
    assert support["p"].tolist() == [0.01, 0.01]
    assert (support["n_pairs"] > support["null_high"]).all()
    model_groups = support_test(query, key, members, ["A", "A", "C"], 50, permutations=99, seed=0)
    assert model_groups["n_groups"].tolist() == [2]
    together = (members[0] | members[1]) & members[2]
    assert model_groups["n_pairs"].tolist() == [together.sum()]


def test_specificity_is_against_the_best_other_category() -> None:
    q = np.array([[0.01, 0.1, 0.2, np.nan], [0.1, 0.01, np.nan, 0.1], [0.2, 0.5, np.nan, 0.2]])
    contrast, closest_category = specificity(q)
    assert contrast[0, :2] == pytest.approx([1, -1])
    assert contrast[1, :2] == pytest.approx([-1, 1])
    assert closest_category[:, 0].tolist() == [1, 0, 0]
    assert np.isnan(contrast[0, 2])  # eligible nowhere else
    assert np.isnan(contrast[0, 3])  # not eligible here
    assert (closest_category[0, 2], closest_category[0, 3], closest_category[1, 3]) == (-1, -1, 2)
    assert contrast[1, 3] == pytest.approx(np.log10(2))


def categories(
    seed: int, planted: float, noises: tuple[float, float] = (0.4, 0.4)
) -> dict[str, float | int]:
    """Two categories of 40 genes with the same pairs, some stronger in the first by ``planted``."""
    rng = np.random.default_rng(seed)
    n = 40
    shared = rng.normal(size=(n, n))
    special = (rng.random((n, n)) < 0.1) * planted
    # [category, half]
    values = [
        [shared + e + noise * rng.normal(size=(n, n)) for _ in range(2)]
        for e, noise in zip((special, 0), noises, strict=True)
    ]
    total = np.array([np.mean(v, axis=0) for v in values])
    parts = [total, np.array([v[0] for v in values]), np.array([v[1] for v in values])]
    query, key = np.nonzero(~np.eye(n, dtype=bool))
    quantiles = []
    for part in parts:
        flat = part[:, query, key]
        quantiles.append((np.argsort(np.argsort(-flat, axis=1), axis=1) + 1) / flat.shape[1])
    top = quantiles[0][0] < 0.15
    of = [specificity(q)[0][0, top] for q in quantiles]
    return contrast_test(of[0], np.stack(of[1:]), query[top], key[top], n)


def test_pairs_beyond_the_noise_in_both_halves_are_counted() -> None:
    rng, n = np.random.default_rng(0), 200
    halves = rng.normal(size=(2, n)) + np.where(np.arange(n) < 40, 4.0, 0.0)
    halves[0, :3], halves[1, 3:5] = np.nan, np.nan
    ends = rng.integers(0, 30, (2, n))
    contrast = contrast_test(halves.mean(0), halves, *ends, 30)
    noise = np.abs(halves[0] - halves[1])[5:] / np.sqrt(2)
    assert np.allclose(contrast_noise(halves)[5:], noise)
    limit = np.quantile(noise, 0.95)
    specific = (halves[:, 5:] > limit).all(0)
    assert (contrast["n_pairs"], contrast["noise_high"]) == (n - 5, pytest.approx(limit))
    assert contrast["n_specific"] == specific.sum() > 20
    assert contrast["specific_rate"] == pytest.approx(specific.mean())
    want = statistics.pair_rate_interval(*ends[:, 5:], specific.astype(float), 30)
    assert (contrast["specific_low"], contrast["specific_high"]) == pytest.approx(want)
    unknown = contrast_test(np.ones(4), np.full((2, 4), np.nan), *ends[:, :4], 30)
    assert (unknown["n_pairs"], unknown["n_specific"], unknown["n_by_chance"]) == (0, 0, 0)
    assert np.isnan([unknown[x] for x in ("specific_rate", "specific_low", "noise_high")]).all()


def test_halves_that_know_nothing_of_each_other_give_as_many_as_by_chance() -> None:
    rng, n = np.random.default_rng(0), 400_000
    halves, ends = rng.normal(size=(2, n)), rng.integers(0, 300, (2, n))
    contrast = contrast_test(halves.mean(0), halves, *ends, 300)
    assert contrast["n_specific"] == pytest.approx(n / 1600, rel=0.25)  # 250 expected
    assert contrast["n_by_chance"] == pytest.approx(contrast["n_specific"], rel=0.25)
    unequal = halves * rng.lognormal(sigma=0.7, size=n)  # some pairs are noisier
    contrast = contrast_test(unequal.mean(0), unequal, *ends, 300)
    assert contrast["n_specific"] > 2 * n / 1600
    assert contrast["n_by_chance"] == pytest.approx(contrast["n_specific"], rel=0.15)


def test_noise_between_categories_is_not_a_contrast() -> None:
    contrasts = [categories(s, 0.0) for s in range(20)]
    assert np.mean([f["n_specific"] / f["n_pairs"] for f in contrasts]) < 0.03
    assert abs(np.mean([f["half_correlation"] for f in contrasts])) < 0.1


def test_a_category_with_noisier_ranks_makes_nothing_special_to_the_other() -> None:
    contrasts = [categories(s, 0.0, (0.25, 1.5)) for s in range(20)]
    # the noise of this category alone as the limit: a third of the pairs
    assert np.mean([f["n_specific"] / f["n_pairs"] for f in contrasts]) < 0.06


def test_planted_contrasts_are_found_in_both_halves() -> None:
    contrast = categories(0, 3.0)
    assert contrast["n_specific"] > 0.2 * contrast["n_pairs"]
    assert contrast["half_correlation"] > 0.5
    assert contrast["low"] > 0.2
