"""Matrices of one category for the analyses: row tiles of sums, values, halves, pairs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from threading import Lock
from typing import Protocol

import numpy as np

from octoscope.attention.views import one_view, quantity_of
from octoscope.attention.welford import Spread
from octoscope.config.view_names import CORRELATION
from octoscope.row_blocks import row_ranges
from octoscope.run_plan.values import ModelPlan


class PairMatrix(Protocol):
    """A matrix as every analysis reads it; genes are positions in the given set.

    Attributes
    ----------
    n_genes
        Genes of the accumulated axis.
    cells
        Cells in each half; None: not known, and no half is.
    min_cells
        Cells that a pair needs in both halves together; None: not known.
    moments
        2 where the spread between cells is known.
    """

    @property
    def n_genes(self) -> int:
        """Genes of the axis."""
        ...

    @property
    def cells(self) -> tuple[int, int] | None:
        """Cells in each half."""
        ...

    @property
    def min_cells(self) -> int | None:
        """Cells a pair needs."""
        ...

    @property
    def moments(self) -> int:
        """Moments that are known."""
        ...

    def values(self, genes: np.ndarray, view: str) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """Yield (first row, values, eligible) of the total over both halves."""
        ...

    def halves(
        self, genes: np.ndarray, view: str
    ) -> Iterator[tuple[int, np.ndarray, np.ndarray, np.ndarray]]:
        """Yield (first row, values of half 0, of half 1, usable): off-diagonal pairs only."""
        ...

    def values_at(
        self, genes: np.ndarray, view: str, query: np.ndarray, key: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return [pairs] cells that hold both genes, and [2, pairs] values in each half."""
        ...

    def cell_deviation(self, genes: np.ndarray, query: np.ndarray, key: np.ndarray) -> np.ndarray:
        """Return [pairs] standard deviation between cells; NaN where it is not known."""
        ...


class Tile(Protocol):
    """Rows of a matrix, stored or computed at access.

    Attributes
    ----------
    first
        Index of the first row.
    m2
        [2, rows, genes] float32 sums of squared deviations of the probability, where followed.
    """

    @property
    def first(self) -> int:
        """Index of the first row."""
        ...

    @property
    def rows(self) -> int:
        """Number of rows."""
        ...

    @property
    def m2(self) -> np.ndarray | None:
        """Sums of squared deviations."""
        ...

    def half(self, h: int, quantity: int) -> np.ndarray:
        """Return one quantity of half ``h``, [rows, genes] float32."""
        ...

    def both(self, quantity: int) -> np.ndarray:
        """Return one quantity of both halves together, [rows, genes]."""
        ...

    def n_cells(self, h: int) -> np.ndarray:
        """Return the cells of half ``h`` that hold each pair, [rows, genes] int32."""
        ...

    def n_cells_of_both(self) -> np.ndarray:
        """Return the cells of both halves together that hold each pair."""
        ...


@dataclass(frozen=True)
class HalfTile:
    """Rows that are in memory.

    Attributes
    ----------
    first
        Index of the first row.
    sums
        [2, quantities, rows, genes] float32, one block per half.
    pairs
        [2, rows, genes] int32.
    total, total_pairs
        [quantities, rows, genes] float32 and [rows, genes] int32 of both halves together, where
        they are not the sums of the halves.
    m2
        [2, rows, genes] float32 sums of squared deviations of the probability, where followed.
    """

    first: int
    sums: np.ndarray
    pairs: np.ndarray
    total: np.ndarray | None = None
    total_pairs: np.ndarray | None = None
    m2: np.ndarray | None = None

    @property
    def rows(self) -> int:
        """Number of rows."""
        return self.pairs.shape[1]

    def half(self, h: int, quantity: int) -> np.ndarray:
        """Return one quantity of half ``h``, [rows, genes] float32."""
        return self.sums[h, quantity]

    def both(self, quantity: int) -> np.ndarray:
        """Return one quantity of both halves together, [rows, genes]."""
        if self.total is not None:
            return self.total[quantity]
        return self.sums[:, quantity].astype(np.float64).sum(0)

    def n_cells(self, h: int) -> np.ndarray:
        """Return the cells of half ``h`` that hold each pair, [rows, genes] int32."""
        return self.pairs[h]

    def n_cells_of_both(self) -> np.ndarray:
        """Return the cells of both halves together that hold each pair."""
        return self.pairs.sum(0) if self.total_pairs is None else self.total_pairs


class TileReader(Protocol):
    """Reads row tiles of a matrix, any number of times."""

    def __call__(self, rows: np.ndarray | None = None) -> Iterable[Tile]:
        """Yield tiles in order of rows.

        ``rows``: [rows] positions on the axis; only tiles that hold one of them. None: all.
        """
        ...


def cached_tiles(read: TileReader, n_genes: int, height: int) -> TileReader:
    """Return a reader of the same tiles, ``height`` rows each, that keeps what it has read."""
    kept: dict[int, Tile] = {}
    filling = Lock()  # Dask's threads may share a matrix

    def cached(rows: np.ndarray | None = None) -> Iterable[Tile]:
        firsts = [first for first, _ in row_ranges(n_genes, height, rows)]
        with filling:
            missing = [first for first in firsts if first not in kept]
            if missing:
                kept.update((t.first, t) for t in read(np.array(missing)))
        return [kept[first] for first in firsts]

    return cached


