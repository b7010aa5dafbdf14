"""Quantiles of pairs of a matrix, looked up in its histogram of values."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from octoscope.attention.histograms import BINS, bins_of, count

Read = Callable[[], Iterable[tuple[int, np.ndarray, np.ndarray]]]


class BinnedQuantiles:
    """A matrix as bins of value, 3 bytes a pair, so that any of its pairs can be looked up.

    A quantile is off by less than half of its bin's share of the pairs.

    Parameters
    ----------
    read
        Yields (first row, values, eligible), by gene.
    n_genes
        Size of the matrix.
    keep_self
        Whether pairs of a gene with itself count among those that are ranked.

    Attributes
    ----------
    every
        Whether every pair of two genes is eligible.
    n_ranked
        Pairs among which ranks are counted, at least 1.
    """

    def __init__(self, read: Read, n_genes: int, *, keep_self: bool = False) -> None:
        self._bins = np.zeros((n_genes, n_genes), np.uint16)
        self._eligible, counts = np.zeros(self._bins.shape, bool), np.zeros(BINS, np.int64)
        for first, values, ok in read():
            here = slice(first, first + len(values))
            self._bins[here], self._eligible[here] = bins_of(values), ok
            count(self._bins[here], ok, first, counts)
        itself = np.diag(self._eligible).copy()
        np.fill_diagonal(self._eligible, False)
        self.every = bool(counts.sum() == self._eligible.size - len(self._eligible))
        if keep_self:
            counts += np.bincount(np.diag(self._bins)[itself], minlength=BINS)
        self._share = _from_the_top(counts)
        self.n_ranked = max(int(counts.sum()), 1)

    def at(self, query: np.ndarray, key: np.ndarray) -> np.ndarray:
        """Return float32 quantiles of pairs, small is strong; NaN where not eligible.

        Parameters
        ----------
        query, key
            Positions of genes, of one shape. Where every pair is eligible, a pair of a gene with
            itself has the quantile of its value.
        """
        quantiles = self._share[self._bins[query, key]]
        if not self.every:
            quantiles[~self._eligible[query, key]] = np.nan
        return np.asarray(quantiles)


def _from_the_top(counts: np.ndarray) -> np.ndarray:
    """Return [bins] float32: share of values above each bin, with half of those in it."""
    above = counts[::-1].cumsum()[::-1] - counts
    return ((above + counts / 2) / max(int(counts.sum()), 1)).astype(np.float32)
