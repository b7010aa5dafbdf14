"""Ranks of all cells of a category, and Spearman's correlation of its genes block by block."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import sparse

from octoscope.attention.comoments import RankProducts, rise
from octoscope.results.stored_sums import unit_rows
from octoscope.store import tiles
from octoscope.store.commits import Record
from octoscope.store.run_dir import RunRoot

_RANKED = 1 << 21  # values that are ranked at once: 64 MB with their order
BLOCK_BYTES = 256 << 20  # of a block of rows in float64; three more are used beside it


def cells_used(records: Sequence[Record]) -> int:
    """Return how many cells units used."""
    return sum(int(r.metrics["cells_used"]) for r in records)


def rows_at_once(n: int, tile: int) -> int:
    """Return the rows of a block of correlations: whole tiles of at most ``BLOCK_BYTES``."""
    return max(BLOCK_BYTES // (8 * n) // tile, 1) * tile


@dataclass(frozen=True)
class RankedCells:
    """By how much the rank of each positive value of some units exceeds that of the zeros.

    Attributes
    ----------
    records
        Units of the cells.
    positive
        [genes] cells with a positive value.
    ends
        [units, genes + 1] where the values of each gene end in those of a unit.
    begin
        [units + 1] where the values of each unit begin.
    rises
        [values] float64 on disk, by unit and gene.
    """

    root: RunRoot
    records: list[Record]
    positive: np.ndarray
    ends: np.ndarray
    begin: np.ndarray
    rises: np.ndarray

    @classmethod
    def of(cls, root: RunRoot, records: list[Record], n: int, file: Path) -> RankedCells:
        """Rank each gene over the cells of all units.

        Parameters
        ----------
        file
            Where the ranks are kept, which are made by gene and read by cell.
        """
        n_cells = cells_used(records)
        rows = [e[0] for e in unit_rows(root, records, "ends", 0, 1)]
        ends = np.stack(rows) if rows else np.zeros((0, n + 1), np.int64)
        positive = np.diff(ends, axis=1).sum(0)
        begin = np.concatenate([[0], np.cumsum(ends[:, -1])])  # of each unit's values
        if not begin[-1]:
            return cls(root, records, positive, ends, begin, np.zeros(0))
        rises = _on_disk(file, int(begin[-1]))
        reads = [tiles.open_array(root.zarr(f"{r.folder}/sums.zarr"), "values") for r in records]
        for genes in _gene_blocks(positive):
            parts = [
                tiles.read_rows(a, int(e[genes.start]), int(e[genes.stop]))[:, 0]
                for a, e in zip(reads, ends, strict=True)
            ]
            for gene in genes:
                lo = ends[:, gene] - ends[:, genes.start]
                hi = ends[:, gene + 1] - ends[:, genes.start]
                values = [v[a:b] for v, a, b in zip(parts, lo, hi, strict=True)]
                ranked = rise(np.concatenate(values), n_cells)
                for u, piece in enumerate(np.split(ranked, np.cumsum(hi - lo)[:-1])):
                    at = int(begin[u] + ends[u, gene])
                    rises[at : at + len(piece)] = piece
        return cls(root, records, positive, ends, begin, rises)

    def correlation(self, first: int, stop: int) -> np.ndarray:
        """Return [rows, genes] float32 Spearman correlations of some genes with all."""
        n, n_cells = len(self.positive), cells_used(self.records)
        if not n_cells:
            return np.zeros((stop - first, n), np.float32)
        total = RankProducts(self.positive, n_cells, first, stop)
        for u, record in enumerate(self.records):
            if not self.ends[u, -1]:
                continue
            cell = next(unit_rows(self.root, [record], "cell", 0, int(self.ends[u, -1])))[:, 0]
            shape = (int(record.metrics["cells_used"]), n)
            here = np.asarray(self.rises[self.begin[u] : self.begin[u + 1]])
            total.add(sparse.csc_matrix((here, cell, self.ends[u]), shape).tocsr())
        return total.correlation()


def _on_disk(path: Path, values: int) -> np.ndarray:
    """Return a new array [values] float64 in a file; a sparse one ends in SIGBUS on a full disk."""
    with path.open("wb") as handle:
        if hasattr(os, "posix_fallocate"):  # not on macOS
            os.posix_fallocate(handle.fileno(), 0, values * 8)
        handle.truncate(values * 8)
    return np.memmap(path, np.float64, "r+", shape=(values,))


def _gene_blocks(positive: np.ndarray) -> list[range]:
    """Divide genes into ranges of at most ``_RANKED`` values, or one gene."""
    blocks, first, n_values = [], 0, 0
    for gene, values in enumerate(positive):
        if n_values and n_values + values > _RANKED:
            blocks.append(range(first, gene))
            first, n_values = gene, 0
        n_values += int(values)
    return [*blocks, range(first, len(positive))]
