"""Whole matrices against a network: brute force, planted structure, hubs that know nothing else."""

from __future__ import annotations

import numpy as np
from octoscope.analysis.auroc import auroc_test
from octoscope.attention.histograms import bins_of


def network(rng: np.random.Generator, n: int, sd: float = 0.8, mean: float = 6.0) -> np.ndarray:
    """Random symmetric adjacency whose degrees differ by lognormal propensities."""
    w = rng.lognormal(0, sd, n)
    chance = np.minimum(np.outer(w, w) * mean * n / w.sum() ** 2, 1)
    upper = np.triu(rng.random((n, n)) < chance, 1)
    return upper | upper.T


def test_equals_brute_force_over_usable_ordered_pairs() -> None:
    rng = np.random.default_rng(0)
    n = 30
    values = rng.integers(-3, 4, (n, n)).astype(np.float32)
    eligible = rng.random((n, n)) < 0.8
    vertices = np.r_[np.arange(26), 3, -1, -1, -1]  # two genes on one vertex, three on none
    adjacency = network(rng, n)
    done = auroc_test(bins_of(values), eligible, vertices, adjacency, permutations=20, seed=0)
    pos, neg = [], []
    for i in range(n):
        for j in range(n):
            if min(vertices[i], vertices[j]) >= 0 and vertices[i] != vertices[j] and eligible[i, j]:
                (pos if adjacency[i, j] else neg).append(values[i, j])
    wins = np.mean([(p > q) + (p == q) / 2 for p in pos for q in neg])
    assert abs(done["auroc"] - wins) < 1e-12
    assert done["n_edges"] == len(pos)
    assert done["n_pairs"] == len(pos) + len(neg)
    assert done["low"] < done["auroc"] < done["high"]


def test_planted_edges_are_found_and_hubs_alone_are_not() -> None:
    rng = np.random.default_rng(1)
    n, small, found, inside = 120, [], 0, []
    everything = np.ones((n, n), bool)
    for _ in range(30):
        adjacency = network(rng, n)
        hub = np.log1p(adjacency.sum(1)) * 1.0
        by_hubs = (hub[:, None] + hub + rng.normal(size=(n, n))).astype(np.float32)
        blind = auroc_test(
            bins_of(by_hubs), everything, np.arange(n), adjacency, permutations=50, seed=0
        )
        assert blind["auroc"] > 0.55  # the curve alone would call this wiring
        assert blind["precision_null_low"] > blind["edge_share"]  # hubs alone lift it as well
        inside.append(blind["precision_null_low"] <= blind["average_precision"]
                      <= blind["precision_null_high"])  # fmt: skip
        small.append(blind["p"] < 0.05)
        planted = by_hubs + np.float32(0.7) * adjacency
        found += (
            auroc_test(
                bins_of(planted), everything, np.arange(n), adjacency, permutations=50, seed=0
            )["p"]
            < 0.05
        )
    assert np.mean(inside) > 0.75  # 95 % and its sampling error
    assert np.mean(small) < 0.2  # 5 % and its sampling error over 30 runs
    assert found >= 28


def test_a_network_without_usable_edges_is_undefined() -> None:
    n = 10
    done = auroc_test(
        np.zeros((n, n), np.uint16), np.ones((n, n), bool), np.full(n, -1),
        np.zeros((n, n), bool), permutations=5, seed=0,
    )  # fmt: skip
    assert np.isnan(done["auroc"])
    assert np.isnan(done["p"])
