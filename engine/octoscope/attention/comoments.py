"""Correlation of genes over cells: Pearson in one pass, Spearman from exact mid-ranks.

The baseline that attention must exceed. Values are log-normalised counts; both correlations are
co-moments in float64 that merge exactly as far as rounding goes, so cells may arrive in any parts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy
from scipy import sparse

_DEPTH = 1e4  # counts per cell after normalisation
_CELLS = 1024  # cells that are made dense at once


def log_normalise(counts: sparse.csr_matrix) -> sparse.csr_matrix:
    """Return log(1 + 10,000 count / depth) as float64 CSR; the depth is over all genes given.

    Raises
    ------
    ValueError
        If a cell has no counts.
    """
    depth = np.asarray(counts.sum(1), np.float64).ravel()
    if (depth <= 0).any():
        raise ValueError("a cell without counts has no normalised values")
    scaled = np.log1p(counts.data * np.repeat(_DEPTH / depth, np.diff(counts.indptr)))
    return sparse.csr_matrix((scaled, counts.indices, counts.indptr), counts.shape)


@dataclass(frozen=True)
class CoMoments:
    """Sums of products of deviations from the mean, over some cells.

    Attributes
    ----------
    n
        Number of cells.
    mean
        [genes] float64.
    products
        [rows, genes] float64: sum over cells of (x_i - mean_i)(x_j - mean_j), for the rows from
        ``first`` on.
    first
        Gene of the first row.
    """

    n: int
    mean: np.ndarray
    products: np.ndarray
    first: int = 0

    @classmethod
    def of(cls, values: sparse.csr_matrix) -> CoMoments:
        """Return the co-moments of [cells, genes] values: blocks of cells, each about its mean."""
        genes = values.shape[1]
        merged = cls(0, np.zeros(genes), np.zeros((genes, genes)))
        for at in range(0, values.shape[0], _CELLS):
            block = values[at : at + _CELLS].toarray().astype(np.float64)
            mean = block.mean(0)
            block -= mean
            merged = merged.merge(cls(len(block), mean, block.T @ block))
        return merged

    def merge(self, other: CoMoments) -> CoMoments:
        """Return the co-moments of both parts together (Chan, Golub, LeVeque 1983)."""
        n = self.n + other.n
        if not n:
            return self
        gap = other.mean - self.mean
        rows = slice(self.first, self.first + len(self.products))
        between = np.outer(gap[rows] * (self.n / n * other.n), gap)
        mean = self.mean + gap * (other.n / n)
        return CoMoments(n, mean, self.products + other.products + between, self.first)


def varying(squares: np.ndarray, mean: np.ndarray, n: int) -> np.ndarray:
    """Return sums of squared deviations, 0 where they are the rounding of a constant value."""
    rounding = n * (8 * np.finfo(np.float64).eps * mean) ** 2
    return np.where(squares <= rounding, 0.0, squares)


def correlation(products: np.ndarray, squares: np.ndarray, first: int = 0) -> np.ndarray:
    """Return [rows, genes] float32 correlations; 0 where a gene does not vary.

    Parameters
    ----------
    products
        [rows, genes] sums of products of deviations, for the rows from ``first`` on.
    squares
        [genes] sums of squared deviations.
    """
    root = np.sqrt(squares)
    by = np.outer(root[first : first + len(products)], root)
    coefficients = np.divide(products, by, out=np.zeros_like(products), where=by > 0)
    return np.clip(coefficients, -1, 1).astype(np.float32)


def rise(values: np.ndarray, n_cells: int) -> np.ndarray:
    """Return by how much each positive value's mid-rank exceeds that of the zeros.

    Parameters
    ----------
    values
        The gene's positive values, in any order; all other of ``n_cells`` cells hold 0.
    """
    zeros = n_cells - len(values)
    # zeros share ranks 1 .. zeros; where there are none, ranks rise from (0 + 1) / 2
    return zeros + scipy.stats.rankdata(values) - (zeros + 1) / 2


class RankProducts:
    """Sums of products of centred mid-ranks over cells, added block by block.

    With rank = base + rise (rise 0 where the value is 0, base the zeros' mid-rank) and the mean
    rank (n + 1) / 2, the deviation of a zero is u = -(positive values) / 2, so the sum over cells
    is rise_i . rise_j + u_i sum(rise_j) + u_j sum(rise_i) + n u_i u_j: sparse, and terms cancel
    by a small factor at most. All are multiples of 1/4, exact below 2^51 (some 190,000 cells).

    Attributes
    ----------
    products
        [genes, genes] float64 rise_i . rise_j.
    """

    def __init__(self, positive: np.ndarray, n_cells: int) -> None:
        self._n, self._u = n_cells, -np.asarray(positive, np.float64) / 2
        self._sums = np.zeros(len(positive))
        self.products = np.zeros((len(positive), len(positive)))

    def add(self, rises: sparse.csr_matrix) -> None:
        """Add cells: [cells, genes] of :func:`rise`."""
        for at in range(0, rises.shape[0], _CELLS):
            block = rises[at : at + _CELLS].toarray()
            self.products += block.T @ block
            self._sums += block.sum(0)

    def rows(self, first: int, stop: int) -> np.ndarray:
        """Return [rows, genes] sums of products of centred ranks."""
        u, s, here = self._u, self._sums, slice(first, stop)
        return (
            self.products[here]
            + np.outer(u[here], s)
            + np.outer(s[here], u)
            + self._n * np.outer(u[here], u)
        )

    def squares(self) -> np.ndarray:
        """Return [genes] sums of squared centred ranks."""
        return self.products.diagonal() + 2 * self._u * self._sums + self._n * self._u**2
