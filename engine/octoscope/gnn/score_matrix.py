"""Scores of all unordered pairs of a set of vertices, from one encoding or from those of folds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from octoscope.gnn.embeddings import embeddings
from octoscope.gnn.gnn_checkpoint import Checkpoint
from octoscope.gnn.graph import GnnGraph, Passing
from octoscope.gnn.leave_out import FOLDS, left_out_encodings
from octoscope.gnn.pair_hash import pair_hash
from octoscope.gnn.scoring import score_pairs

_PAIRS_AT_ONCE = 1 << 19


@dataclass(frozen=True)
class ScoreMatrix:
    """Scores among V vertices, [V, V] float32, symmetric; NaN for a vertex that the graph lacks.

    Attributes
    ----------
    probability
        The larger one of both directions, for a head with relations over its relations.
    cosine
        Of the two embeddings.
    """

    probability: np.ndarray
    cosine: np.ndarray


def score_matrix(
    checkpoint: Checkpoint,
    graph: GnnGraph,
    vertices: np.ndarray,
    passing: Passing,
    cache: Path | None = None,
) -> ScoreMatrix:
    """Score every unordered pair of vertices.

    Parameters
    ----------
    vertices
        [V] int64 vertices of the graph, distinct; -1 stands for none.
    passing
        With ``leave-out`` every pair among ``vertices`` counts as queried: a fold lacks the edges
        of its pairs among all of them.
    """
    n = len(vertices)
    empty = np.full((n, n), np.nan, np.float32)
    out = ScoreMatrix(empty, empty.copy())
    mapped = np.flatnonzero(vertices >= 0)
    at = vertices[mapped]
    z, fold = _encodings(checkpoint, graph, at, passing, cache)
    for i, j in _blocks(len(mapped)):
        mine = fold(i, j)
        for k, z_k in enumerate(z):
            here = mine == k
            if not here.any():
                continue
            a, b = i[here], j[here]
            forward, backward = (
                score_pairs(checkpoint.head, z_k, x, y) for x, y in ((a, b), (b, a))
            )
            chance = np.maximum(forward.probability, backward.probability)
            for target, values in ((out.probability, chance), (out.cosine, forward.cosine)):
                target[mapped[a], mapped[b]] = values
                target[mapped[b], mapped[a]] = values
    return out


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
