"""Counts of values by the high 16 bits of their sort key, and what can be read from them."""

from __future__ import annotations

import numpy as np

from octoscope.jit import compiled

BINS = 1 << 16


def bins_of(values: np.ndarray) -> np.ndarray:
    """Return each value's bin, uint16; bins are in the order of values.

    A bin is the high half of the value's key in ``views.sortable``.
    """
    values = np.ascontiguousarray(values, np.float32)
    bins = np.empty(values.shape, np.uint16)
    _bin(values.ravel().view(np.uint32), bins.ravel())
    return bins


@compiled()
def _bin(bits: np.ndarray, bins: np.ndarray) -> None:
    top = np.uint32(1 << 31)
    for i in range(len(bits)):
        x = np.uint32(0) if bits[i] == top else bits[i]  # -0 is 0
        key = np.uint32(x ^ np.uint32(np.uint32(np.int32(x) >> np.int32(31)) | top))
        bins[i] = np.uint16(key >> np.uint32(16))


@compiled()
def count(bins: np.ndarray, eligible: np.ndarray, first: int, counts: np.ndarray) -> None:
    """Add the eligible pairs of different genes to the counts of their bins, in place.

    Parameters
    ----------
    bins, eligible
        [rows, genes] uint16 and bool.
    first
        Gene of the first row.
    counts
        [65536] int64.
    """
    for i in range(bins.shape[0]):
        line, used = bins[i], eligible[i]
        for j in range(bins.shape[1]):
            if used[j] and first + i != j:
                counts[line[j]] += 1


def quantiles(counts: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Return float32 lower edges of the bins that hold the quantiles; within 1/128 of them.

    Parameters
    ----------
    counts
        [65536], at least one value.
    at
        Quantiles in [0, 1] (inverse of the empirical distribution function).
    """
    below = np.cumsum(counts)
    ranks = np.maximum(np.ceil(np.asarray(at) * below[-1]), 1)
    keys = np.searchsorted(below, ranks).astype(np.uint32) << np.uint32(16)
    top = np.uint32(1 << 31)
    # the edge nearer to zero: for negative values the last key of the bin
    last = keys | np.uint32(0xFFFF)
    last -= (last == top - np.uint32(1)).astype(np.uint32)  # that key is -0, which counts as 0
    bits = np.where(keys & top, keys ^ top, ~last)
    return bits.astype(np.uint32).view(np.float32)


def percentiles(counts: np.ndarray) -> np.ndarray:
    """Return [bins] float64: share of the counted values below each bin, half of those in it."""
    below = np.cumsum(counts) - counts
    return (below + counts / 2) / max(int(counts.sum()), 1)


def auroc(positives: np.ndarray, negatives: np.ndarray) -> tuple[float, float]:
    """Return the area under the ROC curve and the most that binning can have moved it.

    The probability that a positive exceeds a negative (Mann-Whitney); values of one bin count as
    ties, so the error is half the share of (positive, negative) pairs in one bin.
    """
    p, n = int(positives.sum()), int(negatives.sum())
    if not p or not n:
        return float("nan"), float("nan")
    # a sum, not a BLAS product: its bits do not depend on the number of threads
    area = float((positives * percentiles(negatives)).sum() / p)
    together = float((positives.astype(float) * negatives).sum() / (float(p) * n))
    return area, together / 2


def average_precision(positives: np.ndarray, negatives: np.ndarray) -> float:
    """Return the sum over thresholds of recall gained times precision; thresholds are bins."""
    p = int(positives.sum())
    if not p:
        return float("nan")
    hits = np.cumsum(positives[::-1])
    called = hits + np.cumsum(negatives[::-1])
    gained = np.flatnonzero(positives[::-1])
    return float((positives[::-1][gained] * (hits[gained] / called[gained])).sum() / p)


def early_precision(positives: np.ndarray, negatives: np.ndarray) -> float:
    """Return the share of positives among as many of the largest values as there are positives.

    Pratapa et al. (2020). The last bin that is reached counts with the share of positives in it.
    """
    p = int(positives.sum())
    if not p:
        return float("nan")
    hits = np.cumsum(positives[::-1])
    called = hits + np.cumsum(negatives[::-1])
    last = int(np.searchsorted(called, p))
    in_last = int(called[last] - (called[last - 1] if last else 0))
    before = int(hits[last - 1]) if last else 0
    missing = p - (int(called[last - 1]) if last else 0)
    return (before + missing * int(positives[::-1][last]) / in_last) / p
