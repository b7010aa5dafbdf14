"""The K largest pairs of a matrix that arrives in row tiles: exact, one pass, ties kept."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from octoscope.jit import compiled

_BLOCK = 64  # values of a row that are looked at together
_ROOM = 1 << 16  # pairs held before they are thinned out, at least
EVERY = np.zeros((0, 0), bool)  # stands for "all pairs are eligible" in compiled loops


@dataclass(frozen=True)
class TopPairs:
    """Pairs ordered by (-value, query, key).

    Attributes
    ----------
    query, key
        [pairs] int32.
    value
        [pairs] float32.
    tie_truncated
        True where ties at the K-th value exceeded the cap and only the first were kept.
    """

    query: np.ndarray
    key: np.ndarray
    value: np.ndarray
    tie_truncated: bool


class TopK:
    """Collects the K largest eligible pairs, with all ties at the K-th value up to a cap.

    Rows must arrive in ascending order. Self pairs are left out.

    Parameters
    ----------
    k
        Number of pairs.
    cap
        Largest number of pairs returned, ties included; default ``2 k``.
    by_absolute_value
        Order by |value|; the pairs keep their signs.
    """

    def __init__(self, k: int, cap: int | None = None, *, by_absolute_value: bool = False) -> None:
        if k < 1:
            raise ValueError("k must be at least 1")
        self._k, self._cap = k, max(k, 2 * k if cap is None else cap)
        self._absolute = by_absolute_value
        self._collected: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self._n = 0
        self._threshold = -np.inf  # no further pair below it can be among the K largest
        self._dropped_at: float | None = None  # value whose ties were cut at the cap

    def update(self, first_row: int, values: np.ndarray, eligible: np.ndarray | None) -> None:
        """Add rows ``first_row ...``: [rows, genes] values and bool; None: all are eligible."""
        values = np.ascontiguousarray(values, np.float32)
        row = column = 0
        while row < len(values):
            room = max(2 * self._cap, _ROOM) - self._n
            query, key = np.empty((2, room), np.int32)
            value = np.empty(room, np.float32)
            n_kept, row, column = _sift(
                values, EVERY if eligible is None else eligible, first_row, row, column,
                np.float32(self._threshold), self._absolute,
                query, key, value,
            )  # fmt: skip
            # copies: a view would keep all of the room alive
            self._collected.append(
                (query[:n_kept].copy(), key[:n_kept].copy(), value[:n_kept].copy())
            )
            self._n += n_kept
            if row < len(values) or self._n > 2 * self._cap:
                self._compact()

    def _compact(self) -> None:
        query, key, value = (np.concatenate(parts) for parts in zip(*self._collected, strict=True))
        if len(value) > self._k:
            size = np.abs(value) if self._absolute else value
            kth = np.partition(size, len(size) - self._k)[len(size) - self._k]
            above, ties = size > kth, np.flatnonzero(size == kth)
            room = self._cap - int(above.sum())
            if self._dropped_at is not None and kth > self._dropped_at:
                self._dropped_at = None
            if len(ties) > room:
                self._dropped_at = float(kth)
                ties = ties[:room]  # held in row order, so these are lexicographically first
            keep = above
            keep[ties] = True
            query, key, value = query[keep], key[keep], value[keep]
            self._threshold = float(kth)
        self._collected, self._n = [(query, key, value)], len(value)

    def result(self) -> TopPairs:
        """Return the pairs collected so far."""
        if not self._collected:
            empty = np.zeros(0, np.int32)
            return TopPairs(empty, empty, np.zeros(0, np.float32), False)
        self._compact()
        query, key, value = self._collected[0]
        order = np.lexsort((key, query, -np.abs(value) if self._absolute else -value))
        truncated = self._dropped_at is not None and self._dropped_at == self._threshold
        return TopPairs(query[order], key[order], value[order], truncated)


@compiled()
def _sift(
    values: np.ndarray,
    eligible: np.ndarray,
    first: int,
    row: int,
    column: int,
    threshold: np.float32,
    absolute: bool,
    query: np.ndarray,
    key: np.ndarray,
    value: np.ndarray,
) -> tuple[int, int, int]:
    """Copy eligible off-diagonal pairs at or above the threshold until the room is used up.

    ``eligible`` without rows: every pair is.

    Returns
    -------
    tuple of int
        Pairs copied, and the row and column to go on from; the row is past the end when done.
    """
    n = 0
    every = len(eligible) == 0
    columns = values.shape[1]
    for i in range(row, values.shape[0]):
        line = values[i]
        while column < columns:
            # few values pass: most blocks are left after a count that vectorises
            end = min(column + _BLOCK, columns)
            passing = np.int32(0)
            if absolute:
                for j in range(column, end):
                    passing += np.int32(abs(line[j]) >= threshold)
            else:
                for j in range(column, end):
                    passing += np.int32(line[j] >= threshold)
            if passing:
                for j in range(column, end):
                    size = abs(line[j]) if absolute else line[j]
                    if size >= threshold and (every or eligible[i, j]) and first + i != j:
                        if n == len(value):
                            return n, i, j
                        query[n], key[n] = first + i, j
                        value[n] = line[j] + np.float32(0)  # -0 is 0, so that it ties with 0
                        n += 1
            column = end
        column = 0
    return n, values.shape[0], 0
