"""Lists of the strongest pairs of vertices, against sorting every pair."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from octoscope.analysis.controlled import lists
from octoscope.analysis.controlled.lists import strongest_pairs, strongest_scores
from octoscope.analysis.donor_jackknife import Block
from octoscope.analysis.vertex_pairs import VertexPairs

from tests.analysis.controlled.examples import vertex_pairs
from tests.analysis.matrices import reader

SEEDS = st.integers(0, 2**32 - 1)
Blocks = Callable[[], Iterable[tuple[np.ndarray, np.ndarray]]]


def all_pairs(n: int) -> VertexPairs:
    return VertexPairs.of_genes(np.arange(n), np.zeros((n, n), bool), np.ones((n, n), bool))


def joined(blocks: Blocks) -> np.ndarray:
    """Return scores as a matrix; rows come in any order."""
    rows, scores = zip(*blocks(), strict=True)
    return np.concatenate(scores)[np.argsort(np.concatenate(rows))]


def sorted_pairs(values: np.ndarray, allowed: np.ndarray, pairs: VertexPairs) -> list[tuple]:
    """Return pairs of vertices, by their largest value in either direction, over all genes."""
    best: dict[tuple[int, int], float] = {}
    for i, j in np.argwhere(allowed):
        a, b = sorted((int(pairs.vertex_of[i]), int(pairs.vertex_of[j])))
        if 0 <= a < b and pairs.eligible[a, b]:
            best[a, b] = max(best.get((a, b), -np.inf), values[i, j])
    return sorted(best, key=lambda pair: -best[pair])


@settings(deadline=None, max_examples=30)
@given(seed=SEEDS, per_vertex=st.sampled_from([1, 2, 5]), k=st.integers(1, 200))
def test_the_strongest_pairs_are_those_of_sorting_all(seed: int, per_vertex: int, k: int) -> None:
    """Red: query→key alone; no second look where a family fills the list; ineligible pairs."""
    rng = np.random.default_rng(seed)
    pairs = vertex_pairs(rng, 20, per_vertex)
    values = rng.permutation(400).reshape(20, 20)  # no ties
    allowed = rng.random((20, 20)) < 0.7
    u, v = strongest_pairs(reader(values, allowed), pairs, k)
    want = sorted_pairs(values, allowed, pairs)[:k]
    assert [tuple(sorted(pair)) for pair in zip(u.tolist(), v.tolist(), strict=True)] == want
    for a, b in zip(u, v, strict=True):  # the stronger direction comes first
        at = np.ix_(pairs.vertex_of == a, pairs.vertex_of == b)
        back = np.ix_(pairs.vertex_of == b, pairs.vertex_of == a)
        one, other = (np.where(allowed, values, -1)[x].max(initial=-1) for x in (at, back))
        assert one > other


@settings(deadline=None, max_examples=10)
@given(seed=SEEDS, per_vertex=st.sampled_from([1, 5]), k=st.integers(1, 60))
def test_lists_without_donors_are_those_of_each_matrix(seed: int, per_vertex: int, k: int) -> None:
    """Red: one group's pairs for all; pairs that no cell is left of; lists that end too early."""
    rng = np.random.default_rng(seed)
    pairs = vertex_pairs(rng, 20, per_vertex)
    values = np.stack([rng.permutation(400).reshape(20, 20) for _ in range(3)]).astype(np.float32)
    known, eligible = rng.random((3, 20, 20)) < 0.8, rng.random((20, 20)) < 0.8

    class Matrix:
        donors = (1, 2, 1)

        def blocks(self, genes: np.ndarray, view: str) -> Iterator[Block]:
            assert (list(genes), view) == (list(range(20)), "logit")
            for at in (slice(0, 7), slice(7, 20)):
                yield Block(at.start, values[:, at], known[:, at], known[:, at], eligible[at])

    of_groups = lists.strongest_without(Matrix(), np.arange(20), "logit", pairs, k)
    for g, of_group in enumerate(of_groups):
        want = strongest_pairs(reader(values[g], known[g] & eligible), pairs, k)
        np.testing.assert_array_equal(of_group, want)


def test_every_list_has_k_unordered_pairs() -> None:
    """A symmetric matrix lists each pair twice. Red: `ordered = k` without a second look."""
    rng = np.random.default_rng(0)
    one_way = rng.random((30, 30))
    for values in (one_way, one_way + one_way.T, np.ones((30, 30)), -np.ones((30, 30))):
        u, v = strongest_pairs(reader(values), all_pairs(30), 50)
        assert len({frozenset(p) for p in zip(u.tolist(), v.tolist(), strict=True)}) == len(u) == 50
        assert (u != v).all()


