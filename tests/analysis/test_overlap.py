"""Top pairs against a network: brute force, planted edges, hubs that know nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from octoscope.analysis.overlap import overlap_test
from octoscope.octopus.nulls import degree_strata, permute_within


def hub_network(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A network whose edges follow gene propensities (hubs), and the propensities."""
    propensity = rng.lognormal(0, 1.2, n)
    p = np.minimum(1, 0.02 * np.outer(propensity, propensity))
    adjacency = np.triu(rng.random((n, n)) < p, 1)
    return adjacency | adjacency.T, propensity


def hub_top(
    n: int, weight: np.ndarray, k: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Top pairs that prefer hubs and know nothing else."""
    score = np.log(np.outer(weight, weight)) + rng.gumbel(size=(n, n))
    np.fill_diagonal(score, -np.inf)
    best = np.argsort(-score.ravel())[:k]
    return best // n, best % n


def p_values(stratified: bool, monkeypatch: pytest.MonkeyPatch, runs: int = 60) -> np.ndarray:
    if not stratified:
        monkeypatch.setattr(
            "octoscope.analysis.overlap.degree_strata", lambda degree: np.zeros(len(degree), int)
        )
    out = []
    for seed in range(runs):
        rng = np.random.default_rng(seed)
        adjacency, propensity = hub_network(150, rng)
        query, key = hub_top(150, propensity, 150, rng)
        eligible = ~np.eye(150, dtype=bool)
        tested = overlap_test(
            query, key, np.arange(150), adjacency, eligible, permutations=100, seed=seed
        )
        out.append(tested["p"])
    return np.array(out)


def test_hubs_alone_give_no_small_p_and_without_strata_they_would(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # 60 runs: at a true 5 % level P(more than 9 below 0.05) is 2e-3
    assert (p_values(True, monkeypatch) < 0.05).sum() <= 9
    assert (p_values(False, monkeypatch) < 0.05).sum() > 30  # the mistake, shown once


def test_planted_wiring_is_found() -> None:
    rng = np.random.default_rng(0)
    adjacency, propensity = hub_network(150, rng)
    query, key = hub_top(150, propensity, 150, rng)
    edges = np.argwhere(np.triu(adjacency))
    chosen = edges[rng.choice(len(edges), 60, replace=False)]
    query[:60], key[:60] = chosen[:, 0], chosen[:, 1]
    tested = overlap_test(
        query, key, np.arange(150), adjacency, ~np.eye(150, dtype=bool), permutations=200, seed=0
    )
    assert tested["p"] < 0.01
    assert tested["n_permutations"] == 2000  # more draws where p is at its floor
    assert tested["fold_over_null"] > 1.2


def test_the_unit_is_the_unordered_pair_of_mapped_genes() -> None:
    adjacency = np.zeros((5, 5), bool)
    adjacency[0, 1] = adjacency[1, 0] = True
    vertices = np.array([0, 1, 2, -1, 2])  # gene 3 unmapped, genes 2 and 4 share a vertex
    query, key = np.array([0, 1, 2, 3, 2]), np.array([1, 0, 4, 0, 0])
    tested = overlap_test(
        query, key, vertices, adjacency, ~np.eye(5, dtype=bool), permutations=100, seed=0
    )
    assert (tested["n_top_ordered"], tested["n_unordered"], tested["n_pairs"]) == (5, 4, 2)
    assert tested["edge_rate"] == 0.5
    assert tested["n_background"] == 5  # pairs of genes 0, 1, 2, 4 but not (2, 4)
    assert tested["background_rate"] == pytest.approx(0.2)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_counts_equal_a_loop_over_pairs(seed: int) -> None:
    """Red: ordered pairs counted, a shared vertex counted, eligibility read in one direction."""
    rng = np.random.default_rng(seed)
    n = 14
    vertices = rng.integers(-1, 11, n)
    adjacency = np.triu(rng.random((n, n)) < 0.4, 1)
    adjacency |= adjacency.T
    same = vertices[:, None] == vertices
    adjacency &= ~same & (vertices >= 0)[:, None] & (vertices >= 0)
    eligible = rng.random((n, n)) < 0.7
    query, key = np.nonzero(rng.random((n, n)) < 0.2)
    tested = overlap_test(query, key, vertices, adjacency, eligible, permutations=50, seed=0)
    listed, universe = set(), set()
    for a in range(n):
        for b in range(a + 1, n):
            if min(vertices[a], vertices[b]) < 0 or vertices[a] == vertices[b]:
                continue
            if eligible[a, b] or eligible[b, a]:
                universe.add((a, b))
            if any((q, k) in ((a, b), (b, a)) for q, k in zip(query, key, strict=True)):
                listed.add((a, b))
    assert tested["n_pairs"] == len(listed)
    assert tested["n_edges"] == sum(adjacency[pair] for pair in listed)
    assert tested["n_background"] == len(universe)
    if universe:
        rate = np.mean([adjacency[pair] for pair in universe])
        assert tested["background_rate"] == pytest.approx(rate)


def test_a_permutation_keeps_every_gene_in_its_stratum() -> None:
    """Red: labels permuted over all genes."""
    degree = np.array([0, 0, 1, 1, 1, 2, 5, 5, 6, 40, 41, 100])
    strata = degree_strata(degree)
    assert len(np.unique(strata)) > 3
    seen = set()
    for seed in range(40):
        permuted = permute_within(strata, np.random.default_rng(seed))
        assert sorted(permuted) == list(range(len(degree)))
        assert np.array_equal(strata[permuted], strata)
        seen.add(tuple(permuted))
    assert len(seen) > 20


def test_a_list_without_pairs_in_the_network_is_undefined_not_zero() -> None:
    vertices = np.array([-1, -1, 0, 1])
    adjacency = np.zeros((4, 4), bool)
    adjacency[2, 3] = adjacency[3, 2] = True
    tested = overlap_test(
        np.array([0]), np.array([1]), vertices, adjacency, np.ones((4, 4), bool),
        permutations=50, seed=0,
    )  # fmt: skip
    assert tested["n_pairs"] == 0
    assert all(np.isnan(tested[x]) for x in ("edge_rate", "p", "fold_over_null", "low", "high"))
