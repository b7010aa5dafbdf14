"""Sums of attention over cells, layer by layer: never [cells, heads, tokens, tokens].

The device chooses how (:mod:`.reductions`). Each way adds in fp32 inside a logical micro-batch, or
in fp64, and in fp64 across. Memory is the accumulator plus a few blocks, whatever the number of
cells and heads. The accumulator may be some rows of genes alone, and cells are added again for
the others.
"""

from __future__ import annotations

import numpy as np
import torch

from octoscope.attention.query_key_batch import BatchLayout, Heads, QKBatch
from octoscope.attention.reductions import Accumulators, Reduction, reduction_on
from octoscope.attention.views import QUANTITIES
from octoscope.device_copies import sent
from octoscope.errors import MassError

__all__ = ["BatchLayout", "Heads", "LayerSums", "PairCounts", "QKBatch"]


class LayerSums:
    """Sums of one layer over the cells added so far.

    Parameters
    ----------
    heads
        Reductions over heads, each within a cell: ``mean``, ``max`` or the index of one head.

    moments
        2: also follow the spread of each pair's probability over the cells that hold both genes.
    logits_alone
        Nothing is normalised: probability, lift and mass stay 0 (see :mod:`.logits`). Neither
        ``max`` nor two moments can be had then.
    reduction
        How cells are added; None: the fastest way of the device.
    rows
        Genes [first, stop) whose queries are added, in whole tiles; None: all. Their sums have
        the same bits as among those of all genes.

    Attributes
    ----------
    sums
        [reductions, quantities, rows, genes] float64 tensor: sum over cells of probability, of
        tokens x probability (lift), of logit. ``max`` takes the largest of each over heads.
    mass
        [reductions, rows, mass columns] float64 tensor: attention of each query gene to kept
        genes (first column) and to each other kind of key. Sums of ``max`` exceed one per cell.
    spread
        [reductions, rows, genes] float64 tensor with two moments, else None: sum over cells of
        the squared deviation of the probability from its mean (M2).
    cells
        [rows] int64 tensor: cells in which the gene is a query.

    Raises
    ------
    ValueError
        If what is asked for cannot be summed, or ``rows`` are no whole tiles.
    """

    def __init__(
        self,
        n_genes: int,
        mass_columns: tuple[str, ...],
        *,
        tile: int,
        device: torch.device,
        heads: tuple[Heads, ...] = ("mean",),
        moments: int = 1,
        logits_alone: bool = False,
        reduction: Reduction | None = None,
        rows: tuple[int, int] | None = None,
    ) -> None:
        if logits_alone and ("max" in heads or moments > 1):
            raise ValueError("logits alone have neither a largest over heads nor a second moment")
        self.rows = (0, n_genes) if rows is None else rows
        first, stop = self.rows
        if first % tile or (stop % tile and stop != n_genes) or not 0 <= first < stop <= n_genes:
            raise ValueError(f"rows {first} to {stop} of {n_genes} are no whole tiles of {tile}")
        self.logits_alone = logits_alone
        self.n_genes, self.mass_columns = n_genes, mass_columns
        self._reduction = reduction or reduction_on(device.type, tile)
        self.heads = heads
        size = (len(heads), len(QUANTITIES), stop - first, n_genes)
        self.sums = torch.zeros(size, dtype=torch.float64, device=device)
        shape = (len(heads), stop - first, len(mass_columns))
        self.mass = torch.zeros(shape, dtype=torch.float64, device=device)
        self.cells = torch.zeros(stop - first, dtype=torch.int64, device=device)
        self.spread: torch.Tensor | None = None
        n_cells: torch.Tensor | None = None
        if moments == 2:
            size_of_spread = (len(heads), stop - first, n_genes)
            self.spread = torch.zeros(size_of_spread, dtype=torch.float64, device=device)
            n_cells = torch.zeros((stop - first, n_genes), dtype=torch.int32, device=device)
        self._into = Accumulators(
            heads, self.sums, self.mass, self.spread, n_cells, logits_alone, first
        )

    def add(self, parts: list[QKBatch]) -> None:
        """Add one logical micro-batch, given as the physical batches that it ran in."""
        for part in parts:
            cells = gene_cells(part.layout, self.n_genes)[slice(*self.rows)]
            self.cells += sent(cells, self.cells.device)
        self._reduction.add(parts, self._into)

    def check_mass(self, where: str, tolerance: float = 1e-5) -> None:
        """Refuse sums whose attention rows do not total one per cell; of logits, infinite ones.

        Raises
        ------
        MassError
            Naming the layer and the worst gene; NaN and infinity land here too.
        """
        used = self.cells > 0
        if not bool(used.any()):
            return
        finite = bool(torch.isfinite(self.sums.sum()))
        if self.logits_alone:
            if not finite:
                raise MassError(f"{where}: sums of logits are not finite")
            return
        total = self.mass.sum(2)[:, used] / self.cells[used]
        gap = (total - 1).abs()
        for r, heads in enumerate(self.heads):
            if heads == "max":  # the largest over heads total one or more
                gap[r] = (1 - total[r]).clamp(min=0) + 0 * total[r]
        gap = torch.where(torch.isfinite(gap), gap, torch.inf)
        worst = int(gap.argmax())
        if float(gap.ravel()[worst]) > tolerance or not finite:
            gene = self.rows[0] + int(torch.nonzero(used)[worst % gap.shape[1]])
            raise MassError(
                f"{where}: attention mass of query gene {gene} is "
                f"{float(total.ravel()[worst]):.6g} per cell, expected 1 +- {tolerance:g}"
                + ("" if finite else "; sums are not finite")
            )


def gene_cells(layout: BatchLayout, n_genes: int) -> np.ndarray:
    """Return [genes] int64: cells of a batch that hold each gene, which is a token at most once."""
    return np.bincount(layout.panel[layout.panel >= 0], minlength=n_genes)


class PairCounts:
    """n_ij: cells that hold both genes as tokens; shared by all layers of a unit.

    ``rows``: genes [first, stop) whose pairs are counted; None: all.

    Attributes
    ----------
    counts
        [rows, genes] int32 tensor.
    """

    def __init__(self, n_genes: int, *, tile: int, rows: tuple[int, int] | None = None) -> None:
        self._first, self._stop = (0, n_genes) if rows is None else rows
        self.counts = torch.zeros((self._stop - self._first, n_genes), dtype=torch.int32)
        self._tile = tile

    def add(self, layout: BatchLayout) -> None:
        """Add the cells of a batch."""
        n = self.counts.shape[1]
        present = np.zeros((len(layout.panel), n), np.float32)
        cell, token = np.nonzero(layout.panel >= 0)
        present[cell, layout.panel[cell, token]] = 1
        presence = torch.from_numpy(present)
        for r in range(self._first, self._stop, self._tile):
            rows = slice(r, min(r + self._tile, self._stop))
            # float32 counts of a batch are exact far below 2**24 cells
            counts = (presence[:, rows].T @ presence).to(torch.int32)
            self.counts[rows.start - self._first : rows.stop - self._first] += counts
