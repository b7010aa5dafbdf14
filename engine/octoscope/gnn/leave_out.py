"""Scores without self-evidence: a pair is scored by an encoding that lacks its own edges.

A head that scores an edge of the graph sees embeddings to which that edge has carried messages, so
the edge vouches for itself. Here the queried pairs are dealt into folds by a hash of their names.
For each fold the graph is encoded without the edges between its pairs (both directions, all
parallel copies), and the pairs of the fold are scored from that encoding. The weights may still
have seen an edge in training: :func:`pair_edges` says which.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from octoscope.gnn.embeddings import encode, messages_of
from octoscope.gnn.gnn_checkpoint import Checkpoint
from octoscope.gnn.graph import SPLITS, GnnGraph
from octoscope.gnn.pair_hash import pair_hash
from octoscope.gnn.scoring import Mode, Scores, score_pairs

FOLDS = 10


@dataclass(frozen=True)
class PairEdges:
    """What the graph holds between pairs, [pairs] each.

    Attributes
    ----------
    forward, backward
        bool: an edge from the first to the second; from the second to the first.
    split
        Text: ``train`` if any edge between the two is a training edge, then ``val``, ``test``,
        ``none``; None for a pair without an edge, or a graph without a split.
    """

    forward: np.ndarray
    backward: np.ndarray
    split: np.ndarray


def unordered(n: int, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return int64 keys of unordered pairs of ``n`` vertices."""
    a, b = np.asarray(a, np.int64), np.asarray(b, np.int64)
    return np.minimum(a, b) * n + np.maximum(a, b)


def pair_edges(graph: GnnGraph, a: np.ndarray, b: np.ndarray) -> PairEdges:
    """Return which edges join ordered pairs of vertices ([pairs] int64)."""
    n = graph.n_vertices
    src, dst = np.asarray(graph.src, np.int64), np.asarray(graph.dst, np.int64)
    a, b = np.asarray(a, np.int64), np.asarray(b, np.int64)
    wanted = np.unique(unordered(n, a, b))
    key = unordered(n, src, dst)
    at = np.searchsorted(wanted, key)
    at[at == len(wanted)] = 0
    mine = np.flatnonzero(wanted[at] == key) if len(wanted) else np.zeros(0, np.int64)
    ordered = np.unique(src[mine] * n + dst[mine])
    rank = np.full(len(wanted), len(SPLITS), np.uint8)  # train 0, val 1, test 2, none 3
    if graph.split is not None:
        of_edge = (np.asarray(graph.split)[mine].astype(np.int64) - 1) % len(SPLITS)
        np.minimum.at(rank, at[mine], of_edge.astype(np.uint8))
    names = np.array([*SPLITS[1:], SPLITS[0], None], object)
    here = np.searchsorted(wanted, unordered(n, a, b))
    return PairEdges(
        np.isin(a * n + b, ordered), np.isin(b * n + a, ordered),
        names[rank[here]] if len(wanted) else np.zeros(0, object),
    )  # fmt: skip


def score_left_out(
    checkpoint: Checkpoint,
    graph: GnnGraph,
    src: np.ndarray,
    dst: np.ndarray,
    relation: np.ndarray | None = None,
    mode: Mode = "corrected",
    folds: int = FOLDS,
) -> Scores:
    """Score pairs, each from an encoding without the edges between the two.

    Parameters
    ----------
    src, dst, relation, mode
        As :func:`octoscope.gnn.scoring.score_pairs` takes them.
    folds
        Number of encodings. A pair shares its fold by its two names only, so pairs that are not
        edges are scored from the same encodings as those that are.
    """
    src, dst = np.asarray(src, np.int64), np.asarray(dst, np.int64)
    n = graph.n_vertices
    messages = messages_of(checkpoint, graph)
    fold = (pair_hash(graph.vertex_names, src, dst) % np.uint64(folds)).astype(np.int64)
    wanted, first = np.unique(unordered(n, src, dst), return_index=True)
    key = unordered(n, graph.src, graph.dst)
    at = np.searchsorted(wanted, key)
    at[at == len(wanted)] = 0
    queried = wanted[at] == key if len(wanted) else np.zeros(len(key), bool)
    edge_fold = np.where(queried, fold[first][at], -1) if len(wanted) else np.full(len(key), -1)
    width = len(src)
    out = Scores(np.empty(width, np.float32), np.empty(width, np.float32),
                 np.empty(width, np.int64), np.empty(width, np.float32))  # fmt: skip
    whole = None
    for k in np.unique(fold):
        gone = edge_fold == k
        if gone.any():
            z = encode(checkpoint, graph, messages.without(gone))
        else:
            whole = encode(checkpoint, graph, messages) if whole is None else whole
            z = whole
        rows = np.flatnonzero(fold == k)
        asked = None if relation is None else relation[rows]
        part = score_pairs(checkpoint.head, z, src[rows], dst[rows], asked, mode)
        for name, values in vars(part).items():
            getattr(out, name)[rows] = values
    return out
