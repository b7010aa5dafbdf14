"""Values and exact ranks of chosen pairs in a matrix that arrives in row tiles."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

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
    distinct = np.unique(values[known])
    # above[i] counts matrix values v with exactly i distinct query values smaller than v
    above = np.zeros(len(distinct) + 1, np.int64)
    n_eligible = 0
    for first, block, eligible in tiles():
        off = eligible.copy()
        diagonal = np.arange(len(block))
        off[diagonal, diagonal + first] = False
        flat = block[off]
        n_eligible += len(flat)
        above += np.bincount(np.searchsorted(distinct, flat, side="left"), minlength=len(above))
    greater = above[::-1].cumsum()[::-1]  # greater[i]: values with at least i smaller distinct ones
    ranks = np.zeros(len(query), np.int64)
    position = np.searchsorted(distinct, values[known])
    ranks[known] = 1 + greater[position + 1]
    return values, ranks, n_eligible
