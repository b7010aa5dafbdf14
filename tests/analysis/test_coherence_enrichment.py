"""Coherence against enrichment: brute force, size where others know the network, power."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
from octoscope.analysis.agreement import agreement, rank_pairs, strongest_of, union
from octoscope.analysis.binned_quantiles import BinnedQuantiles
from octoscope.analysis.coherence_enrichment import (
    JointPermutations,
    Measured,
    edge_rates,
    gene_groups,
    layers_test,
    medians_in,
    rank_correlations,
    vertex_strata,
)
from octoscope.analysis.partner_strata import partner_bins
from octoscope.analysis.vertex_pairs import VertexPairs

from tests.analysis.matrices import reader

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from coherence_enrichment import p_values

N = 30


def universe(rng: np.random.Generator) -> tuple[list[VertexPairs], list[np.ndarray], np.ndarray]:
    """Two models of a group with eligible pairs of their own, over families and absent genes."""
    vertices = rng.integers(0, 22, N)
    vertices[:4] = -1
    edge = rng.random((22, 22)) < 0.3
    edge = np.triu(edge, 1) | np.triu(edge, 1).T
    adjacency = edge[np.ix_(vertices, vertices)] & (vertices >= 0) & (vertices >= 0)[:, None]
    eligible = []
    for _ in range(2):
        expressed = rng.random(N) < 0.7
        eligible.append(expressed[:, None] & expressed)
    pairs = [VertexPairs.of_genes(vertices, adjacency, e) for e in eligible]
    return pairs, eligible, adjacency


def test_all_models_of_a_group_move_together_within_strata_of_each() -> None:
    """Red: strata of one model alone; genes of a family on their own."""
    pairs, eligible, _ = universe(np.random.default_rng(1))
    partners = [e.sum(1) - np.diag(e) for e in eligible]
    joint = JointPermutations.of(pairs[0], [vertex_strata(p) for p in pairs], partners, 30, 3)
    vertex_of = pairs[0].vertex_of
    inside = vertex_of >= 0
    assert (joint.genes[0] == np.arange(N)).all()
    assert (joint.vertices[0] == np.arange(len(pairs[0]))).all()
    assert len({tuple(d) for d in joint.genes}) > 10
    for of_genes, of_vertices in zip(joint.genes, joint.vertices, strict=True):
        assert (np.sort(of_genes) == np.arange(N)).all()
        assert (vertex_of[of_genes[inside]] == of_vertices[vertex_of[inside]]).all()
        assert (vertex_of[of_genes[~inside]] == -1).all()
        for p, partner in zip(pairs, partners, strict=True):
            assert (vertex_strata(p)[of_vertices] == vertex_strata(p)).all()
            bins = partner_bins(partner[~inside])
            assert (partner_bins(partner[~inside])[np.searchsorted(
                np.flatnonzero(~inside), of_genes[~inside])] == bins).all()  # fmt: skip


def test_a_network_without_genes_of_the_set_has_no_vertices() -> None:
    every = np.ones((5, 5), bool)
    pairs = VertexPairs.of_genes(np.full(5, -1), np.zeros((5, 5), bool), every)
    joint = JointPermutations.of(pairs, [vertex_strata(pairs)], [np.full(5, 4)], 3, 0)
    rates = edge_rates([(np.array([0]), np.array([1]))], pairs, joint, np.zeros(0), 1)
    assert rates.n_pairs[0] == 0
    assert np.isnan(rates.fold.drawn).all()


def test_edge_rates_are_those_of_relabelled_lists() -> None:
    """Red: a permuted list's rate over all of its pairs instead of over eligible ones."""
    rng = np.random.default_rng(2)
    (pairs, _), (eligible, _), _ = universe(rng)
    at = np.argwhere(eligible & ~np.eye(N, dtype=bool))
    query, key = rng.permutation(at)[:60].T
    # only families stay among their like, so that pairs go where none is eligible
    joint = JointPermutations.of(pairs, [pairs.n_genes], [eligible.sum(1)], 25, 0)
    group = gene_groups(pairs.vertex_of, len(pairs), 0)[1]
    measured = edge_rates([(query, key)], pairs, joint, group, 50)
    u, v = pairs.listed(query[:50], key[:50])
    rates = []
    for relabel in joint.vertices:
        moved = [(relabel[a], relabel[b]) for a, b in zip(u, v, strict=True)]
        known = [(a, b) for a, b in moved if pairs.eligible[a, b]]
        rates.append(np.mean([pairs.adjacency[a, b] for a, b in known]))
    assert measured.n_pairs[0] == len(u)
    assert measured.n_edges[0] == pairs.adjacency[u, v].sum()
    assert measured.null_mean[0] == pytest.approx(np.mean(rates[1:]))
    assert measured.fold.drawn[:, 0] == pytest.approx(np.array(rates) / np.mean(rates))
    ranks = [
        scipy.stats.rankdata(np.array(rates) / x) for x in (np.mean(rates), np.mean(rates[1:]))
    ]
    assert (ranks[0] == ranks[1]).all()


