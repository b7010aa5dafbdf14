"""Top pairs against a network: brute force, planted edges, hubs that know nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from octoscope.analysis.overlap import overlap_test
from octoscope.analysis.vertex_pairs import VertexPairs
from octoscope.octopus.nulls import degree_strata, label_strata, permute_within


def run_test(
    query: np.ndarray,
    key: np.ndarray,
    vertices: np.ndarray,
    adjacency: np.ndarray,
    eligible: np.ndarray,
    permutations: int = 100,
    seed: int = 0,
    factor: int = 10,
) -> dict[str, float | int]:
    pairs = VertexPairs.of_genes(vertices, adjacency, eligible)
    return overlap_test(
        query, key, pairs, permutations=permutations, seed=seed, max_permutation_factor=factor
    )


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
            "octoscope.analysis.vertex_pairs.label_strata",
            lambda degree, *_: np.zeros(len(degree), int),
        )
    out = []
    for seed in range(runs):
        rng = np.random.default_rng(seed)
        adjacency, propensity = hub_network(150, rng)
        query, key = hub_top(150, propensity, 150, rng)
        eligible = ~np.eye(150, dtype=bool)
        tested = run_test(
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
    tested = run_test(
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
    tested = run_test(
        query, key, vertices, adjacency, ~np.eye(5, dtype=bool), permutations=100, seed=0
    )
    assert (tested["n_top_ordered"], tested["n_unordered"], tested["n_pairs"]) == (5, 4, 2)
    assert tested["edge_rate"] == 0.5
    assert tested["n_background"] == 3  # genes 2 and 4 are one vertex
    assert tested["background_rate"] == pytest.approx(1 / 3)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_counts_equal_a_loop_over_pairs(seed: int) -> None:
    """Red: ordered pairs counted, a shared vertex counted, eligibility read in one direction."""
    rng = np.random.default_rng(seed)
    n = 14
    vertices = rng.integers(-1, 11, n)
    of_vertices = np.triu(rng.random((12, 12)) < 0.4, 1)
    of_vertices |= of_vertices.T
    adjacency = of_vertices[np.ix_(vertices, vertices)]
    adjacency &= (vertices >= 0)[:, None] & (vertices >= 0)
    eligible = rng.random((n, n)) < 0.7
    query, key = np.nonzero(rng.random((n, n)) < 0.2)
    tested = run_test(query, key, vertices, adjacency, eligible, permutations=50, seed=0)
    listed, universe = set(), set()
    for a in range(n):
        for b in range(n):
            if a == b or min(vertices[a], vertices[b]) < 0 or vertices[a] == vertices[b]:
                continue
            pair = frozenset((vertices[a], vertices[b]))
            if eligible[a, b]:
                universe.add(pair)
            if any((q, k) == (a, b) for q, k in zip(query, key, strict=True)):
                listed.add(pair)
    first = {v: int(np.flatnonzero(vertices == v)[0]) for v in vertices}
    joined = {p: adjacency[first[min(p)], first[max(p)]] for p in listed | universe}
    assert tested["n_pairs"] == len(listed)
    assert tested["n_edges"] == sum(joined[p] for p in listed)
    assert tested["n_background"] == len(universe)
    if universe:
        assert tested["background_rate"] == pytest.approx(np.mean([joined[p] for p in universe]))


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
    tested = run_test(
        np.array([0]), np.array([1]), vertices, adjacency, np.ones((4, 4), bool),
        permutations=50, seed=0,
    )  # fmt: skip
    assert tested["n_pairs"] == 0
    assert all(np.isnan(tested[x]) for x in ("edge_rate", "p", "fold_over_null", "low", "high"))


def p_of_noise(seed: int, *, all_genes_permuted: bool) -> float:
    """p of random top pairs; half of the genes have no eligible pair, the others know each other.

    This is the structure in which labels that move to ineligible genes call noise wiring.
    """
    rng = np.random.default_rng(seed)
    n, half = 160, 80
    kind = np.array([[3.0, 0.3], [0.3, 3.0]]).repeat(half, 0).repeat(half, 1) * 0.04
    adjacency = np.triu(rng.random((n, n)) < kind, 1)
    adjacency |= adjacency.T
    eligible = np.zeros((n, n), bool)
    eligible[:half, :half] = ~np.eye(half, dtype=bool)
    i, j = np.triu_indices(half, 1)
    chosen = rng.choice(len(i), 300, replace=False)
    pairs = VertexPairs.of_genes(np.arange(n), adjacency, eligible)
    if all_genes_permuted:  # the mistake: the null's universe is not the list's
        pairs = VertexPairs(pairs.vertex_of, ~np.eye(n, dtype=bool), adjacency)
    tested = overlap_test(
        i[chosen], j[chosen], pairs, permutations=99, seed=seed, max_permutation_factor=1
    )
    return float(tested["p"])


def test_noise_is_not_wiring_where_half_of_the_genes_are_ineligible() -> None:
    p = np.array([p_of_noise(seed, all_genes_permuted=False) for seed in range(60)])
    assert (p <= 0.05).sum() <= 9  # 60 runs: at a true 5 % P(more than 9) is 2e-3
    p = np.array([p_of_noise(seed, all_genes_permuted=True) for seed in range(60)])
    assert (p <= 0.05).sum() > 20  # the mistake, shown once


def test_families_count_once_and_stay_together() -> None:
    """Red: genes counted as independent labels (size 22 % of runs).

    Four genes on each vertex attend alike, so one random vertex pair lists sixteen gene pairs.
    """
    small = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        v = 40
        of_vertices = np.triu(rng.random((v, v)) < 0.1, 1)
        of_vertices |= of_vertices.T
        vertices = np.repeat(np.arange(v), 4)
        adjacency = of_vertices[np.ix_(vertices, vertices)]
        score = np.triu(rng.random((v, v)), 1)[np.ix_(vertices, vertices)]
        best = np.argsort(-score.ravel(), kind="stable")[:480]  # thirty pairs of vertices
        query, key = np.divmod(best, len(vertices))
        eligible = vertices[:, None] != vertices
        tested = run_test(query, key, vertices, adjacency, eligible, 99, seed, 1)
        assert tested["n_pairs"] == 30
        small += tested["p"] <= 0.05
    assert small <= 9


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_labels_of_families_map_one_to_one_within_strata(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = 30
    vertices = rng.integers(-1, 18, n)
    eligible = rng.random((n, n)) < 0.5
    adjacency = np.zeros((n, n), bool)
    pairs = VertexPairs.of_genes(vertices, adjacency, eligible)
    (relabel,) = [r.copy() for r in pairs.permutations(1, seed)]
    genes = pairs.of_gene_labels(relabel)
    assert sorted(genes) == list(range(n))
    mapped = vertices >= 0
    assert np.array_equal(pairs.vertex_of[genes[mapped]], relabel[pairs.vertex_of[mapped]])
    assert np.array_equal(pairs.n_genes[relabel], pairs.n_genes)
    still = np.flatnonzero(pairs.partners == 0)
    assert np.array_equal(relabel[still], still)


def test_strata_hold_like_degree_like_partners_and_families_of_one_size() -> None:
    degree, partners, size = np.array([3, 3, 3, 9]), np.array([9, 90, 9, 9]), np.array([1, 1, 2, 1])
    assert len(set(label_strata(degree, partners, size))) == 4
    assert len(set(label_strata(degree[[0, 0]], partners[[0, 0]], size[[0, 0]]))) == 1
