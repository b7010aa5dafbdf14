"""Sums over paths between pairs of vertices, a block of sources at a time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy import sparse

SOURCES = 256  # at once: rows of a dense block
ENTRIES = 1 << 22  # neighbours of targets at once


def entries(matrix: sparse.csr_array, row: np.ndarray, column: np.ndarray) -> np.ndarray:
    """Return [pairs] float64 of single entries."""
    if not len(row):
        return np.zeros(0)
    values = sparse.csr_matrix(matrix)[row, column]  # an array of either kind of sparse class
    return np.asarray(values, float).ravel()


def by_source(a: np.ndarray) -> Iterator[tuple[np.ndarray, slice, np.ndarray]]:
    """Yield [sources] vertices, a block of ``a`` (ascending), and [pairs] which source each has."""
    starts, first = np.unique(a, return_index=True)
    bounds = np.append(first, len(a))
    for lo in range(0, len(starts), SOURCES):
        mine = starts[lo : lo + SOURCES]
        pairs = slice(bounds[lo], bounds[min(lo + SOURCES, len(starts))])
        yield mine, pairs, np.searchsorted(mine, a[pairs])


def reach(
    near: sparse.csr_array, block: np.ndarray, row: np.ndarray, target: np.ndarray,
    weights: list[np.ndarray] | None,
) -> list[np.ndarray]:  # fmt: skip
    """Return [pairs] sums over entries v of the target's row of ``block[row, v] * weight[v]``.

    One answer for each of ``weights`` ([vertices] each); None: one, weighted by the entries.
    """
    out = [np.zeros(len(row)) for _ in range(1 if weights is None else len(weights))]
    size = np.diff(near.indptr)[target].astype(np.int64)
    total = np.cumsum(size)
    lo = 0
    while lo < len(row):
        before = total[lo] - size[lo]
        hi = max(lo + 1, int(np.searchsorted(total, before + ENTRIES, side="right")))
        count = size[lo:hi]
        pair = np.repeat(np.arange(hi - lo), count)
        within = np.arange(len(pair)) - np.repeat(np.cumsum(count) - count, count)
        entry = near.indptr[target[lo:hi]][pair] + within
        via = near.indices[entry]
        value = block[row[lo:hi][pair], via]
        of_entries = [near.data[entry]] if weights is None else [w[via] for w in weights]
        for one, weight in zip(out, of_entries, strict=True):
            one[lo:hi] = np.bincount(pair, value * weight, hi - lo)
        lo = hi
    return out
