"""Matrices without each group of donors: of sums, of mean cells, and derived views."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from octoscope.analysis import statistics
from octoscope.analysis.derived_views import Fit, parts_of
from octoscope.analysis.donor_jackknife import Block, LeaveOneGroupOut
from octoscope.analysis.kernels import add_sums
from octoscope.attention.views import one_view, quantity_of
from octoscope.row_blocks import row_ranges

if TYPE_CHECKING:
    from octoscope.attention.mean_cell_attention import MeanCell  # it imports torch

Rows = Callable[[int, int, int], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class SumsLeaveOneOut:
    """Sums over cells less those of each group.

    Attributes
    ----------
    donors, cells
        Of each group, donors and cells used.
    groups
        Of each group, a reader of rows (first, stop, quantity): sums [rows, genes] float64 and
        cells that hold each pair [rows, genes] int32.
    n_genes
        Genes of the axis.
    min_cells
        Cells that a pair needs, in the whole.
    tile
        Rows that are read at once.
    """

    donors: Sequence[int]
    cells: Sequence[int]
    groups: Sequence[Rows]
    n_genes: int
    min_cells: int
    tile: int

    def blocks(self, genes: np.ndarray, view: str) -> Iterator[Block]:
        """Yield row blocks; in the marginal view every group counts, holding the pair or not."""
        quantity, every = quantity_of(view), sum(self.cells)
        for first, stop in row_ranges(self.n_genes, self.tile):
            inside = (genes >= first) & (genes < stop)
            if not inside.any():
                continue
            at = np.ix_(genes[inside] - first, genes)
            shape = len(self.groups), int(inside.sum()), len(genes)
            sums, pairs = np.empty(shape), np.empty(shape, np.int32)
            for g, read in enumerate(self.groups):
                of_sums, of_pairs = read(first, stop, quantity)
                sums[g], pairs[g] = of_sums[at], of_pairs[at]
            holds = pairs > 0
            if view == "marginal":
                holds[:] = True
            total = pairs.sum(0, dtype=np.int32)
            np.subtract(sums.sum(0), sums, out=sums)
            np.subtract(total, pairs, out=pairs)
            values = np.empty(shape, np.float32)
            for g, cells in enumerate(self.cells):
                values[g] = one_view(sums[g], pairs[g], every - cells, view)
            known = pairs > 0
            del sums, pairs
            yield Block(int(np.argmax(inside)), values, known, holds, total >= self.min_cells)


@dataclass(frozen=True)
class MeanCellsLeaveOneOut:
    """Mean cells without each group of donors.

    Attributes
    ----------
    donors
        Of each group.
    parts
        The mean cell without it: its tokens are those of the whole that another cell holds.
    holds
        [groups, genes] bool: a cell of the group holds the gene.
    present
        [genes] bool, the tokens of the whole.
    tile
        Rows that are computed at once.
    """

    donors: Sequence[int]
    parts: Sequence[MeanCell]
    holds: np.ndarray
    present: np.ndarray
    tile: int

    def blocks(self, genes: np.ndarray, view: str) -> Iterator[Block]:
        """Yield row blocks; a group counts for a pair where it holds either gene."""
        quantity = quantity_of(view)
        for first, stop in row_ranges(len(self.present), self.tile):
            rows = genes[(genes >= first) & (genes < stop)]
            if not len(rows):
                continue
            at = np.ix_(rows - first, genes)
            values = np.stack([p.rows(quantity, first, stop)[at] for p in self.parts])
            known = np.stack([p.present[rows, None] & p.present[genes] for p in self.parts])
            holds = self.holds[:, rows, None] | self.holds[:, None, genes]
            eligible = self.present[rows, None] & self.present[genes]
            yield Block(int(np.searchsorted(genes, rows[0])), values, known, holds, eligible)


class DerivedLeaveOneOut:
    """A matrix without each group that adds ``v.centred`` and ``v.absolute`` to every view ``v``.

    Gene effects are fitted again without each group, over the eligible pairs that still have a
    cell. A group counts for a pair if it holds the pair, as in the plain view, although it changes
    every pair a little through the effects.
    """

    def __init__(self, matrix: LeaveOneGroupOut) -> None:
        self._matrix = matrix
        self._fitted: dict[tuple[str, bytes], list[Fit]] = {}

    @property
    def donors(self) -> Sequence[int]:
        """Donors in each group."""
        return self._matrix.donors

    def blocks(self, genes: np.ndarray, view: str) -> Iterator[Block]:
        """Yield row blocks, of the rows and columns of a gene set."""
        plain, centred, absolute = parts_of(view)
        fits = self._fits(genes, plain) if centred else None
        for b in self._matrix.blocks(genes, plain):
            values = b.values
            if fits is not None:
                here = slice(b.first, b.first + values.shape[1])
                values = np.empty_like(values)
                for g, (rows, columns) in enumerate(fits):
                    values[g] = b.values[g] - rows[here, None] - columns
            yield replace(b, values=np.abs(values) if absolute else values)

    def _fits(self, genes: np.ndarray, view: str) -> list[Fit]:
        """Return the effects of each group's matrix; the fit keeps pairs in use as bits."""
        key = view, genes.tobytes()
        if key not in self._fitted:
            self._fitted[key] = self._fit(genes, view)
        return self._fitted[key]

    def _fit(self, genes: np.ndarray, view: str) -> list[Fit]:
        n, groups = len(genes), len(self.donors)
        use = np.zeros((groups, n, -(-n // 8)), np.uint8)
        rows, columns = np.zeros((2, groups, n))
        for b in self._matrix.blocks(genes, view):
            at = np.arange(b.values.shape[1])
            for g in range(groups):
                used = b.usable(g)
                used[at, at + b.first] = False
                add_sums(b.values[g], used, b.first, rows[g], columns[g])
                use[g, at + b.first] = np.packbits(used, axis=1)
        return [
            statistics.additive_fit(
                np.unpackbits(bits, axis=1, count=n).view(bool), rows[g], columns[g]
            )
            for g, bits in enumerate(use)
        ]
