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
CELLS_AT_ONCE = 1024  # cells that are made dense at once
_ROWS = 1024  # rows of products that are added at once


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
        if not values.shape[0]:
            return cls(0, np.zeros(genes), np.zeros((genes, genes)))
        merged: CoMoments | None = None
        for at in range(0, values.shape[0], CELLS_AT_ONCE):
            block = values[at : at + CELLS_AT_ONCE].toarray().astype(np.float64)
            mean = block.mean(0)
            block -= mean
            part = cls(len(block), mean, block.T @ block)
            merged = part if merged is None else merged.merge(part)
        assert merged is not None
        return merged

    def merge(self, other: CoMoments) -> CoMoments:
        """Return the co-moments of both parts together (Chan, Golub, LeVeque 1983).

        The products are added in the array of this part, which must not be used again: a second
        array of all pairs of genes has 2.6 GB at 18,000 genes.
        """
        n = self.n + other.n
        if not n:
            return self
        gap = other.mean - self.mean
        weighted = gap * (self.n / n * other.n)
        for at in range(0, len(self.products), _ROWS):
            rows = self.products[at : at + _ROWS]
            rows += other.products[at : at + _ROWS]
            gene = self.first + at
            rows += np.outer(weighted[gene : gene + len(rows)], gap)
        mean = self.mean + gap * (other.n / n)
        return CoMoments(n, mean, self.products, self.first)


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
    rank (n + 1) / 2, the deviation of a zero is u = -(positive values) / 2. So the sum over cells
    is rise_i . rise_j + u_i sum(rise_j) + u_j sum(rise_i) + n u_i u_j: sparse, and terms cancel
    by a small factor at most. All are multiples of 1/4, exact below 2^51 (some 190,000 cells).

    Parameters
    ----------
    positive
        [genes] cells with a positive value.
    n_cells
        All cells.
    first, stop
        Genes whose rows are computed.
    """

    def __init__(self, positive: np.ndarray, n_cells: int, first: int, stop: int) -> None:
        self._n, self._u = n_cells, -np.asarray(positive, np.float64) / 2
        self._rows = slice(first, stop)
        self._sums, self._squares = np.zeros((2, len(positive)))
        self._products = np.zeros((stop - first, len(positive)))

    def add(self, rises: sparse.csr_matrix) -> None:
        """Add cells: [cells, genes] of :func:`rise`."""
        for at in range(0, rises.shape[0], CELLS_AT_ONCE):
            block = rises[at : at + CELLS_AT_ONCE].toarray()
            self._products += block[:, self._rows].T @ block
            self._sums += block.sum(0)
            self._squares += np.einsum("cg,cg->g", block, block)

    def correlation(self) -> np.ndarray:
        """Return [rows, genes] float32 correlations; 0 where a gene does not vary."""
        u, s, here = self._u, self._sums, self._rows
        products = self._products
        products += np.outer(u[here], s)
        products += np.outer(s[here], u)
        products += self._n * np.outer(u[here], u)
        return correlation(products, self._squares + 2 * u * s + self._n * u**2, here.start)