@dataclass(frozen=True)
class MatrixSource:
    """A matrix that can be read any number of times.

    Attributes
    ----------
    tiles
        Each call yields row tiles in order.
    n_genes
        Genes of the accumulated axis.
    cells
        Cells in each half; None: not known, and no half is.
    min_cells
        Cells that a pair needs in both halves together; None: not known, and tiles hold 1 where
        there is a value.
    means
        Whether the values are means (of a mean cell) and not sums over cells.
    moments
        2 where tiles have ``m2``.
    """

    tiles: TileReader
    n_genes: int
    cells: tuple[int, int] | None
    min_cells: int | None
    means: bool = False
    moments: int = 1

    def _view(self, sums: np.ndarray, pairs: np.ndarray, n_cells: int, view: str) -> np.ndarray:
        return one_view(sums, pairs, n_cells, view, means=self.means)

    def values(
        self, genes: np.ndarray, view: str, positions: np.ndarray | None = None
    ) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """Yield (first row, values, eligible) of the total over both halves, for a gene set.

        Rows and columns are positions in ``genes`` (ascending axis indices). ``positions``: [rows]
        positions in ``genes``; only the blocks that hold one of them are read, and yielded whole.
        """
        for first, tile, rows in self._rows(genes, positions):
            pairs = _cut(tile.n_cells_of_both(), rows, genes)
            sums = _cut(tile.both(quantity_of(view)), rows, genes)
            del tile  # whoever reads many matrices in step holds their values, not their tiles
            values = self._view(sums, pairs, sum(self.cells or ()), view)
            del sums
            yield first, values, pairs >= (self.min_cells or 1)

    def halves(
        self, genes: np.ndarray, view: str
    ) -> Iterator[tuple[int, np.ndarray, np.ndarray, np.ndarray]]:
        """Yield (first row, values of half 0, of half 1, usable): off-diagonal pairs only.

        A pair is usable when it is eligible and each half has half of ``min_cells``; none is where
        no half is known.
        """
        if self.cells is None or self.min_cells is None:
            for first, _, rows in self._rows(genes):
                nothing = np.zeros((len(rows), len(genes)), np.float32)
                yield first, nothing, nothing, np.zeros(nothing.shape, bool)
            return
        need = -(-self.min_cells // 2)
        for first, tile, rows in self._rows(genes):
            pairs = [_cut(tile.n_cells(h), rows, genes) for h in (0, 1)]
            use = _cut(tile.n_cells_of_both(), rows, genes) >= self.min_cells
            use &= (pairs[0] >= need) & (pairs[1] >= need)
            at = np.arange(len(rows))
            use[at, at + first] = False
            x, y = (
                self._view(
                    _cut(tile.half(h, quantity_of(view)), rows, genes),
                    pairs[h],
                    self.cells[h],
                    view,
                )
                for h in (0, 1)
            )
            del tile, pairs
            yield first, x, y, use

    def values_at(
        self, genes: np.ndarray, view: str, query: np.ndarray, key: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return [pairs] cells that hold both genes, and [2, pairs] values in each half.

        ``query`` and ``key`` are positions in ``genes``; a half without such cells gives NaN. Where
        :attr:`cells` is None the first means nothing.
        """
        cells = np.zeros(len(query), np.int64)
        values = np.full((2, len(query)), np.nan, np.float32)
        if self.cells is None:
            return cells, values
        for first, tile, rows in self._rows(genes):
            here = np.flatnonzero((query >= first) & (query < first + len(rows)))
            i, j = rows[query[here] - first], genes[key[here]]
            if not len(here):
                continue
            cells[here] = tile.n_cells_of_both()[i, j]
            for h in (0, 1):
                sums, n_cells = tile.half(h, quantity_of(view))[i, j], tile.n_cells(h)[i, j]
                selected = self._view(sums, n_cells, self.cells[h], view)
                least = 2 if view == CORRELATION else 1  # one cell has no correlation
                known = n_cells >= least
                values[h, here] = np.where(known, selected, np.float32(np.nan))
        return cells, values

    def cell_deviation(self, genes: np.ndarray, query: np.ndarray, key: np.ndarray) -> np.ndarray:
        """Return [pairs] float32: standard deviation of a pair's probability between cells.

        Over the cells of both halves that hold both genes; needs two moments.
        """
        deviation = np.full(len(query), np.nan, np.float32)
        for first, tile, rows in self._rows(genes):
            if tile.m2 is None:
                break
            here = np.flatnonzero((query >= first) & (query < first + len(rows)))
            i, j = rows[query[here] - first], genes[key[here]]
            x, y = (
                Spread(tile.n_cells(h)[i, j], tile.half(h, 0)[i, j].astype(float), tile.m2[h, i, j])
                for h in (0, 1)
            )
            deviation[here] = x.merge(y).deviation()
        return deviation

    def _rows(
        self, genes: np.ndarray, positions: np.ndarray | None = None
    ) -> Iterator[tuple[int, Tile, np.ndarray]]:
        for tile in self.tiles() if positions is None else self.tiles(genes[positions]):
            inside = (genes >= tile.first) & (genes < tile.first + tile.rows)
            if inside.any():
                block = [(int(np.argmax(inside)), tile, genes[inside] - tile.first)]
                del tile
                yield block.pop()  # only the caller has a reference


def _cut(block: np.ndarray, rows: np.ndarray, genes: np.ndarray) -> np.ndarray:
    """Return the given rows and columns; without a copy if they are all."""
    if block.shape == (len(rows), len(genes)):
        return block
    return block[np.ix_(rows, genes)]


def matrix_bytes(m: ModelPlan) -> int:
    """Return the bytes of an open matrix: cached rows, and queries and keys of mean cells."""
    n, mean = len(m.axis), m.estimator == "mean_residual"
    return 32 * n * n + 2 * 3 * n * m.d * 2 * 4 * mean  # by head, and side by side
