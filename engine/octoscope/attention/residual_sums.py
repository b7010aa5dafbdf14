"""Mean residual stream per gene: what the estimator ``mean_residual`` attends with."""

from __future__ import annotations

import numpy as np
import torch

from octoscope.device_copies import sent
from octoscope.errors import MassError


class ResidualSums:
    """Sum of the residual stream that enters a layer, per gene, over cells.

    Attributes
    ----------
    sums
        [genes, d] float64 tensor.
    """

    def __init__(self, n_genes: int, d: int, *, device: torch.device) -> None:
        self.sums = torch.zeros((n_genes, d), dtype=torch.float64, device=device)

    def add(self, residual: torch.Tensor, panel: np.ndarray) -> None:
        """Add a batch.

        Parameters
        ----------
        residual
            [cells, tokens, d].
        panel
            [cells, tokens] index of the token's gene, -1 otherwise; a gene once per cell.
        """
        cell, at = np.nonzero(panel >= 0)
        ends = np.searchsorted(cell, np.arange(1, len(panel))).tolist()
        indices = sent(np.stack([panel[cell, at], at]), self.sums.device)
        for state, index in zip(residual, indices.tensor_split(ends, dim=1), strict=True):
            genes, tokens = index
            # genes are unique within a cell, so no two additions meet and the order is fixed
            self.sums[genes] += state[tokens].double()

    def check(self, where: str) -> None:
        """Refuse sums that are not finite.

        Raises
        ------
        MassError
            Naming the layer and a gene.
        """
        finite = torch.isfinite(self.sums).all(1)
        if not bool(finite.all()):
            gene = int(torch.nonzero(~finite)[0])
            raise MassError(f"{where}: the residual stream of gene {gene} is not finite")


def mean_cells(sums: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Return [3, genes, d] float32 means: of half 0, of half 1, of all cells.

    Parameters
    ----------
    sums
        [2, genes, d] float64, one block per half.
    cells
        [2, genes] cells that hold the gene; where there is none, the mean is 0.
    """
    total = np.concatenate([sums, sums.sum(0, keepdims=True)])
    return divided(total, np.concatenate([cells, cells.sum(0, keepdims=True)]))


def divided(sums: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Return means [..., genes, d] float32 of sums over cells [..., genes]; 0 without a cell."""
    n = cells[..., None]
    return np.divide(sums, n, out=np.zeros_like(sums), where=n > 0).astype(np.float32)


def present(cells: np.ndarray, min_cells: int) -> np.ndarray:
    """Return [3, genes] bool: genes with enough cells in half 0, half 1 and in all.

    A half needs half of ``min_cells``.
    """
    need = -(-min_cells // 2)
    return np.stack([cells[0] >= need, cells[1] >= need, cells.sum(0) >= min_cells])
