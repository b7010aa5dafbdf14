"""The K largest pairs of a matrix that arrives in row tiles: exact, one pass, ties kept."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


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
    """

    def __init__(self, k: int, cap: int | None = None) -> None:
        if k < 1:
            raise ValueError("k must be at least 1")
        self._k, self._cap = k, max(k, 2 * k if cap is None else cap)
        self._held: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self._n = 0
        self._threshold = -np.inf
        self._dropped_at: float | None = None  # value whose ties were cut at the cap

    def update(self, first_row: int, values: np.ndarray, eligible: np.ndarray) -> None:
        """Add rows ``first_row ...``; both arrays are [rows, genes], eligible is bool."""
        keep = eligible & (values >= self._threshold)
        rows, columns = np.nonzero(keep)
        off = rows + first_row != columns
        rows, columns = rows[off], columns[off]
        # -0 is 0, so that it ties with 0
        found = values[rows, columns].astype(np.float32) + np.float32(0)
        self._held.append(((rows + first_row).astype(np.int32), columns.astype(np.int32), found))
        self._n += len(found)
        if self._n > 4 * self._cap:
            self._compact()

    def _compact(self) -> None:
        query, key, value = (np.concatenate(parts) for parts in zip(*self._held, strict=True))
        if len(value) > self._k:
            kth = np.partition(value, len(value) - self._k)[len(value) - self._k]
            above, ties = value > kth, np.flatnonzero(value == kth)
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
        self._held, self._n = [(query, key, value)], len(value)

    def result(self) -> TopPairs:
        """Return the pairs collected so far."""
        if not self._held:
            empty = np.zeros(0, np.int32)
            return TopPairs(empty, empty, np.zeros(0, np.float32), False)
        self._compact()
        query, key, value = self._held[0]
        order = np.lexsort((key, query, -value))
        truncated = self._dropped_at is not None and self._dropped_at == self._threshold
        return TopPairs(query[order], key[order], value[order], truncated)
