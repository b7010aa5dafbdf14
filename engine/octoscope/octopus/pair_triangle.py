"""Values of unordered pairs of vertices: the upper triangle of a square, row after row.

It takes half of the room of the square. The index of a pair (a, b), a < b, is
``row_starts(n)[a] + b``.
"""

from __future__ import annotations

import numpy as np

_ROWS = 512  # of a square that are turned at once


def n_pairs(n: int) -> int:
    """Return the number of unordered pairs of n vertices."""
    return n * (n - 1) // 2


def row_starts(n: int) -> np.ndarray:
    """Return [n] int64 numbers that give a pair's index when its larger vertex is added."""
    a = np.arange(n, dtype=np.int64)
    return a * (2 * n - a - 1) // 2 - a - 1


def pair_index(u: np.ndarray, v: np.ndarray, n: int) -> np.ndarray:
    """Return [pairs] int64 indices of pairs of distinct vertices, in either order."""
    return row_starts(n)[np.minimum(u, v)] + np.maximum(u, v)


def triangle(square: np.ndarray) -> np.ndarray:
    """Return [n (n - 1) / 2] values above the diagonal of [n, n]."""
    n, starts = len(square), row_starts(len(square))
    out = np.empty(n_pairs(n), square.dtype)
    for a in range(n - 1):
        out[starts[a] + a + 1 : starts[a] + n] = square[a, a + 1 :]
    return out


def square(values: np.ndarray, n: int, diagonal: float | bool) -> np.ndarray:
    """Return [n, n] symmetric values of [n (n - 1) / 2] pairs."""
    out, starts = np.empty((n, n), values.dtype), row_starts(n)
    for a in range(n):
        out[a, a] = diagonal
        out[a, a + 1 :] = values[starts[a] + a + 1 : starts[a] + n]
    for lo in range(0, n, _ROWS):
        hi = min(lo + _ROWS, n)
        out[lo:hi, :lo] = out[:lo, lo:hi].T
        below = np.tril_indices(hi - lo, -1)
        out[lo:hi, lo:hi][below] = out[lo:hi, lo:hi].T[below]
    return out
