"""Values and exact ranks of chosen pairs in a matrix that arrives in row tiles."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from engine.attention.compiled import compiled
from engine.attention.views import sortable

RowTiles = Callable[[], Iterable[tuple[int, np.ndarray, np.ndarray]]]


def values_and_ranks(
    tiles: RowTiles, query: np.ndarray, key: np.ndarray
) -> tuple[np.ndarray, np.ndarray, int]:
    """Look pairs up and rank them among all eligible off-diagonal pairs.

    Parameters
    ----------
    tiles
        Each call yields ``(first row, values [rows, genes], eligible [rows, genes])`` once more.
    query, key
        [pairs] row and column of each pair.

    Returns
    -------
    values
        [pairs] float32, NaN where the pair is not eligible.
    ranks
        [pairs] int64, 1 + number of pairs with a strictly greater value; 0 where not eligible.
    n_eligible
        Number of ranked pairs.
    """
    values = np.full(len(query), np.nan, np.float32)
    for first, block, eligible in tiles():
        inside = (query >= first) & (query < first + len(block))
        rows, columns = query[inside] - first, key[inside]
        found = np.where(eligible[rows, columns], block[rows, columns], np.float32(np.nan))
        values[inside] = found
    known = ~np.isnan(values)
    keys = np.unique(sortable(values[known]))
    # where the keys of each pattern of high bits begin: a look-up instead of a search
    table = np.searchsorted(keys, np.arange((1 << 16) + 1, dtype=np.uint64) << 16)
    # above[i] counts matrix values v with exactly i distinct query values smaller than v
    above = np.zeros(len(keys) + 1, np.int64)
    n_eligible = 0
    for first, block, eligible in tiles():
        bits = np.ascontiguousarray(block, np.float32).view(np.uint32)
        n_eligible += _place(bits, eligible, first, keys, table, above)
    greater = above[::-1].cumsum()[::-1]  # greater[i]: values with at least i smaller distinct ones
    ranks = np.zeros(len(query), np.int64)
    position = np.searchsorted(keys, sortable(values[known]))
    ranks[known] = 1 + greater[position + 1]
    return values, ranks, n_eligible


@compiled()
def _place(
    bits: np.ndarray,
    eligible: np.ndarray,
    first: int,
    keys: np.ndarray,
    table: np.ndarray,
    above: np.ndarray,
) -> int:
    """Count a block's eligible off-diagonal values by how many keys are smaller; returns how many.

    Parameters
    ----------
    bits
        [rows, genes] uint32, the float32 values bit by bit; see ``views.sortable`` for the order.
    keys
        Sorted distinct uint32.
    table
        [65537] int64, where the keys begin whose high 16 bits are at least the index.
    above
        [keys + 1] int64, added to.
    """
    top = np.uint32(1 << 31)
    n = 0
    for i in range(bits.shape[0]):
        for j in range(bits.shape[1]):
            if not eligible[i, j] or first + i == j:
                continue
            x = bits[i, j]
            if x == top:  # -0 is 0
                x = np.uint32(0)
            key = ~x if x & top else x | top
            lo, hi = table[key >> 16], table[(key >> 16) + 1]
            while lo < hi:
                middle = (lo + hi) // 2
                if keys[middle] < key:
                    lo = middle + 1
                else:
                    hi = middle
            above[lo] += 1
            n += 1
    return n
