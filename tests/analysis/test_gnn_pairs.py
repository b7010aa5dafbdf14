"""Median scores of listed pairs: exact small cases, size and power of the permutation."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from octoscope.analysis import median_tests
from octoscope.analysis.gnn_pairs import edges_against_others
from octoscope.analysis.median_tests import MedianTests
from octoscope.analysis.pair_parts import (
    ALL,
    WITH,
    WITHOUT,
    PairParts,
    _classes,
    network_pairs,
)
from octoscope.analysis.vertex_pairs import VertexPairs
from octoscope.gnn.graph import no_edges
from octoscope.octopus.network import Network
from octoscope.octopus.network_schema import ROLES
from octoscope.octopus.pair_triangle import triangle


def parts_of(masks: dict[tuple[str, str], np.ndarray]) -> PairParts:
    """Make parts of [triangle] bool masks by kind and name."""
    code, starts, indices = _classes(np.stack(list(masks.values()), 1))
    return PairParts(tuple(masks), code.astype(np.min_scalar_type(len(starts))), starts, indices)


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
    every = parts_of({ALL: np.ones(len(values), bool)})
    ((_, row),) = MedianTests(pairs, values, every, 199, seed).of(u, v)
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
    joined = triangle(adjacency)
    parts = parts_of(
        {ALL: np.ones(len(joined), bool), WITH: joined, ("edge", "none"): joined & ~joined}
    )
    tests = MedianTests(pairs, triangle(scores)[:, None], parts, 50, 0)
    rows = {row["part"]: row for _, row in tests.of(u, v)}
    every = rows["all pairs"]
    assert (every["n_listed"], every["n_pairs"], every["median"]) == (4, 3, 2.0)
    assert (every["n_background"], every["background_median"]) == (10, 4.0)
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
    few = scores[:, 0] % 7 < scores[:, 0] / len(scores) * 7
    masks = {ALL: np.ones(len(few), bool), ("edge", "few at first"): few}
    tests = MedianTests(pairs, scores, parts_of(masks), 3, 0)
    rows = [row for _, row in tests.of(np.array([0]), np.array([1]))]
    for inside, row in zip(masks.values(), rows, strict=True):
        whole = scores[inside]
        assert row["n_background"] == len(whole)
        assert row["background_median"] != np.median(whole)
        rank = (whole < row["background_median"]).mean()
        assert abs(rank - 0.5) < 3 * 0.5 / 4000**0.5


@pytest.mark.parametrize("n_parts", [1, 5, 9, 70])
def test_medians_of_parts_are_those_of_their_masks(n_parts: int) -> None:
    """Parts of a few pairs, of many and of none, against NumPy over masks.

    Red: a pair counted in one of its parts alone; the last pair of a part lost; parts beyond 8.
    """
    rng = np.random.default_rng(n_parts)
    n = 60
    eligible = rng.random((n, n)) < 0.7
    eligible &= eligible.T & ~np.eye(n, dtype=bool)
    pairs = VertexPairs(np.arange(n), eligible, np.zeros((n, n), bool))
    values = rng.standard_normal((n * (n - 1) // 2, 3)).astype(np.float32)
    values[rng.random(len(values)) < 0.1] = np.nan
    shares = rng.random(n_parts) ** 4
    shares[-1] = 1
    masks = {("part", str(i)): rng.random(len(values)) < share for i, share in enumerate(shares)}
    tests = MedianTests(pairs, values, parts_of(masks), 30, 0)
    u, v = np.nonzero(np.triu(eligible, 1))
    keep = rng.random(len(u)) < 0.6
    u, v = u[keep], v[keep]
    rows = {(s, row["part"]): row for s, row in tests.of(u, v)}
    assert len(rows) == 3 * n_parts
    known = triangle(eligible) & ~np.isnan(values[:, 0])
    square = np.zeros((n, n), int)
    square[np.triu_indices(n, 1)] = np.arange(len(values))
    square += square.T
    at = square[u, v]
    drawn = [square[relabel[u], relabel[v]] for relabel in tests._relabels]
    for (s, name), row in rows.items():
        inside = masks["part", name]
        mine = values[at[inside[at] & known[at]], s]
        assert row["n_listed"] == inside[at].sum()
        assert row["n_background"] == (inside & known).sum()
        if len(mine):
            assert row["median"] == np.median(mine.astype(float))
        null = [values[where[inside[where] & known[where]], s].astype(float) for where in drawn]
        null = [np.median(part) for part in null if len(part)]
        assert row["n_permutations"] == len(null)
        if null:
            assert row["null_mean"] == pytest.approx(np.mean(null), abs=1e-12)


def test_parts_of_a_network() -> None:
    """Signs that contradict each other, several relations of a pair, loops, vertices outside.

    Red: a sign of one direction alone; a pair of both signs as activation; a relation left out.
    """
    rows = [  # from, to, role of each end, sign
        (1, 3, "stimulator", "modified", 1), (3, 1, "interactor", "interactor", 0),
        (5, 3, "inhibitor", "modified", -1), (3, 5, "stimulator", "modified", 1),
        (5, 1, "inhibitor", "modified", -1), (7, 5, "interactor", "interactor", 0),
        (3, 3, "interactor", "interactor", 1), (2, 3, "catalyst", "product", 1),
    ]  # fmt: skip
    src, dst, up, down, sign = zip(*rows, strict=True)
    edges = replace(
        no_edges(), src=np.array(src), dst=np.array(dst), sign=np.array(sign, np.int8),
        role_src=np.array([ROLES.index(r) for r in up], np.uint8),
        role_dst=np.array([ROLES.index(r) for r in down], np.uint8),
    )  # fmt: skip
    vertices = pd.DataFrame({"vertex": np.arange(8), "name": list("abcdefgh")})
    genes = pd.DataFrame({"gene": [], "vertex": [], "how": []})
    network = Network(vertices, genes, edges, [])
    parts = network_pairs(network, np.array([7, 5, 3, 1]))  # in another order than the vertices
    names = {frozenset(pair): at for at, pair in enumerate(
        [(7, 5), (7, 3), (7, 1), (5, 3), (5, 1), (3, 1)])}  # fmt: skip
    pairs_of = {name: {k for k, at in names.items() if at in part} for name, part in parts.items()}
    of = {key: {frozenset(p) for p in pairs} for key, pairs in {
        ("sign", "activation"): [(1, 3)], ("sign", "inhibition"): [(5, 1)],
        ("sign", "both signs"): [(5, 3)], ("sign", "no sign"): [(7, 5)],
        ("relation", "stimulator -> modified"): [(1, 3), (3, 5)],
        ("relation", "inhibitor -> modified"): [(5, 3), (5, 1)],
        ("relation", "interactor -> interactor"): [(1, 3), (7, 5)],
    }.items()}  # fmt: skip
    assert pairs_of == of
    joined = np.array([names[frozenset(p)] for p in ((7, 3), (3, 1))])  # of the GNN's own graph
    whole = PairParts.of_pairs(6, joined, parts)
    inside = {name: set(np.flatnonzero(whole.members(i, whole.code)))
              for i, name in enumerate(whole.names)}  # fmt: skip
    assert inside[ALL] == set(range(6))
    assert inside[WITH] == set(joined.tolist())
    assert inside[WITHOUT] == set(range(6)) - set(joined.tolist())
    assert all(inside[name] == set(part.tolist()) for name, part in parts.items())
    assert whole.sizes(whole.code).tolist() == [len(inside[name]) for name in whole.names]


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
