"""Values and exact ranks of chosen pairs in a matrix that arrives in row tiles."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cached_property

import numpy as np

from octoscope.attention.topk import EVERY
from octoscope.attention.views import sortable
from octoscope.jit import compiled

_PARTS = 4  # parts of the index per value

RowTiles = Callable[[], Iterable[tuple[int, np.ndarray, np.ndarray | None]]]


class RankTable:
    """Sorted values of queries, and an index that finds a value's place in a step or two.

    The 16 high bits of a value's sort key choose a range of the index. It divides the low
    bits into four times as many equal parts as the range has values (interpolation in integers,
    so order is kept exactly). Most parts hold one value or none, and need no search.

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
        self._keys, self._inverse = np.unique(keys, return_inverse=True)
        parts = np.bincount(self._keys >> 16, minlength=1 << 16) * _PARTS
        self._offset = np.zeros((1 << 16) + 1, np.uint32)
        np.cumsum(np.maximum(parts, 1), out=self._offset[1:])
        self._entry = np.empty(int(self._offset[-1]) + 1, np.uint64)
        _fill(self._keys, self._offset, self._entry)

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
        return 1 + greater[self._inverse + 1]


class Ranking:
    """Values and exact ranks of chosen pairs in one matrix, whose tiles are read twice.

    All tiles are shown to :meth:`look`, then all again to :meth:`count`.

    Parameters
    ----------
    query, key, by_absolute_value, keep_self
        As for :func:`values_and_ranks`.
    """

    def __init__(
        self, query: np.ndarray, key: np.ndarray, *, by_absolute_value: bool, keep_self: bool
    ) -> None:
        self._ends = query, key
        self._values = np.full(len(query), np.nan, np.float32)
        self._above: np.ndarray = np.zeros(1, np.int64)
        self._how = {"by_absolute_value": by_absolute_value, "keep_self": keep_self}

    def look(self, first: int, block: np.ndarray, eligible: np.ndarray | None) -> None:
        """Take the pairs' values from rows."""
        inside, picked = pick(first, block, *self._ends)
        if eligible is not None:
            picked = np.where(pick(first, eligible, *self._ends)[1], picked, np.float32(np.nan))
        self._values[inside] = picked

    @cached_property
    def _known(self) -> np.ndarray:
        return ~np.isnan(self._values)

    @cached_property
    def _table(self) -> RankTable:
        return RankTable(self._values[self._known], **self._how)

    def count(self, first: int, block: np.ndarray, eligible: np.ndarray | None) -> None:
        """Count how many of the rows' pairs exceed the values."""
        self._above = self._above + self._table.count(first, block, eligible)

    def result(self) -> tuple[np.ndarray, np.ndarray, int]:
        """Return what :func:`values_and_ranks` does."""
        ranks = np.zeros(len(self._values), np.int64)
        if self._known.any():
            ranks[self._known] = self._table.ranks(self._above)
        return self._values, ranks, int(self._above.sum())


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
    ranking = Ranking(query, key, by_absolute_value=by_absolute_value, keep_self=keep_self)
    for tile in tiles():
        ranking.look(*tile)
    for tile in tiles():
        ranking.count(*tile)
    return ranking.result()


def pick(
    first: int, block: np.ndarray, query: np.ndarray, key: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return which pairs lie in the rows from ``first`` on, and their entries."""
    inside = np.flatnonzero((query >= first) & (query < first + len(block)))
    return inside, block[query[inside] - first, key[inside]]


@compiled()
def _fill(keys: np.ndarray, offset: np.ndarray, entry: np.ndarray) -> None:
    """Write what one look-up needs: the next key, where it is, whether others share its part."""
    low, shared = np.uint64(0xFFFF), np.uint64(1 << 31)
    at = 0
    for high in range(len(offset) - 1):
        first, stop = offset[high], offset[high + 1]
        parts = np.uint64(stop - first)
        for part in range(first, stop):
            begin = at
            while at < len(keys) and np.int64(keys[at] >> np.uint32(16)) == high:
                within = (np.uint64(keys[at]) & low) * parts >> np.uint64(16)
                if np.int64(within) != part - first:
                    break
                at += 1
            following = np.uint64(keys[begin] if begin < len(keys) else np.uint32(0xFFFFFFFF))
            entry[part] = following << np.uint64(32) | np.uint64(begin)
            if at - begin > 1:
                entry[part] |= shared
    entry[len(entry) - 1] = np.uint64(0xFFFFFFFF) << np.uint64(32) | np.uint64(at)


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
        The index of :class:`RankTable`: where each range begins; of each part the next key in the
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
            packed = entry[part[j]]
            lo = packed & np.uint64(0x7FFFFFFF)
            if not packed & np.uint64(1 << 31):
                # without a branch: where the part is empty, the next key is larger
                above[lo + np.uint64(np.uint32(packed >> np.uint64(32)) < key[j])] += np.uint32(1)
                continue
            hi = entry[np.uint64(part[j]) + one] & np.uint64(0x7FFFFFFF)
            while lo < hi:
                middle = (lo + hi) >> one
                if keys[middle] < key[j]:
                    lo = middle + one
                else:
                    hi = middle
            above[lo] += np.uint32(1)
