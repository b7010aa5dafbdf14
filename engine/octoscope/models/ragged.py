"""Cells of different lengths: from CSR parts to arrays [cells, tokens], left-aligned."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from octoscope.jit import compiled

_DEBRUIJN = 0x03F79D71B4CB0A89
_BIT = np.zeros(64, np.int64)  # of a power of two, times the constant, the upper six bits -> place
_BIT[[((_DEBRUIJN << i) & (1 << 64) - 1) >> 58 for i in range(64)]] = np.arange(64)


def kept(
    keep: np.ndarray, indptr: np.ndarray, *flat: np.ndarray
) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    """Return row pointers and values of the entries that are kept."""
    if keep.all():
        return indptr, flat
    return np.concatenate([[0], np.cumsum(keep)])[indptr], tuple(values[keep] for values in flat)


def padded(
    flat: np.ndarray, indptr: np.ndarray, shape: tuple[int, int], fill: float, dtype: type,
    first: int = 0,
) -> np.ndarray:  # fmt: skip
    """Return [cells, tokens] with each cell's values from place ``first`` on, else ``fill``."""
    out: np.ndarray = np.full(shape, fill, dtype)
    for row, (low, high) in zip(out, pairwise(indptr.tolist()), strict=True):
        row[first : first + high - low] = flat[low:high]
    return out


def token_mask(lengths: np.ndarray, width: int, first: int = 0) -> np.ndarray:
    """Return [cells, tokens] bool: the places that :func:`padded` fills."""
    position = np.arange(width) - first
    return (position >= 0) & (position < lengths[:, None])


def ranked(values: np.ndarray, indptr: np.ndarray, room: int) -> np.ndarray:
    """Return places in ``values``: of each cell in falling order, at most ``room``; ties in order.

    Sorting numbers is several times as fast as sorting places by them. So places within the cell
    replace the last bits of the negated values. Where that put a smaller value before a larger one
    (they differ in those bits only), the cell is sorted again.

    Parameters
    ----------
    values
        Float64, positive and finite.
    """
    lengths = np.diff(indptr)
    width = int(lengths.max(initial=0))
    low = (1 << width.bit_length()) - 1
    position = np.arange(len(values)) - np.repeat(indptr[:-1], lengths)
    # of negative numbers the one with the greater bits comes first: the earlier place gets those
    keys = ((-values).view(np.int64) & ~low) | (low - position)
    # padding is above all of them
    ordered = padded(keys.view(np.float64), indptr, (len(lengths), width), 1.0, np.float64)
    ordered.sort(axis=1)
    mine = token_mask(lengths, width)
    ranks = low - (ordered.view(np.int64) & low) + np.asarray(indptr[:-1], np.int64)[:, None]
    shown = np.where(mine, values[np.where(mine, ranks, 0)], 0.0) if len(values) else ordered
    for c in np.flatnonzero((shown[:, 1:] > shown[:, :-1]).any(1)):
        part = slice(indptr[c], indptr[c + 1])
        ranks[c, : lengths[c]] = indptr[c] + np.argsort(-values[part], kind="stable")
    return ranks[token_mask(np.minimum(lengths, room), width)]


@compiled()
def moved_columns(
    indptr: np.ndarray, columns: np.ndarray, values: np.ndarray, new_column: np.ndarray, n: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return ``data, indices, indptr`` of a CSR matrix whose columns go to ``new_column``.

    A column of -1 is left out. Rows come out sorted; values that meet in one of the ``n`` columns
    are added in their order. A row's values are dropped into an array of all columns and a bitmap
    says which to collect, so nothing is sorted.
    """
    data, indices = np.empty(len(values), values.dtype), np.empty(len(values), np.int32)
    starts = np.zeros(len(indptr), indptr.dtype)
    row, words = np.zeros(n, values.dtype), np.zeros(n // 64 + 1, np.uint64)
    one, at = np.uint64(1), 0
    for c in range(len(indptr) - 1):
        for i in range(indptr[c], indptr[c + 1]):
            column = new_column[columns[i]]
            if column >= 0:
                row[column] += values[i]
                words[column >> 6] |= one << np.uint64(column & 63)
        for w in range(len(words)):
            word = words[w]
            words[w] = 0
            while word:
                rest = word & (word - one)
                bit = (word ^ rest) * np.uint64(_DEBRUIJN)
                column = (w << 6) + _BIT[np.int64(bit >> np.uint64(58))]
                data[at], indices[at] = row[column], column
                row[column] = 0
                at, word = at + 1, rest
        starts[c + 1] = at
    return data[:at].copy(), indices[:at].copy(), starts
