"""Lists of the strongest unordered pairs of vertices, of one length for every matrix."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np

from octoscope.analysis.donor_jackknife import LeaveOneGroupOut
from octoscope.analysis.vertex_pairs import VertexPairs
from octoscope.attention.topk import TopK
from octoscope.row_blocks import row_ranges

VertexList = tuple[np.ndarray, np.ndarray]  # vertices of [pairs], the strongest pair first
ScoreBlocks = Callable[[], Iterable[tuple[np.ndarray, np.ndarray]]]  # (vertices of rows, scores)
_ROWS = 512


def strongest_pairs(
    read: Callable[[], Iterable[tuple[int, np.ndarray, np.ndarray]]], pairs: VertexPairs, k: int
) -> VertexList:
    """Return the K pairs of vertices with the largest value in a matrix, in either direction.

    Parameters
    ----------
    read
        Yields (first row, values, eligible) of the matrix, by gene.
    pairs
        Only these pairs of vertices can be listed.
    """

    def one() -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        for first, values, eligible in read():
            yield first, values[None], eligible[None]

    return strongest_of_each(one, 1, pairs, k)[0]


def strongest_without(
    matrix: LeaveOneGroupOut, genes: np.ndarray, view: str, pairs: VertexPairs, k: int
) -> list[VertexList]:
    """Return the K strongest pairs of vertices without each group of donors.

    Parameters
    ----------
    genes
        Positions on the axis, of the genes of ``pairs``.
    """

    def every() -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        for b in matrix.blocks(genes, view):
            yield b.first, b.values, b.known & b.eligible

    return strongest_of_each(every, len(matrix.donors), pairs, k)


def strongest_of_each(
    read: Callable[[], Iterable[tuple[int, np.ndarray, np.ndarray]]],
    n: int,
    pairs: VertexPairs,
    k: int,
) -> list[VertexList]:
    """Return the list of each of several matrices, read together.

    Parameters
    ----------
    read
        Yields (first row, [n, rows, genes] values, [n, rows, genes] eligible), by gene.
    n
        Number of matrices.
    """
    vertex, ordered = pairs.vertex_of, 2 * k
    known = vertex >= 0
    if not len(pairs):
        return [(np.zeros(0, np.int64), np.zeros(0, np.int64))] * n
    complete: dict[int, VertexList] = {}
    while len(complete) < n:
        tops = {i: TopK(ordered, ordered) for i in range(n) if i not in complete}
        for first, values, eligible in read():
            rows = slice(first, first + values.shape[1])
            allowed = pairs.eligible[np.ix_(vertex[rows], vertex)] & known[rows, None] & known
            for i, top in tops.items():
                top.update(first, values[i], eligible[i] & allowed)
        for i, top in tops.items():
            best = top.result()
            u, v = pairs.listed(best.query, best.key)
            # both directions of a pair, and every pair of genes of two families, are one pair
            if len(u) >= k or len(best.query) < ordered:
                complete[i] = u[:k], v[:k]
        ordered *= 4
    return [complete[i] for i in range(n)]


def strongest_scores(blocks: ScoreBlocks, pairs: VertexPairs, k: int) -> VertexList:
    """Return the K pairs with the largest score, fewer where others have none (NaN)."""
    strongest = np.zeros(0), np.zeros(0, np.int64)
    n = len(pairs)
    for rows, scores in blocks():
        use = pairs.eligible[rows] & (np.arange(n) > rows[:, None]) & ~np.isnan(scores)
        row, v = np.nonzero(use)
        score = np.concatenate([strongest[0], scores[row, v]])
        code = np.concatenate([strongest[1], rows[row].astype(np.int64) * n + v])
        order = np.lexsort((code, -score))[:k] if len(score) <= 4 * k else _largest(score, code, k)
        strongest = score[order], code[order]
    return strongest[1] // max(n, 1), strongest[1] % max(n, 1)


def _largest(score: np.ndarray, code: np.ndarray, k: int) -> np.ndarray:
    kth = np.partition(score, len(score) - k)[len(score) - k]
    at = np.flatnonzero(score >= kth)
    return at[np.lexsort((code[at], -score[at]))][:k]


def sums_of_genes(effect: np.ndarray) -> ScoreBlocks:
    """Return a reader of ``effect_u + effect_v`` for all pairs; [vertices] float64."""
    return lambda: _by_rows(len(effect), lambda rows: effect[rows, None] + effect)


def cosines(vectors: np.ndarray) -> ScoreBlocks:
    """Return a reader of cosines of [vertices, d] vectors."""
    size = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = np.divide(vectors, size, out=np.zeros_like(vectors, np.float64), where=size > 0)
    return lambda: _by_rows(len(unit), lambda rows: unit[rows] @ unit.T)


def scores_of_matrix(values: np.ndarray) -> ScoreBlocks:
    """Return a reader of [vertices, vertices] scores; NaN: a pair without one."""
    return lambda: _by_rows(len(values), lambda rows: values[rows])


def random_scores(n: int, seed: int) -> ScoreBlocks:
    """Return a reader of random scores of all pairs of ``n`` vertices, the same every time."""

    def blocks() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        rng = np.random.default_rng(seed)
        return _by_rows(n, lambda rows: rng.random((len(rows), n)))

    return blocks


def _by_rows(
    n: int, scores: Callable[[np.ndarray], np.ndarray]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for first, stop in row_ranges(n, _ROWS):
        rows = np.arange(first, stop)
        yield rows, scores(rows)


def by_vertex_mean(values: np.ndarray, pairs: VertexPairs) -> np.ndarray:
    """Return the mean over the genes of each vertex of [genes] or [genes, d] values."""
    known = np.flatnonzero(pairs.vertex_of >= 0)
    out = np.zeros((len(pairs), *values.shape[1:]))
    np.add.at(out, pairs.vertex_of[known], values[known])
    return out / pairs.n_genes.reshape(-1, *(1,) * (values.ndim - 1))
