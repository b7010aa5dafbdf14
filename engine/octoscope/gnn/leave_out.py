"""Scores without self-evidence: a pair is scored by an encoding that lacks its own edges.

A head that scores an edge of the graph sees embeddings to which that edge has carried messages, so
the edge vouches for itself. Here the queried pairs are dealt into folds by a hash of their names.
For each fold the graph is encoded without the edges between its pairs (both directions, all
parallel copies), and the pairs of the fold are scored from that encoding. The weights may still
have seen an edge in training: :func:`pair_edges` says which.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from octoscope.gnn.embeddings import encode, messages_of
from octoscope.gnn.gnn_checkpoint import Checkpoint
from octoscope.gnn.graph import SPLITS, GnnGraph
from octoscope.gnn.pair_hash import pair_hash
from octoscope.gnn.scoring import Mode, Scores, score_pairs
from octoscope.gnn.structural_features import is_known, without_edges
from octoscope.octopus.pairs import pair_codes

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


def pair_edges(graph: GnnGraph, a: np.ndarray, b: np.ndarray) -> PairEdges:
    """Return which edges join ordered pairs of vertices ([pairs] int64)."""
    n = graph.n_vertices
    src, dst = np.asarray(graph.src, np.int64), np.asarray(graph.dst, np.int64)
    a, b = np.asarray(a, np.int64), np.asarray(b, np.int64)
    codes, here = np.unique(pair_codes(a, b, n), return_inverse=True)
    at = _among(codes, pair_codes(src, dst, n))
    mine = np.flatnonzero(at >= 0)
    ordered = np.unique(src[mine] * n + dst[mine])
    rank = np.full(len(codes), len(SPLITS), np.uint8)  # train 0, val 1, test 2, none 3
    if graph.split is not None:
        of_edge = (np.asarray(graph.split)[mine].astype(np.int64) - 1) % len(SPLITS)
        np.minimum.at(rank, at[mine], of_edge.astype(np.uint8))
    names = np.array([*SPLITS[1:], SPLITS[0], None], object)
    return PairEdges(np.isin(a * n + b, ordered), np.isin(b * n + a, ordered), names[rank[here]])


def score_left_out(
    checkpoint: Checkpoint,
    graph: GnnGraph,
    src: np.ndarray,
    dst: np.ndarray,
    relation: np.ndarray | None = None,
    mode: Mode = "corrected",
    folds: int = FOLDS,
    group: np.ndarray | None = None,
) -> Scores:
    """Score pairs, each from an encoding without the edges between the two.

    Parameters
    ----------
    src, dst, relation, mode
        As :func:`octoscope.gnn.scoring.score_pairs` takes them.
    folds
        Number of encodings. A pair's fold depends on names only, so pairs that are not edges are
        scored from the same encodings as those that are.
    group
        [pairs] int64: vertex pairs of one gene pair, which share a fold and lack each other's
        edges. Groups that have a vertex pair in common are one. None: each pair is a group.
    """
    src, dst = np.asarray(src, np.int64), np.asarray(dst, np.int64)
    n, width = graph.n_vertices, len(src)
    codes, code_index = np.unique(pair_codes(src, dst, n), return_inverse=True)
    fold = (pair_hash(graph.vertex_names, src, dst) % np.uint64(folds)).astype(np.int64)
    if group is not None:
        fold = _of_groups(fold, group, code_index, len(codes))
    fold_of = np.full(len(codes) + 1, -1)  # the last one: of edges that are not queried
    fold_of[code_index] = fold
    edge_fold = fold_of[_among(codes, pair_codes(graph.src, graph.dst, n))]
    out = Scores(np.empty(width, np.float32), np.empty(width, np.float32),
                 np.empty(width, np.int64), np.empty(width, np.float32))  # fmt: skip
    for k, z in left_out_encodings(checkpoint, graph, edge_fold, np.unique(fold)):
        rows = np.flatnonzero(fold == k)
        given = None if relation is None else relation[rows]
        part = score_pairs(checkpoint.head, z, src[rows], dst[rows], given, mode)
        for name, values in vars(part).items():
            getattr(out, name)[rows] = values
    return out


def left_out_encodings(
    checkpoint: Checkpoint, graph: GnnGraph, edge_fold: np.ndarray, folds: Iterable[int]
) -> Iterator[tuple[int, torch.Tensor]]:
    """Yield each fold with the [vertices, width] embeddings that lack its edges.

    Features that are made of edges are made without them, where the graph says how.

    ``edge_fold``: [edges] int64 fold of each edge, -1: in every encoding.
    """
    messages, whole = messages_of(checkpoint, graph), None
    structure = is_known(graph)
    for k in folds:
        gone = edge_fold == k
        if gone.any():
            less = replace(graph, x=without_edges(graph, gone)) if structure else graph
            yield k, encode(checkpoint, less, messages.without(gone))
        else:  # folds without an edge share an encoding
            whole = encode(checkpoint, graph, messages) if whole is None else whole
            yield k, whole


def _among(codes: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """Return [asked] positions in a few ascending codes, -1 where absent.

    Unlike ``find_keys`` it does not sort what is asked, which here is every edge of a graph.
    """
    if not len(codes):
        return np.full(len(queries), -1)
    at = np.minimum(np.searchsorted(codes, queries), len(codes) - 1)
    return np.where(codes[at] == queries, at, -1)


def _of_groups(fold: np.ndarray, group: np.ndarray, pair_index: np.ndarray, n: int) -> np.ndarray:
    """Return [pairs] folds: the smallest of all pairs that groups and shared pairs connect.

    Parameters
    ----------
    fold
        [pairs] of each pair alone.
    group, pair_index
        [pairs] its group, and its position among ``n`` distinct vertex pairs.
    """
    _, of_group = np.unique(group, return_inverse=True)
    size = n + int(of_group.max(initial=-1)) + 1
    joined = coo_matrix((np.ones(len(pair_index)), (pair_index, n + of_group)), shape=(size, size))
    _, label = connected_components(joined, directed=False)
    least = np.full(size, np.iinfo(np.int64).max)
    np.minimum.at(least, label[pair_index], fold)
    return least[label[pair_index]]
