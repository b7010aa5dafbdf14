"""A network per matrix: the strongest keys of each query gene."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from octoscope.analysis.matrix import PairMatrix


def strongest_keys(
    matrix: PairMatrix,
    genes: np.ndarray,
    view: str,
    *,
    per_query: int,
    threshold: float | None,
    symmetrise: bool,
) -> pd.DataFrame:
    """Return the eligible key genes with the largest values of each query gene, self excluded.

    Parameters
    ----------
    genes
        Ascending axis indices; only they compete. Special tokens never do.
    threshold
        Keys below it are left out; None: none is.
    symmetrise
        Rank (A + A^T) / 2 instead of A. Holds the set's matrix, float32.

    Returns
    -------
    DataFrame
        query, key (axis indices), value, rank (1 = strongest key of that query), cells (n_ij; null
        where the matrix does not know them).
        Order is (query, -value, key); equal values are cut at ``per_query`` in gene order.
    """
    blocks: Iterable[tuple[int, np.ndarray, np.ndarray]] = matrix.values(genes, view)
    if symmetrise:
        whole = list(blocks)
        values = np.concatenate([v for _, v, _ in whole])
        eligible = np.concatenate([e for _, _, e in whole])
        # n_ij is symmetric, so both directions are eligible together
        values = ((values.astype(np.float64) + values.T) / 2).astype(np.float32)
        blocks = [(0, values, eligible)]
    frames = [_of_rows(first, v, e, per_query, threshold) for first, v, e in blocks]
    edges = pd.concat(frames, ignore_index=True)
    cells, _ = matrix.values_at(genes, view, edges["query"].to_numpy(), edges["key"].to_numpy())
    return edges.assign(
        query=genes[edges["query"]].astype(np.int32),
        key=genes[edges["key"]].astype(np.int32),
        cells=cells if matrix.cells is not None else pd.Series(pd.NA, edges.index, dtype="Int64"),
    )


def _of_rows(
    first: int, values: np.ndarray, eligible: np.ndarray, k: int, threshold: float | None
) -> pd.DataFrame:
    usable = eligible.copy()
    at = np.arange(len(values))
    usable[at, at + first] = False
    if threshold is not None:
        usable &= values >= threshold
    score = np.where(usable, values, -np.inf)
    order = np.argsort(-score, axis=1, kind="stable")[:, :k]  # stable: ties in gene order
    kept = np.take_along_axis(usable, order, 1)
    rank = np.broadcast_to(np.arange(1, order.shape[1] + 1), order.shape)
    query = np.broadcast_to(at[:, None] + first, order.shape)
    return pd.DataFrame(
        {
            "query": query[kept],
            "key": order[kept],
            "value": np.take_along_axis(values, order, 1)[kept],
            "rank": rank[kept].astype(np.int32),
        }
    )
