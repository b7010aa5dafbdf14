"""Interface of analyses to a run's finished matrices; the results room implements it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pandas as pd

from octoscope.analysis.derived_views import DerivedViews
from octoscope.analysis.donor_jackknife import LeaveOneGroupOut
from octoscope.analysis.matrix import MatrixSource
from octoscope.run_plan.values import Plan


@dataclass(frozen=True)
class GeneMoments:
    """Log-normalised counts of each gene over the cells of a category.

    Attributes
    ----------
    cells
        [3] int64 cells of half 0, of half 1 and of both.
    mean, variance
        [3, genes] float64 over these cells, zeros included.
    """

    cells: np.ndarray
    mean: np.ndarray
    variance: np.ndarray


class FinishedMatrices(Protocol):
    """The matrices of a run. It is small, so that a Dask task can carry it to a worker.

    ``model`` is the name of an attention variant or of a co-expression entry, ``category`` an index
    into ``plan.categories``. Methods raise DamagedRunError if a matrix is not finished or is gone.
    """

    @property
    def plan(self) -> Plan:
        """The plan of the run."""
        ...

    def has(self, work: str) -> bool:
        """Tell whether a piece of work is finished."""
        ...

    def sums(self, model: str, category: int, layer: int, *, cache_bytes: int = 0) -> MatrixSource:
        """Return a matrix as its sums over cells, which stay in memory if they take no more."""
        ...

    def matrix(
        self, model: str, category: int, layer: int, cache_bytes: int | None = None
    ) -> DerivedViews:
        """Return a matrix with every view; None: the one that this process read last, cached."""
        ...

    def layers(
        self, model: str, category: int, cache_bytes: int | None = None, *, at_once: bool = False
    ) -> Mapping[int, DerivedViews]:
        """Return the layers of a variant; opened on access, or all ``at_once``.

        ``cache_bytes``: memory that they share; None: the plan's limit for a task.
        """
        ...

    def eligible_pairs(self, model: str, category: int) -> np.ndarray:
        """Return [genes, genes] bool: pairs with enough cells."""
        ...

    def leave_donors_out(self, model: str, category: int, layer: int) -> LeaveOneGroupOut | None:
        """Return a matrix without each group of donors; None if it has no groups."""
        ...

    def correlations_within_donors(
        self, model: str, category: int, genes: np.ndarray
    ) -> Callable[[], Iterator[tuple[int, np.ndarray]]] | None:
        """Return a reader of Pearson's correlation about the means of each donor group.

        It yields (first row, [half 0, half 1, all cells; rows; genes] float32). None if the entry
        is not Pearson's or the category has no donor groups.
        """
        ...

    def mean_cell_genes(self, model: str, category: int) -> np.ndarray:
        """Return [genes] bool: tokens of the mean of all cells of a category."""
        ...

    def mean_residuals(self, model: str, category: int, layer: int) -> np.ndarray:
        """Return [genes, d] float32: the mean residual stream before a layer."""
        ...

    def gene_embeddings(self, model: str, category: int) -> np.ndarray | None:
        """Return [genes, width] float32: the checkpoint's own embedding of each gene.

        None: the family gives none, or the run is imported or of a version that kept none.
        """
        ...

    def gene_moments(self, model: str, category: int) -> GeneMoments | None:
        """Return the moments of each gene's log expression, from a co-expression entry.

        None if the entry was written by a version that did not keep them.
        """
        ...

    def matrix_table(self, name: str, model: str, category: int, layer: int) -> pd.DataFrame:
        """Return a table of a matrix: topk, stats, genes, histogram, mass, edges."""
        ...

    def table(self, name: str) -> pd.DataFrame:
        """Return a table of the run by its path without ``.parquet``, e.g. ``tables/stats``."""
        ...
