"""Scores of a table of pairs under several ways of passing messages, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from octoscope.gnn.embeddings import embeddings
from octoscope.gnn.gnn_checkpoint import Checkpoint
from octoscope.gnn.graph import GnnGraph, Passing
from octoscope.gnn.graph_folder import check_arrays
from octoscope.gnn.leave_out import pair_edges, score_left_out
from octoscope.gnn.pair_table import PairTable
from octoscope.gnn.scoring import Mode, Scores, score_pairs

_SCORES = ("probability", "raw", "relation", "cosine")
_ADDED = (*_SCORES, "edge", "split", "same_vertex")


def score_table(
    checkpoint: Checkpoint,
    graph: GnnGraph,
    pairs: PairTable,
    mode: Mode = "corrected",
    passings: Sequence[Passing] = ("all",),
    cache: Path | None = None,
) -> pd.DataFrame:
    """Score the pairs of a table.

    Returns
    -------
    DataFrame
        The table's own columns (those of names that are made here end in ``_given``), then
        ``probability``, ``raw``, ``relation``, ``cosine`` (null where a gene has no vertex),
        ``edge`` (``none``, ``forward``, ``backward``, ``both``: of any of the genes' vertices; null
        where a gene has none), ``split`` (that of these edges, ``train`` before others: what the
        weights saw), ``same_vertex`` (the genes share one). A row with several vertex pairs gets
        the scores of the pair with the highest probability. With several passings, the first four
        columns of each end in ``_all``, ``_train`` or ``_left_out``.

    Raises
    ------
    InputError
        If the edges of the graph are damaged.
    """
    check_arrays(graph, ("edges", "split"))
    several = len(passings) > 1
    endings = [f"_{p.replace('leave-out', 'left_out')}" if several else "" for p in passings]
    out = _with_room(pairs.frame, {*_ADDED, *(name + e for name in _SCORES for e in endings)})
    for passing, ending in zip(passings, endings, strict=True):
        scores = scored(checkpoint, graph, pairs, mode, passing, cache)
        best = _best(pairs.row, scores)
        row = pairs.row[best]
        for name in ("probability", "raw"):
            out[name + ending] = _spread(getattr(scores, name)[best], row, len(out))
        if checkpoint.relations:
            names = np.array(checkpoint.relations, object)[scores.relation[best]]
        else:
            names = np.full(len(best), None, object)
        out["relation" + ending] = _spread(names, row, len(out))
        out["cosine" + ending] = _spread(scores.cosine[best], row, len(out))
    return out.assign(**_edges(graph, pairs, len(out)))


def scored(
    checkpoint: Checkpoint,
    graph: GnnGraph,
    pairs: PairTable,
    mode: Mode,
    passing: Passing,
    cache: Path | None = None,
) -> Scores:
    """Return the scores of the vertex pairs of a table under one way of passing messages."""
    if passing == "leave-out":
        return score_left_out(
            checkpoint, graph, pairs.src, pairs.dst, pairs.relation, mode, group=pairs.row
        )
    z = embeddings(checkpoint, graph, passing, cache)
    return score_pairs(checkpoint.head, z, pairs.src, pairs.dst, pairs.relation, mode)


def _with_room(frame: pd.DataFrame, added: set[str]) -> pd.DataFrame:
    """Return the user's table, columns of names that are added with ``_given`` behind."""
    names, taken = {}, added | set(frame.columns)
    for name in frame.columns:
        if name in added:
            new = f"{name}_given"
            while new in taken:
                new += "_given"
            names[name] = new
            taken.add(new)
    return frame.rename(columns=names)


def _best(row: np.ndarray, scores: Scores) -> np.ndarray:
    """Return the positions with the highest probability of each row, then raw score."""
    order = np.lexsort((np.arange(len(row)), -scores.raw, -scores.probability, row))
    first = np.ones(len(row), bool)
    first[1:] = row[order][1:] != row[order][:-1]
    return order[first]


def _spread(values: np.ndarray, row: np.ndarray, n: int) -> np.ndarray:
    empty: float | None = np.nan if values.dtype.kind == "f" else None
    out = np.full(n, empty, values.dtype if values.dtype.kind == "f" else object)
    out[row] = values
    return out


def _edges(graph: GnnGraph, pairs: PairTable, n: int) -> dict[str, np.ndarray]:
    between = pair_edges(graph, pairs.src, pairs.dst)
    kind = between.forward.astype(int) + 2 * between.backward
    code, seen = np.full(n, -1), np.full(n, -1)
    code[pairs.row] = 0
    np.bitwise_or.at(code, pairs.row, kind)  # of several vertex pairs, an edge of any counts
    order = ("none", "test", "val", "train")
    rank = np.array([order.index(s) if s is not None else -1 for s in between.split], int)
    np.maximum.at(seen, pairs.row, rank)
    same = np.full(n, None, object)
    same[pairs.row] = False
    same[pairs.row[pairs.src == pairs.dst]] = True
    names = np.array(["none", "forward", "backward", "both", None], object)
    splits = np.array([*order, None], object)
    return {"edge": names[code], "split": splits[seen], "same_vertex": same}
