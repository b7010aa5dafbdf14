"""Median scores of listed pairs: exact small cases, size and power of the permutation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from octoscope.analysis import median_tests
from octoscope.analysis.gnn_pairs import edges_against_others
from octoscope.analysis.median_tests import ALL, MedianTests
from octoscope.analysis.vertex_pairs import VertexPairs
from octoscope.octopus.pair_triangle import triangle


def random_pairs(rng: np.random.Generator, n: int = 60) -> VertexPairs:
    """A graph with hubs; half of the vertices have few eligible partners."""
    strength = rng.pareto(2.0, n) + 0.5
    joined = np.triu(rng.random((n, n)) < 0.04 * np.outer(strength, strength), 1)
    eligible = np.ones((n, n), bool)
    rare = np.arange(n) < n // 2
    eligible[np.ix_(rare, rare)] = rng.random((n // 2, n // 2)) < 0.4
    eligible = np.triu(eligible, 1)
    return VertexPairs(np.arange(n), eligible | eligible.T, joined | joined.T)


def scores_of(rng: np.random.Generator, pairs: VertexPairs) -> np.ndarray:
    """Scores that grow with the degrees of both ends, and noise."""
    degree = np.log1p(pairs.degree)
    noise = rng.standard_normal((len(pairs), len(pairs)))
    return (degree[:, None] + degree + noise + noise.T).astype(np.float32)


def listed(pairs: VertexPairs, by: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The 120 strongest eligible pairs of a matrix."""
    i, j = np.nonzero(np.triu(pairs.eligible, 1))
    top = np.argsort(-by[i, j])[:120]
    return i[top], j[top]


def p_of(seed: int, power: float) -> float:
    rng = np.random.default_rng(seed)
    pairs = random_pairs(rng)
    scores = scores_of(rng, pairs)
    degree = np.log1p(pairs.degree)
    noise = rng.standard_normal((len(pairs), len(pairs)))
    attention = noise + noise.T + degree[:, None] + degree + power * scores  # hubs attract both
    u, v = listed(pairs, attention)
    return float(row_of(pairs, scores, seed, u, v)["p"])


def row_of(
    pairs: VertexPairs, scores: np.ndarray, seed: int, u: np.ndarray, v: np.ndarray
) -> dict[str, Any]:
    values = triangle(scores)[:, None]
    every = np.ones(len(values), np.uint8)
    ((_, row),) = MedianTests(pairs, values, [ALL], every, 199, seed).of(u, v)
    return row


def test_size_where_hubs_drive_both() -> None:
    p = np.array([p_of(seed, 0.0) for seed in range(200)])
    assert (p <= 0.05).mean() <= 0.07


def test_power() -> None:
    assert np.mean([p_of(seed, 0.7) <= 0.05 for seed in range(40)]) >= 0.9


def test_without_strata_hubs_would_pass_for_signal() -> None:
    """The mistake that the strata prevent: all vertices change places with each other."""

    class Loose(VertexPairs):
        strata = property(lambda self: np.zeros(len(self.free), np.int64))  # type: ignore[assignment]

    rejected = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        random = random_pairs(rng)
        pairs = Loose(random.vertex_of, random.eligible, random.adjacency)
        scores, degree = scores_of(rng, pairs), np.log1p(pairs.degree)
        noise = rng.standard_normal((len(pairs), len(pairs)))
        u, v = listed(pairs, noise + noise.T + degree[:, None] + degree)
        rejected.append(row_of(pairs, scores, seed, u, v)["p"] <= 0.05)
    assert np.mean(rejected) > 0.5


def test_parts_unknown_scores_and_backgrounds() -> None:
    n = 6
    eligible = ~np.eye(n, dtype=bool)
    adjacency = np.zeros((n, n), bool)
    adjacency[0, 1] = adjacency[1, 0] = adjacency[2, 3] = adjacency[3, 2] = True
    pairs = VertexPairs(np.arange(n), eligible, adjacency)
    scores = np.add.outer(np.arange(n), np.arange(n)).astype(np.float32)
    scores[5] = scores[:, 5] = np.nan
    u, v = np.array([0, 2, 0, 4]), np.array([1, 3, 2, 5])
    members = 1 + 2 * triangle(adjacency).astype(np.uint8)
    parts = [ALL, "with an edge", "none"]
    tests = MedianTests(pairs, triangle(scores)[:, None], parts, members, 50, 0)
    rows = {row["part"]: row for _, row in tests.of(u, v)}
    assert (rows[ALL]["n_listed"], rows[ALL]["n_pairs"], rows[ALL]["median"]) == (4, 3, 2.0)
    assert (rows[ALL]["n_background"], rows[ALL]["background_median"]) == (10, 4.0)
    assert (rows["with an edge"]["n_listed"], rows["with an edge"]["median"]) == (2, 3.0)
    assert rows["none"]["n_pairs"] == rows["none"]["n_permutations"] == 0
    assert np.isnan([rows["none"]["median"], rows["none"]["p"], rows["none"]["low"]]).all()


def test_the_median_of_a_large_background_is_drawn_from_all_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Red: one block alone; blocks of different sizes alike. Scores grow from block to block."""
    monkeypatch.setattr(median_tests, "DRAWN", 4000)
    monkeypatch.setattr(median_tests, "_AT_ONCE", 9000)
    n = 300
    pairs = VertexPairs(np.arange(n), ~np.eye(n, dtype=bool), np.zeros((n, n), bool))
    scores = np.arange(n * (n - 1) // 2, dtype=np.float32)[:, None]
    members = 1 + 2 * (scores[:, 0] % 7 < scores[:, 0] / len(scores) * 7).astype(np.uint8)
    tests = MedianTests(pairs, scores, [ALL, "few at first"], members, 3, 0)
    rows = [row for _, row in tests.of(np.array([0]), np.array([1]))]
    for i, row in enumerate(rows):
        whole = scores[members >> i & 1 == 1]
        assert row["n_background"] == len(whole)
        assert row["background_median"] != np.median(whole)
        rank = (whole < row["background_median"]).mean()
        assert abs(rank - 0.5) < 3 * 0.5 / 4000**0.5


def test_edges_against_others() -> None:
    n = 4
    adjacency = np.zeros((n, n), bool)
    adjacency[0, 1] = adjacency[1, 0] = adjacency[2, 3] = adjacency[3, 2] = True
    scores = np.zeros((n, n), np.float32)
    scores[0, 1] = scores[1, 0] = 3
    scores[0, 2] = scores[2, 0] = 1
    of_pairs, joined = triangle(scores), triangle(adjacency)
    every = np.ones_like(joined)
    rates = edges_against_others(of_pairs, joined, every)
    # 3 beats four others; 0 ties three and loses to one
    assert rates["auc"] == pytest.approx((4 + 1.5) / 8)
    assert (rates["n_edges"], rates["n_others"]) == (2, 4)
    empty = edges_against_others(of_pairs, ~every, every)
    assert np.isnan(empty["auc"])