@pytest.mark.parametrize("known", [[], [3]])
def test_a_set_outside_the_network_has_an_empty_list(known: list[int]) -> None:
    """Red: the eligibility of no vertices looked up at -1."""
    vertices = np.full(6, -1)
    vertices[known] = 0
    pairs = VertexPairs.of_genes(vertices, np.zeros((6, 6), bool), np.ones((6, 6), bool))
    assert [len(x) for x in strongest_pairs(reader(np.ones((6, 6))), pairs, 4)] == [0, 0]
    assert [len(x) for x in strongest_scores(lists.random_scores(len(pairs), 0), pairs, 4)] == [
        0,
        0,
    ]


@settings(deadline=None, max_examples=30)
@given(seed=SEEDS, n=st.integers(2, 30), k=st.integers(1, 60), ties=st.booleans())
def test_the_largest_scores_are_those_of_sorting_all(seed: int, n: int, k: int, ties: bool) -> None:
    """Ties go to the first pair. Red: `score > kth`; the diagonal; rows taken to be in order."""
    rng = np.random.default_rng(seed)
    eligible = rng.random((n, n)) < 0.6
    pairs = VertexPairs.of_genes(np.arange(n), np.zeros((n, n), bool), eligible)
    half = np.triu(rng.integers(0, 5, (n, n)) if ties else rng.random((n, n)), 1)
    scores = half + half.T
    cuts = np.split(rng.permutation(n), [n // 3, n // 2])
    u, v = strongest_scores(lambda: ((rows, scores[rows]) for rows in cuts), pairs, k)
    every = [(i, j) for i in range(n) for j in range(i + 1, n) if pairs.eligible[i, j]]
    want = sorted(every, key=lambda pair: (-scores[pair], pair))[:k]
    assert list(zip(u.tolist(), v.tolist(), strict=True)) == want


def test_comparators_are_those_of_numpy_and_the_same_each_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Red: a cosine by the square of the norm; a generator made outside of the reader."""
    monkeypatch.setattr(lists, "_ROWS", 7)
    rng = np.random.default_rng(4)
    vectors = rng.normal(size=(20, 3))
    vectors[5] = 0
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-30)
    np.testing.assert_allclose(joined(lists.cosines(vectors)), unit @ unit.T, atol=1e-12)
    whole = joined(lists.cosines(vectors.round(1).astype(np.float32)))
    np.testing.assert_allclose(
        np.delete(np.diag(whole), 5), 1, rtol=1e-6
    )  # of any type, and none for 0
    assert not whole[5].any()
    effect = rng.normal(size=20)
    np.testing.assert_array_equal(joined(lists.sums_of_genes(effect)), np.add.outer(effect, effect))
    blocks = lists.random_scores(20, 1)
    np.testing.assert_array_equal(joined(blocks), joined(blocks))
    assert (joined(blocks) != joined(lists.random_scores(20, 2))).any()
    first, second = (strongest_scores(blocks, all_pairs(20), 30) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_random_pairs_are_spread_evenly() -> None:
    """Red: only the scores of the first rows are random."""
    times = np.zeros((12, 12))
    for seed in range(400):
        u, v = strongest_scores(lists.random_scores(12, seed), all_pairs(12), 11)
        times[u, v] += 1
    of_pairs = times[np.triu_indices(12, 1)]  # each in a sixth of the lists: 67, SD 7.5
    assert of_pairs.sum() == 400 * 11
    assert of_pairs.min() > 30
    assert of_pairs.max() < 105


@settings(deadline=None, max_examples=10)
@given(seed=SEEDS, per_vertex=st.sampled_from([1, 3]))
def test_a_vertex_has_the_mean_of_its_genes(seed: int, per_vertex: int) -> None:
    """Red: divided by the largest number of genes."""
    rng = np.random.default_rng(seed)
    pairs = vertex_pairs(rng, 21, per_vertex)
    for values in (rng.normal(size=21), rng.normal(size=(21, 4))):
        means = lists.by_vertex_mean(values, pairs)
        for v, mean in enumerate(means):
            np.testing.assert_allclose(mean, values[pairs.vertex_of == v].mean(0))
