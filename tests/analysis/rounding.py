"""How far ranks, and what is made of them, move where values differ by rounding of products.

Two computations of one matrix differ by ``delta`` at most, which is measured. If w > v + 2 delta in
one of them, then w' >= w - delta > v + delta >= v' in the other: values that are more than 2 delta
apart keep their order. A rank is 1 + the number of greater values, so in the other computation it
lies between 1 + #{w > v + 2 delta} and 1 + #{w > v - 2 delta}, the value itself not counted.
A mean, median, least or largest of quantiles rises with each of them: it lies between that of the
lowest and that of the highest ranks. Where delta is 0 nothing may move.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

STATISTICS: dict[str, Callable[[np.ndarray], np.floating]] = {
    "mean": np.mean, "median": np.median, "min": np.min, "max": np.max,
}  # fmt: skip


def largest_difference(a: np.ndarray, b: np.ndarray) -> float:
    """Return delta of two computations of one matrix; infinite values must be the same ones."""
    finite = np.isfinite(a)
    assert np.array_equal(a[~finite], b[~finite])
    return float(np.abs(a[finite].astype(np.float64) - b[finite]).max(initial=0))


def rank_bounds(values: np.ndarray, delta: float, absolute: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return the lowest and the highest rank of every value, of the shape of ``values``."""
    size = (np.abs(values) if absolute else values).astype(np.float64)
    rising = np.sort(size.ravel())
    low, high = (
        1 + len(rising) - np.searchsorted(rising, size + off, side="right")
        for off in (2 * delta, -2 * delta)
    )
    return low, high - (delta > 0)  # it exceeds itself less 2 delta


def statistic_bounds(
    what: str, low: np.ndarray, high: np.ndarray, certain: np.ndarray, possible: np.ndarray
) -> tuple[float, float]:
    """Return the least and the largest value of a statistic over a list.

    Parameters
    ----------
    what
        ``mean``, ``median``, ``min`` or ``max``.
    low, high
        [pairs] lowest and highest quantiles.
    certain, possible
        [pairs] bool: pairs that are in the list whatever the rounding, and that may be. Of those
        that may be, any number is; of each number the lowest (highest) give the bound.
    """
    of, maybe = STATISTICS[what], possible & ~certain
    least, most = np.sort(low[maybe]), np.sort(high[maybe])[::-1]
    numbers = range(0 if certain.any() else 1, len(least) + 1)
    return (
        float(min(of(np.concatenate([low[certain], least[:n]])) for n in numbers)),
        float(max(of(np.concatenate([high[certain], most[:n]])) for n in numbers)),
    )


def spearman_bound(x: np.ndarray, y: np.ndarray, delta_x: float, delta_y: float) -> float:
    """Return how far Spearman's correlation of two rows of values without ties may move.

    If ranks move by e and f at most, the sum of products of centred ranks moves by at most
    sum(|x| f + |y| e + e f); the sum of squares stays.
    """
    moved, centred = [], []
    for values, delta in ((x, delta_x), (y, delta_y)):
        low, high = rank_bounds(values, delta, absolute=False)
        rank, _ = rank_bounds(values, 0.0, absolute=False)
        moved.append(np.maximum(rank - low, high - rank))
        centred.append(np.abs(rank - rank.mean()))
    (e, f), (a, b) = moved, centred
    return float((a * f + b * e + e * f).sum() / (a**2).sum())
