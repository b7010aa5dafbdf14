"""Strata of a score beside co-expression: equal to plain counts, and what a planted truth gives."""

from __future__ import annotations

import numpy as np
import pytest
from octoscope.analysis.controlled.bins import USED
from octoscope.analysis.controlled.comparison import compare
from octoscope.analysis.controlled.lists import VertexList
from octoscope.analysis.controlled.score_strata import ScoredComparison, ScoreStrata
from octoscope.analysis.controlled.universe import Blocks, Universe, count_universe
from octoscope.analysis.vertex_pairs import VertexPairs
from octoscope.octopus.pairs import pair_codes

from tests.analysis import plain_mantel_haenszel as plain

N = 70


def symmetric(rng: np.random.Generator) -> np.ndarray:
    drawn = rng.standard_normal((N, N)).astype(np.float32)
    return np.triu(drawn, 1) + np.triu(drawn, 1).T


def planted(
    seed: int, of_edge: float, of_list: float
) -> tuple[Universe, Blocks, np.ndarray, VertexList]:
    """Scores that drive edges and a list, which is the strongest tenth of the pairs."""
    rng = np.random.default_rng(seed)
    score = symmetric(rng)
    chance = 1 / (1 + np.exp(1.5 - of_edge * score))
    edges = np.triu(rng.random((N, N)) < chance, 1)
    edges = edges | edges.T
    eligible = np.triu(rng.random((N, N)) < 0.9, 1)
    pairs = VertexPairs(np.arange(N), eligible | eligible.T, edges)
    strength = np.where(np.triu(eligible, 1), of_list * score + symmetric(rng), -np.inf)
    u, v = np.unravel_index(np.argsort(-strength, axis=None)[: pairs.n_pairs // 10], (N, N))
    control = np.tanh(symmetric(rng) / 3)[None].repeat(3, 0)

    def blocks() -> list[tuple[np.ndarray, np.ndarray]]:
        order = np.arange(N)[::-1]  # rows come in any order
        return [(rows, control[:, rows]) for rows in (order[:20], order[20:])]

    universe = count_universe(
        pairs, blocks, rng.random(N), np.sort(pair_codes(u, v, N)), rarer=False
    )
    return universe, blocks, score, (u, v)


def strata_of(seed: int, of_edge: float, of_list: float) -> tuple[ScoreStrata, VertexList, Blocks]:
    universe, blocks, scores, listed = planted(seed, of_edge, of_list)
    return ScoreStrata.of(universe, blocks, scores, [listed]), listed, blocks


def compared(strata: ScoreStrata, listed: VertexList) -> ScoredComparison:
    return strata.compare(*listed, compare(strata.universe, *listed))


def test_equal_to_plain_counts_over_all_pairs() -> None:
    """Red: a pair counted in one direction of its groups alone, or a stratum without the score."""
    strata, (u, v), blocks = strata_of(0, 1.0, 1.0)
    pairs = strata.universe.pairs
    score = compared(strata, (u, v))
    i, j = np.nonzero(np.triu(pairs.eligible, 1))
    values = np.zeros((3, N, N), np.float32)
    for rows, block in blocks():
        values[:, rows] = block
    base = strata.universe.strata.base(i, j)
    used = strata.universe.strata.of(USED, values[:, i, j], base)
    listed = np.isin(pair_codes(i, j, N), pair_codes(u, v, N))
    edge = pairs.adjacency[i, j]
    for ratio, of, table in ((score.or0, base, "base"), (score.or1, used, "used")):
        stratum = of * 1000 + strata.bins[i, j]
        assert ratio.value == pytest.approx(plain.odds_ratio(listed, edge, stratum))
        counts, codes = strata.counts[table], strata.codes[table]
        mine = of * 256 + strata.bins[i, j]
        for vertex in (0, N // 2, N - 1):
            of_vertex = mine[(i == vertex) | (j == vertex)]
            expected = [(of_vertex == code).sum() for code in codes]
            np.testing.assert_array_equal(counts.pairs_of[:, vertex], expected)
    low, high = score.or1.interval(30)
    assert low < score.or1.value < high


def test_a_list_of_what_the_score_says_has_nothing_beyond_it() -> None:
    """Edges and list follow the score and nothing else."""
    compared_lists = [
        compared(s, pairs) for s, pairs, _ in (strata_of(i, 1.5, 3.0) for i in range(8))
    ]
    without = np.mean([c.plain.or1.log for c in compared_lists])
    within = np.mean([c.or0.log for c in compared_lists])
    assert without > np.log(3)
    assert abs(within) < 0.35
    assert np.mean([abs(c.smd_score) for c in compared_lists]) < 0.2


def test_the_order_of_the_rows_changes_nothing() -> None:
    universe, blocks, scores, listed = planted(3, 1.0, 1.0)
    one = compared(ScoreStrata.of(universe, blocks, scores, [listed]), listed)
    other = ScoreStrata.of(universe, lambda: list(blocks())[::-1], scores, [listed])
    assert compared(other, listed).or1 == one.or1
