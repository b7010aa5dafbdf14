"""Scores of all unordered pairs of a set of vertices, from one encoding or from those of folds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

from octoscope.gnn.embeddings import embeddings
from octoscope.gnn.gnn_checkpoint import Checkpoint
from octoscope.gnn.graph import GnnGraph, Passing
from octoscope.gnn.leave_out import FOLDS, left_out_encodings
from octoscope.gnn.pair_hash import pair_hash
from octoscope.gnn.scoring import score_pairs
from octoscope.octopus.pair_triangle import row_starts

_PAIRS_AT_ONCE = 1 << 19


def score_triangle(
    checkpoint: Checkpoint,
    graph: GnnGraph,
    vertices: np.ndarray,
    passing: Passing,
    out: np.ndarray,
    cache: Path | None = None,
) -> None:
    """Score every unordered pair of V vertices, a probability and a cosine each.

    Parameters
    ----------
    vertices
        [V] int64 vertices of the graph, distinct; -1 stands for none.
    passing
        With ``leave-out`` every pair among ``vertices`` counts as queried: a fold lacks the edges
        of its pairs among all of them.
    out
        [V (V - 1) / 2, 2] float32 to write into, in the order of
        :mod:`octoscope.octopus.pair_triangle`: the larger probability of both directions, for a
        head with relations over its relations; and the cosine. NaN for a vertex that the graph
        lacks.
    """
    out[:] = np.nan
    starts = row_starts(len(vertices))
    mapped = np.flatnonzero(vertices >= 0)
    at = vertices[mapped]
    z, fold = _encodings(checkpoint, graph, at, passing, cache)
    for i, j in _blocks(len(mapped)):
        mine = fold(i, j)
        for k, z_k in enumerate(z):
            here = np.flatnonzero(mine == k)
            if not len(here):
                continue
            a, b = i[here], j[here]
            forward = score_pairs(checkpoint.head, z_k, a, b)
            chance = forward.probability
            if not checkpoint.head.symmetric:
                chance = np.maximum(chance, score_pairs(checkpoint.head, z_k, b, a).probability)
            pair = starts[mapped[a]] + mapped[b]
            out[pair, 0], out[pair, 1] = chance, forward.cosine


def _encodings(
    checkpoint: Checkpoint, graph: GnnGraph, at: np.ndarray, passing: Passing, cache: Path | None
) -> tuple[list[torch.Tensor], Callable[[np.ndarray, np.ndarray], np.ndarray]]:
    """Return encodings of the vertices, and which of them is for a pair."""
    rows = torch.from_numpy(at)
    if passing != "leave-out":
        whole = embeddings(checkpoint, graph, passing, cache)[rows]
        return [whole], lambda i, j: np.zeros(len(i), np.int64)
    inside = np.zeros(graph.n_vertices, bool)
    inside[at] = True
    src, dst = np.asarray(graph.src, np.int64), np.asarray(graph.dst, np.int64)
    among = np.flatnonzero(inside[src] & inside[dst] & (src != dst))  # a loop is of no pair
    names = graph.vertex_names
    fold = np.full(len(src), -1)
    fold[among] = pair_hash(names, src[among], dst[among]) % np.uint64(FOLDS)
    z = [z_k[rows] for _, z_k in left_out_encodings(checkpoint, graph, fold, range(FOLDS))]

    def of_pairs(i: np.ndarray, j: np.ndarray) -> np.ndarray:
        return (pair_hash(names[at], i, j) % np.uint64(FOLDS)).astype(np.int64)

    return z, of_pairs


def _blocks(n: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield (i, j) of all pairs i < j of n positions, some rows at a time."""
    step = max(1, _PAIRS_AT_ONCE // max(n, 1))
    for lo in range(0, n, step):
        i, j = np.triu_indices(min(step, n - lo), 1 + lo, n)  # column above row + lo
        yield i + lo, j


def graph_edges(graph: GnnGraph, vertices: np.ndarray) -> np.ndarray:
    """Return [V, V] bool, symmetric: an edge of the graph joins two vertices, in any direction."""
    n = graph.n_vertices
    position = np.full(n, -1)
    position[vertices[vertices >= 0]] = np.flatnonzero(vertices >= 0)
    src, dst = position[np.asarray(graph.src)], position[np.asarray(graph.dst)]
    inside = (src >= 0) & (dst >= 0) & (src != dst)
    out = np.zeros((len(vertices), len(vertices)), bool)
    out[src[inside], dst[inside]] = True
    return out | out.T
