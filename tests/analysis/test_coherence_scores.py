"""Coherence against scores: brute force, size where the others know the scores, power."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from octoscope.analysis.coherence_enrichment import (
    GROUPS,
    JointPermutations,
    gene_groups,
    join_lists,
    layers_test,
    vertex_strata,
)
from octoscope.analysis.coherence_scores import list_scores
from octoscope.octopus.pair_triangle import triangle

from tests.analysis.test_coherence_enrichment import N, size_and_power, universe

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from coherence_enrichment import measured_scores


def test_medians_are_those_of_relabelled_lists() -> None:
    """Red: pairs of a permuted list that are not eligible or have no score; deleted genes kept."""
    rng = np.random.default_rng(2)
    (pairs, _), (eligible, _), _ = universe(rng)
    n = len(pairs)
    scores = rng.normal(size=(n, n)).astype(np.float32)
    scores += scores.T
    scores[3] = scores[:, 3] = np.nan
    values = np.stack([triangle(scores), -triangle(scores)], 1)
    at = np.argwhere(eligible & ~np.eye(N, dtype=bool))
    query, key = rng.permutation(at)[:60].T
    # only families stay among their like, so that pairs go where none is eligible
    joint = JointPermutations.of(pairs, [pairs.n_genes], [eligible.sum(1)], 25, 0)
    group = gene_groups(pairs.vertex_of, n, 0)[1]
    lists = [(query, key), (query[30:], key[30:])]
    by_score = list_scores(lists, pairs, values, joint, group, 50)
    for i, (q, k) in enumerate(lists):
        u, v = pairs.listed(q[:50], k[:50])
        for score, sign in zip(by_score, (1, -1), strict=True):
            medians = []
            for relabel in joint.vertices:
                moved = [(relabel[a], relabel[b]) for a, b in zip(u, v, strict=True)]
                known = [sign * scores[a, b] for a, b in moved if pairs.eligible[a, b]]
                medians.append(np.nanmedian(known))
            assert score.median.drawn[:, i] == pytest.approx(np.array(medians), rel=1e-6)
            assert score.null_mean[i] == pytest.approx(np.mean(medians[1:]))
            assert score.excess.drawn[0, i] == pytest.approx(medians[0] - np.mean(medians))
            for g in range(GROUPS):
                rest = (group[u] != g) & (group[v] != g) & ~np.isnan(scores[u, v])
                median = np.median(sign * scores[u, v][rest])
                assert score.median.deleted[g, i] == pytest.approx(median, rel=1e-6)
            row = score.row(i)
            assert row["n_pairs"] == (~np.isnan(scores[u, v])).sum() < len(u)
            assert row["median_low"] < row["median"] < row["median_high"]


def test_models_of_a_group_are_put_together_in_the_order_of_their_layers() -> None:
    rng = np.random.default_rng(4)
    (pairs, _), (eligible, _), _ = universe(rng)
    n = len(pairs)
    scores = rng.normal(size=(n, n)).astype(np.float32)
    values = triangle(scores + scores.T)[:, None]
    joint = JointPermutations.of(pairs, [vertex_strata(pairs)], [eligible.sum(1)], 5, 0)
    at = rng.permutation(np.argwhere(eligible & ~np.eye(N, dtype=bool)))
    lists = [tuple(at[i : i + 20].T) for i in range(3)]
    group = gene_groups(pairs.vertex_of, n, 0)[1]
    (whole,) = list_scores(lists, pairs, values, joint, group, 20)
    parts = []
    for index in ([2, 0], [1]):
        (one,) = list_scores([lists[i] for i in index], pairs, values, joint, group, 20)
        parts.append((index, one))
    joined = join_lists(parts)
    assert joined.n_pairs.tolist() == whole.n_pairs.tolist()
    assert np.array_equal(joined.median.drawn, whole.median.drawn)
    assert np.array_equal(joined.median.deleted, whole.median.deleted, equal_nan=True)


@size_and_power
def test_size_and_power_of_thirty_runs(structure: str, fewest: int, most: int) -> None:
    """Scores are the edges of the network and noise. Red: lists of the layers in another order."""
    runs = [measured_scores(structure, 80, 6, 160, 39, seed) for seed in range(30)]
    hits = sum(layers_test(*values)["p"] <= 0.05 for values in runs)
    assert fewest <= hits <= most