def test_medians_are_those_of_agreement() -> None:
    """Red: the K strongest pairs in the order of their codes; deleted genes' pairs kept."""
    rng = np.random.default_rng(3)
    values = rng.normal(size=(3, N, N)).astype(np.float32)
    readers = [reader(v) for v in values]
    ks = [20, 60]
    lists = [strongest_of(r, ks[-1]) for r in readers]
    ranked = rank_pairs(readers, *union(lists, N), n_genes=N)
    exact = agreement(ranked, {2: readers[2]}, ks, permutations=2, seed=7)
    pairs = VertexPairs.of_genes(np.arange(N), np.eye(N, dtype=bool), np.ones((N, N), bool))
    joint = JointPermutations.of(pairs, [np.zeros(N, int)], [np.full(N, N - 1)], 9, 7)
    group = np.random.default_rng(8).integers(0, 20, N)  # as agreement draws them
    measured = medians_in(BinnedQuantiles(readers[2], N), lists[:2], joint, group, ks)
    half_a_bin = 2 / (N * N)
    for j in range(len(ks)):
        assert measured.drawn[0, j] == pytest.approx(exact.medians[:2, 2, j], abs=half_a_bin)
        assert measured.deleted[:, j] == pytest.approx(exact.deleted[:, :2, 0, j], abs=half_a_bin)
    quantiles = np.empty((N, N))
    off = ~np.eye(N, dtype=bool)
    quantiles[off] = scipy.stats.rankdata(-values[2][off]) / off.sum()
    for d, relabel in enumerate(joint.genes):
        q, k = lists[0]
        moved = quantiles[relabel[q[:20]], relabel[k[:20]]]
        assert measured.drawn[d, 0, 0] == pytest.approx(np.median(moved), abs=half_a_bin)


def test_a_correlation_needs_three_layers_that_differ() -> None:
    x = np.array([[1.0, 2, 3, np.nan], [1, 2, np.nan, np.nan], [1, 1, 1, 5]])
    y = np.array([[2.0, 4, 3, 1], [1, 2, 3, 4], [1, 2, 3, np.nan]])
    assert rank_correlations(x, y) == pytest.approx([0.5, np.nan, np.nan], nan_ok=True)
    row = layers_test(Measured(x[:1, :2], x[:1, :2]), Measured(y[:1, :2], y[:1, :2]))
    assert row["n_layers"] == 2
    assert row["n_permutations"] == 0
    assert all(np.isnan(row[c]) for c in ("spearman", "low", "high", "null_mean", "p"))


# Six of 30 runs of a test that keeps its 5 % have a probability of 0.3 %.
size_and_power = pytest.mark.parametrize(
    ("structure", "fewest", "most"),
    [
        pytest.param("others know the network", 0, 5, id="size: others know the network"),
        pytest.param("planted", 28, 30, id="power: planted"),
    ],
)


@size_and_power
def test_size_and_power_of_thirty_runs(structure: str, fewest: int, most: int) -> None:
    """Red: the network permuted alone."""
    p_of_runs = [p_values(structure, 80, 6, 160, 39, seed)[0] for seed in range(30)]
    hits = {null: sum(p[null] <= 0.05 for p in p_of_runs) for null in ("joint", "network")}
    assert fewest <= hits["joint"] <= most
    if not fewest:  # the null that the analysis does not use fails here
        assert hits["network"] > most
