"""Bins of the three controls: co-expression from each tail, degree, expression level."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

GRID = 1 << 18  # steps of a correlation over [-1, 1]: 7.6e-6 each, finer than any bin
LEVELS = 1 << 12  # steps of the expression level
PER_OCTAVE_OF_LEVEL = 1  # bins of the expression level per factor of two in rank, see tail_bins
LEAST = 40  # pairs of an extreme bin
# Coarser strata, the coarsest first: how many bins of degree are one, and the least share of all
# pairs in an extreme bin of the level. A list is compared in the first that balance it.
COARSER = ((2, 1 / 8), (2, 0.0), (1, 1 / 8))
# bins per factor of two in rank; 0: ten bins of equal size
REFINEMENTS = {"deciles": 0, "log2": 1, "half": 2, "quarter": 4, "eighth": 8}
USED = "quarter"
# Shares of genes below the ends of groups, by level and by degree; pairs of groups are cells.
# Groups are as wide on the scale of a normal distribution, so both tails have small ones.
GROUP_ENDS = (0.03, 0.07, 0.13, 0.23, 0.35, 0.5, 0.65, 0.77, 0.87, 0.93, 0.97)


def tail_bins(counts: np.ndarray, per_octave: int, least: int = LEAST) -> np.ndarray:
    """Return the bin of every step of a grid of values, narrower towards both tails.

    The bin of a value is ``floor(per_octave * log2(N / rank))``, with ranks from the nearer tail,
    so both strong positive and strong negative values have bins of their own. Deciles leave odds
    ratios of 1.9 to 2.8 under pure co-expression, because attention looks at the extreme tail. The
    expression level has the same bins: attention lists pairs of the highest level, lift those of
    the lowest, and within quintiles listed pairs lie 0.2 to 1 SD apart from the others.

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
        further = np.cumsum(np.bincount(octave[side], counts[side])[::-1])[::-1]  # or in it
        last = int(np.flatnonzero(further >= least)[-1]) if (further >= least).any() else 0
        octave[side] = np.minimum(octave[side], last)
    signed = np.where(upper, octave + 1, -octave)
    out[at] = np.unique(signed, return_inverse=True)[1].reshape(-1)
    return out


def tail_groups(values: np.ndarray) -> np.ndarray:
    """Return [vertices] int64 groups of vertices, narrower towards both tails; ties stay together.

    Parameters
    ----------
    values
        [vertices] of a gene each: its level, its degree.
    """
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    share = (np.cumsum(counts) - counts / 2) / max(len(values), 1)
    return np.searchsorted(GROUP_ENDS, share)[inverse.reshape(-1)]


def joint_bins(bins: Mapping[str, np.ndarray]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return bins so narrow that every bin of every refinement is made of some of them.

    Pairs are then counted once, and the counts of each refinement are sums.

    Parameters
    ----------
    bins
        By refinement, [steps] bins of :func:`tail_bins` of the same counts.

    Returns
    -------
    joint
        [steps] int64, 0 where all are 0.
    part_of
        By refinement, [joint bins] the bin that each is a part of.
    """
    every = np.stack(list(bins.values()))
    at = np.flatnonzero(every.any(0))  # steps of the first bins, or without pairs, are joint bin 0
    joint = np.zeros(every.shape[1], np.int64)
    joint[at] = np.cumsum((np.diff(every[:, at], axis=1, prepend=0) != 0).any(0))
    if len(at) == len(joint):  # no step is in joint bin 0
        joint -= 1
    first = np.unique(joint, return_index=True)[1]
    return joint, {name: of[first] for name, of in bins.items()}


def level_steps(expression: np.ndarray) -> np.ndarray:
    """Return [vertices] float64 expression levels as fractions of a grid of ``LEVELS`` steps."""
    low, high = float(expression.min(initial=0)), float(expression.max(initial=0))
    return (expression - low) * ((LEVELS - 1) / (high - low) if high > low else 0.0)


def log_degree(degree: np.ndarray) -> np.ndarray:
    """Return [vertices] float64 ``log2(degree + 1)``; a pair's bin is the floor of twice its sum.

    The same as ``floor(2 log2((d_i + 1)(d_j + 1)))``.
    """
    return np.log2(degree + 1.0)
