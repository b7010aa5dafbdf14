"""Matrices of a run without each group of donors, while the sums of its units are there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from engine.attention.mean_cell import MeanCell
from engine.attention.views import one_view, quantity_of
from engine.store import tiles

Rows = Callable[[int, int], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class SumsWithoutDonors:
    """Sums over cells less those of each group.

    Attributes
    ----------
    donors, cells
        Of each group, donors and cells used.
    groups
        Of each group, a reader of rows [first, stop): sums [quantities, rows, genes] float64 and
        cells that hold each pair [rows, genes].
    n_genes
        Genes of the axis.
    min_cells
        Cells that a pair needs in the whole; without a group as many fewer as cells are fewer.
    tile
        Rows that are read at once.
    """

    donors: Sequence[int]
    cells: Sequence[int]
    groups: Sequence[Rows]
    n_genes: int
    min_cells: int
    tile: int

    def values(
        self, genes: np.ndarray, view: str
    ) -> Iterator[tuple[int, np.ndarray, np.ndarray, np.ndarray]]:
        """Yield (first row, values, known, eligible), each [groups, rows, genes]."""
        quantity, every = quantity_of(view), sum(self.cells)
        need = floors(self.min_cells, self.cells)
        for first, stop in tiles.row_ranges(self.n_genes, self.tile):
            inside = (genes >= first) & (genes < stop)
            if not inside.any():
                continue
            at = np.ix_(genes[inside] - first, genes)
            read = [(s[quantity][at], p[at]) for s, p in (of(first, stop) for of in self.groups)]
            sums, pairs = (np.stack(part) for part in zip(*read, strict=True))
            left, held = sums.sum(0) - sums, pairs.sum(0) - pairs
            values = np.stack([
                one_view(left[g], held[g], every - c, view) for g, c in enumerate(self.cells)
            ])  # fmt: skip
            enough = held >= need[:, None, None]
            yield int(np.argmax(inside)), values, held > 0, enough


@dataclass(frozen=True)
class MeanCellsWithoutDonors:
    """Mean cells without each group of donors.

    Attributes
    ----------
    donors
        Of each group.
    parts
        The mean cell without it, whose tokens are the genes that enough other cells hold.
    n_genes
        Genes of the axis.
    tile
        Rows that are computed at once.
    """

    donors: Sequence[int]
    parts: Sequence[MeanCell]
    n_genes: int
    tile: int

    def values(
        self, genes: np.ndarray, view: str
    ) -> Iterator[tuple[int, np.ndarray, np.ndarray, np.ndarray]]:
        """Yield (first row, values, known, eligible), each [groups, rows, genes]."""
        quantity = quantity_of(view)
        for first, stop in tiles.row_ranges(self.n_genes, self.tile):
            inside = (genes >= first) & (genes < stop)
            if not inside.any():
                continue
            at = np.ix_(genes[inside] - first, genes)
            values = np.stack([p.rows(quantity, first, stop)[at] for p in self.parts])
            there = np.stack([p.there[genes[inside], None] & p.there[genes] for p in self.parts])
            yield int(np.argmax(inside)), values, there, there


def floors(min_cells: int, cells: Sequence[int]) -> np.ndarray:
    """Return [groups] cells that are enough without each group: fewer, as cells are fewer.

    ``cells``: of each group.
    """
    every = max(sum(cells), 1)
    return np.array([max(1, -(-min_cells * (every - c) // every)) for c in cells])
