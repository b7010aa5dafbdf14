"""Values and exact ranks of chosen pairs in a matrix that arrives in row tiles."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from engine.attention.topk import EVERY
from engine.attention.views import sortable
from engine.compiled import compiled

_PARTS = 4  # parts of the index per value

RowTiles = Callable[[], Iterable[tuple[int, np.ndarray, np.ndarray | None]]]


class RankTable:
    """Sorted values of queries, and an index that finds a value's place in a step or two.

    The 16 high bits of a value's sort key choose a stretch of the index, which divides the low
    bits into four times as many equal parts as the stretch has values (interpolation in integers,
    so order is kept exactly): most parts hold one value or none, and need no search.

    Parameters
    ----------
    values
        [queries] float32, no NaN.
    by_absolute_value
        Rank by |value|.
    keep_self
        Count pairs of a gene with itself.
    """

    def __init__(
        self, values: np.ndarray, *, by_absolute_value: bool = False, keep_self: bool = False
    ) -> None:
        self._absolute, self._keep_self = by_absolute_value, keep_self
        keys = sortable(np.abs(values) if by_absolute_value else values)
        self._keys, self._place = np.unique(keys, return_inverse=True)
        high, low = (self._keys >> 16).astype(np.int64), (self._keys & 0xFFFF).astype(np.int64)
        parts = np.maximum(_PARTS * np.bincount(high, minlength=1 << 16), 1)
        offset = np.concatenate([[0], np.cumsum(parts)])
        part = offset[high] + (low * parts[high] >> 16)  # ascending, as the keys are
        begin = np.zeros(offset[-1] + 1, np.int64)
        np.cumsum(np.bincount(part, minlength=offset[-1]), out=begin[1:])
        ended = np.append(self._keys, np.uint32(0xFFFFFFFF))
        # what one look-up needs: the next key, where it is, and whether others share its part;
        # the index has four entries a value, so it is made in place
        self._entry = ended[begin].astype(np.uint64)
        self._entry <<= np.uint64(32)
        self._entry |= begin.view(np.uint64)
        self._entry[:-1][np.diff(begin) > 1] |= np.uint64(1 << 31)
        self._offset = offset.astype(np.uint32)

    def count(self, first: int, values: np.ndarray, eligible: np.ndarray | None) -> np.ndarray:
        """Return [keys + 1] uint32: how many of the rows' pairs exceed exactly so many keys."""
        above = np.zeros(len(self._keys) + 1, np.uint32)  # a block has fewer than 2**32 values
        bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
        _count(
            bits, EVERY if eligible is None else eligible, first, self._absolute, self._keep_self,
            self._keys, self._offset, self._entry, above,
        )  # fmt: skip
        return above

    def ranks(self, above: np.ndarray) -> np.ndarray:
        """Return [queries] int64, 1 + pairs with a strictly greater value, from summed counts."""
        greater = above[::-1].cumsum()[::-1]  # pairs that exceed at least so many keys
        return 1 + greater[self._place + 1]


def values_and_ranks(
    tiles: RowTiles,
    query: np.ndarray,
    key: np.ndarray,
    *,
    by_absolute_value: bool = False,
    keep_self: bool = False,
) -> tuple[np.ndarray, np.ndarray, int]:
    """Look pairs up and rank them among all eligible off-diagonal pairs.

    Parameters
    ----------
    tiles
        Each call yields ``(first row, values [rows, genes], eligible [rows, genes])`` once more;
        eligible is None where every pair is.
    query, key
        [pairs] row and column of each pair.
    by_absolute_value
        Rank by |value|.
    keep_self
        Pairs of a gene with itself are ranked too.

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
        inside, found = pick(first, block, query, key)
        if eligible is not None:
            found = np.where(pick(first, eligible, query, key)[1], found, np.float32(np.nan))
        values[inside] = found
    known = ~np.isnan(values)
    table = RankTable(values[known], by_absolute_value=by_absolute_value, keep_self=keep_self)
    above = sum((table.count(*tile) for tile in tiles()), np.zeros(1, np.int64))
    ranks = np.zeros(len(query), np.int64)
    if known.any():
        ranks[known] = table.ranks(above)
    return values, ranks, int(above.sum())


def pick(
    first: int, block: np.ndarray, query: np.ndarray, key: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return which pairs lie in the rows from ``first`` on, and their entries."""
    inside = np.flatnonzero((query >= first) & (query < first + len(block)))
    return inside, block[query[inside] - first, key[inside]]


@compiled()
def _count(
    bits: np.ndarray,
    eligible: np.ndarray,
    first: int,
    absolute: bool,
    keep_self: bool,
    keys: np.ndarray,
    offset: np.ndarray,
    entry: np.ndarray,
    above: np.ndarray,
) -> None:
    """Count a block's eligible values by how many keys are smaller.

    Parameters
    ----------
    bits
        [rows, genes] uint32, the float32 values bit by bit; see ``views.sortable`` for the order.
    eligible
        [rows, genes] bool; without rows: every pair is.
    keys
        Sorted distinct uint32.
    offset, entry
        The index of :class:`RankTable`: where each stretch begins; of each part the next key in the
        high half, bit 31 if the part has several keys, and the position of the next key.
    above
        [keys + 1] uint32, added to.
    """
    # each step is a loop of its own over a row in cache: the first two vectorise
    top, half, one = np.uint32(1 << 31), np.uint32(16), np.uint64(1)
    every = len(eligible) == 0
    n = bits.shape[1]
    key, part = np.empty(n, np.uint32), np.empty(n, np.uint32)
    for i in range(bits.shape[0]):
        row = bits[i]
        for j in range(n):
            x = np.uint32(row[j] & np.uint32(0x7FFFFFFF)) if absolute else row[j]
            x = np.uint32(0) if x == top else x  # -0 is 0
            key[j] = np.uint32(x ^ np.uint32(np.uint32(np.int32(x) >> np.int32(31)) | top))
        for j in range(n):
            high = np.uint64(key[j] >> half)
            at = np.uint64(offset[high])
            low = np.uint64(key[j] & np.uint32(0xFFFF))
            part[j] = np.uint32(at + (low * (np.uint64(offset[high + one]) - at) >> np.uint64(16)))
        for j in range(n):
            if not (every or eligible[i, j]) or (first + i == j and not keep_self):
                continue
            found = entry[part[j]]
            lo = found & np.uint64(0x7FFFFFFF)
            if not found & np.uint64(1 << 31):
                # without a branch: where the part is empty, the next key is larger
                above[lo + np.uint64(np.uint32(found >> np.uint64(32)) < key[j])] += np.uint32(1)
                continue
            hi = entry[np.uint64(part[j]) + one] & np.uint64(0x7FFFFFFF)
            while lo < hi:
                middle = (lo + hi) >> one
                if keys[middle] < key[j]:
                    lo = middle + one
                else:
                    hi = middle
            above[lo] += np.uint32(1)
