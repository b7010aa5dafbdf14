"""Permutations of gene labels that keep each gene among genes of like degree."""

from __future__ import annotations

import numpy as np

_MIN_STRATUM = 10


def degree_strata(degree: np.ndarray) -> np.ndarray:
    """Return [genes] stratum numbers: quarter-log2 bins of degree + 1, merged to 10 genes or more.

    Equal-count bins put all hubs together, which leaves degree differences inside the top bin;
    geometric bins keep them apart (docs/science.md).
    """
    fine = np.floor(4 * np.log2(degree + 1.0)).astype(int)
    strata = np.zeros(len(degree), int)
    current, size, last = 0, 0, -1
    for value in np.unique(fine)[::-1]:  # from hubs down, so that the hubs' bins stay narrow
        if size >= _MIN_STRATUM:
            last, current, size = current, current + 1, 0
        members = fine == value
        strata[members] = current
        size += int(members.sum())
    if 0 < size < _MIN_STRATUM and last >= 0:
        strata[strata == current] = last
    return strata


def permute_within(strata: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return [genes] a permutation that maps every gene into its own stratum."""
    order = np.argsort(strata, kind="stable")
    shuffled = np.lexsort((rng.random(len(strata)), strata))
    out = np.empty(len(strata), np.int64)
    out[order] = shuffled
    return out
