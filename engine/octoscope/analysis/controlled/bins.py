"""Bins of the three controls: co-expression from each tail, degree, expression level."""

from __future__ import annotations

import numpy as np

GRID = 1 << 18  # steps of a correlation over [-1, 1]: 7.6e-6 each, finer than any bin
LEVELS = 1 << 12  # steps of the expression level
# Quantiles between bins of the expression level. Attention that follows expression lists pairs of
# the highest level, and within plain quintiles listed pairs still lie 0.2 SD above the others.
LEVEL_QUANTILES = (0.2, 0.4, 0.6, 0.8, 0.9, 0.95, 0.975)
LEVEL_BINS = len(LEVEL_QUANTILES) + 1
LEAST = 40  # pairs of an extreme bin
# bins per factor of two in rank; 0: ten bins of equal size
REFINEMENTS = {"deciles": 0, "log2": 1, "half": 2, "quarter": 4, "eighth": 8}
USED = "quarter"


def tail_bins(counts: np.ndarray, per_octave: int, least: int = LEAST) -> np.ndarray:
    """Return the bin of every step of a grid of values, narrower towards both tails.

    The bin of a value is ``floor(per_octave * log2(N / rank))``, with ranks from the nearer tail,
    so both strong positive and strong negative values have bins of their own. Deciles leave odds
    ratios of 1.9 to 2.8 under pure co-expression, because attention looks at the extreme tail.

    Parameters
    ----------
    counts
        [steps] pairs at each step of the grid, ascending.
    per_octave
        Bins per factor of two in rank; 0: ten bins of equal size.
    least
        Extreme bins are merged inwards until each holds so many pairs.

    Returns
    -------
    ndarray
        [steps] int64 bin numbers, 0 for the smallest values; 0 too where a step holds no pair.
    """
    out = np.zeros(len(counts), np.int64)
    at = np.flatnonzero(counts)  # few steps of a fine grid hold a pair
    if not len(at):
        return out
    counts = counts[at]
    total = int(counts.sum())
    from_bottom = np.cumsum(counts) - (counts - 1) / 2
    from_top = total + 1 - from_bottom
    if not per_octave:
        out[at] = np.minimum(10 * (from_bottom - 0.5) // total, 9)
        return out
    upper = from_top < from_bottom
    rank = np.where(upper, from_top, from_bottom)
    octave = np.floor(per_octave * np.log2(total / rank) + 1e-9).astype(np.int64)
    for side in (upper, ~upper):
        held = np.cumsum(np.bincount(octave[side], counts[side])[::-1])[::-1]  # or further out
        last = int(np.flatnonzero(held >= least)[-1]) if (held >= least).any() else 0
        octave[side] = np.minimum(octave[side], last)
    signed = np.where(upper, octave + 1, -octave)
    out[at] = np.unique(signed, return_inverse=True)[1].reshape(-1)
    return out


def quantile_bins(counts: np.ndarray) -> np.ndarray:
    """Return [steps] bin of the expression level of each step, 0 for the lowest."""
    total = max(int(counts.sum()), 1)
    middle = np.cumsum(counts) - counts / 2
    return np.searchsorted(LEVEL_QUANTILES, middle / total, side="right")


def level_steps(expression: np.ndarray) -> np.ndarray:
    """Return [vertices] float64 expression levels as fractions of a grid of ``LEVELS`` steps."""
    low, high = float(expression.min(initial=0)), float(expression.max(initial=0))
    return (expression - low) * ((LEVELS - 1) / (high - low) if high > low else 0.0)


def log_degree(degree: np.ndarray) -> np.ndarray:
    """Return [vertices] float64 ``log2(degree + 1)``; a pair's bin is the floor of twice its sum.

    The same as ``floor(2 log2((d_i + 1)(d_j + 1)))``.
    """
    return np.log2(degree + 1.0)
