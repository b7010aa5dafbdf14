"""Whole matrices against a network: brute force, planted structure, hubs that know nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from octoscope.analysis.auroc import auroc_test
from octoscope.analysis.kernels import _count_permuted
from octoscope.analysis.vertex_pairs import VertexPairs
from octoscope.attention.histograms import bins_of


def run_test(
    bins: np.ndarray,
    eligible: np.ndarray,
    vertices: np.ndarray,
    adjacency: np.ndarray,
    permutations: int,
    seed: int,
) -> dict[str, float | int]:
    pairs = VertexPairs.of_genes(vertices, adjacency, eligible)
    return auroc_test(bins, eligible, pairs, permutations=permutations, seed=seed)


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
    adjacency = network(rng, n)[np.ix_(vertices, vertices)]
    done = run_test(bins_of(values), eligible, vertices, adjacency, permutations=20, seed=0)
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


def test_each_permutation_equals_brute_force_with_and_without_the_compiled_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(3)
    n = 40
    values = rng.normal(size=(n, n)).astype(np.float32)
    eligible = rng.random((n, n)) < 0.7
    vertices = np.r_[np.arange(36), 3, 3, -1, -1]
    adjacency = network(rng, n)[np.ix_(vertices, vertices)]
    pairs = VertexPairs.of_genes(vertices, adjacency, eligible)
    bins = bins_of(values).astype(int)
    usable = eligible & (vertices >= 0)[:, None] & (vertices >= 0)
    usable &= vertices[:, None] != vertices
    areas = []
    for relabel in pairs.permutations(37, 5):  # more than are counted at once, not a multiple
        gene = pairs.of_gene_labels(relabel)
        edges = np.zeros((n, n), bool)
        edges[gene[:, None], gene] = adjacency  # the edge of i and j goes to where i and j go
        pos, neg = bins[usable & edges], bins[usable & ~edges]
        larger = (pos[:, None] > neg).mean() + (pos[:, None] == neg).mean() / 2
        areas.append(larger)
    expected = float(np.mean(areas))
    compiled = run_test(bins_of(values), eligible, vertices, adjacency, 37, 5)
    monkeypatch.setattr("octoscope.analysis.auroc.count_permuted", _count_permuted)
    plain = run_test(bins_of(values), eligible, vertices, adjacency, 37, 5)
    assert compiled["n_permutations"] == 37
    assert compiled["null_mean"] == pytest.approx(expected, abs=1e-12)
    assert compiled == plain


def test_planted_edges_are_found_and_hubs_alone_are_not() -> None:
    rng = np.random.default_rng(1)
    n, small, n_significant, inside, early = 120, [], 0, [], []
    everything = np.ones((n, n), bool)
    for _ in range(30):
        adjacency = network(rng, n)
        hub = np.log1p(adjacency.sum(1)) * 1.0
        by_hubs = (hub[:, None] + hub + rng.normal(size=(n, n))).astype(np.float32)
        blind = run_test(
            bins_of(by_hubs), everything, np.arange(n), adjacency, permutations=50, seed=0
        )
        assert blind["auroc"] > 0.55  # the curve alone would call this wiring
        assert blind["precision_null_low"] > blind["edge_share"]  # hubs alone lift it as well
        assert blind["early_null_low"] > blind["edge_share"]
        inside.append(blind["precision_null_low"] <= blind["average_precision"]
                      <= blind["precision_null_high"])  # fmt: skip
        early.append(blind["early_null_low"] <= blind["early_precision"]
                     <= blind["early_null_high"])  # fmt: skip
        small.append(blind["p"] < 0.05)
        planted = by_hubs + np.float32(0.7) * adjacency
        n_significant += (
            run_test(
                bins_of(planted), everything, np.arange(n), adjacency, permutations=50, seed=0
            )["p"]
            < 0.05
        )
    assert np.mean(inside) > 0.75  # 95 % and its sampling error
    assert np.mean(early) > 0.75
    assert np.mean(small) < 0.2  # 5 % and its sampling error over 30 runs
    assert n_significant >= 28


def test_a_network_without_usable_edges_is_undefined() -> None:
    n = 10
    done = run_test(        np.zeros((n, n), np.uint16), np.ones((n, n), bool), np.full(n, -1),
        np.zeros((n, n), bool), permutations=5, seed=0,
    )  # fmt: skip
    assert np.isnan(done["auroc"])
    assert np.isnan(done["p"])


def test_families_and_ineligible_genes_give_no_small_p() -> None:
    """Red: genes of one vertex permuted as independent labels, or genes without eligible pairs."""
    small, runs, n = 0, 60, 120
    for seed in range(runs):
        rng = np.random.default_rng(seed)
        vertices = np.repeat(np.arange(n // 3), 3)
        adjacency = network(rng, n // 3)[np.ix_(vertices, vertices)]
        alike = rng.normal(size=(n // 3, n // 3))[np.ix_(vertices, vertices)]
        values = (alike + 0.3 * rng.normal(size=(n, n))).astype(np.float32)
        expressed = np.repeat(rng.random(n // 3) < 0.6, 3)
        eligible = expressed[:, None] & expressed
        done = run_test(bins_of(values), eligible, vertices, adjacency, permutations=50, seed=seed)
        small += done["p"] <= 0.05
    assert small <= 9  # 60 runs: at a true 5 % P(more than 9) is 2e-3
