"""Derived matrices: without gene effects, without signs, or of pooled categories."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from octoscope.analysis import statistics
from octoscope.analysis.kernels import add_sums
from octoscope.analysis.matrix import HalfTile, MatrixSource, PairMatrix, Tile
from octoscope.attention.views import QUANTITIES
from octoscope.attention.welford import Spread
from octoscope.config.view_names import ABSOLUTE, CENTRED, plain_view

Fit = tuple[np.ndarray, np.ndarray]  # effects of rows and of columns


class DerivedViews:
    """A matrix that adds ``v.centred`` to every view ``v``, and ``.absolute`` to both.

    A centred value is what is left after the exact least-squares fit of row and column effects over
    the eligible pairs of different genes (of the halves: over the usable ones). The average-product
    correction of evolutionary couplings is the multiplicative sibling of this. An absolute value
    is its size, of all cells and of each half, so that whatever orders by value orders by size.
    """

    def __init__(self, matrix: MatrixSource) -> None:
        self._matrix = matrix
        self._fits: dict[tuple[str, bytes], Fit] = {}
        self._half_fits: dict[tuple[str, bytes], list[Fit]] = {}
        self.n_genes, self.cells = matrix.n_genes, matrix.cells
        self.min_cells, self.moments = matrix.min_cells, matrix.moments

    def values(
        self, genes: np.ndarray, view: str, positions: np.ndarray | None = None
    ) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """Yield (first row, values, eligible); ``positions`` as for :meth:`MatrixSource.values`.

        The effects that a centred view leaves out are fitted once, over all rows.
        """
        plain, centred, absolute = parts_of(view)
        if not (centred or absolute):
            yield from self._matrix.values(genes, view, positions)
            return
        rows, columns = self._fit(genes, plain) if centred else (None, None)
        for first, values, eligible in self._matrix.values(genes, plain, positions):
            if rows is not None:
                here = rows[first : first + len(values), None]
                values = (values - here - columns).astype(np.float32)
            yield first, np.abs(values) if absolute else values, eligible

    def halves(
        self, genes: np.ndarray, view: str
    ) -> Iterator[tuple[int, np.ndarray, np.ndarray, np.ndarray]]:
        """Yield (first row, values of half 0, of half 1, usable)."""
        plain, centred, absolute = parts_of(view)
        if not (centred or absolute):
            yield from self._matrix.halves(genes, view)
            return
        fits = self._fit_halves(genes, plain) if centred else None
        for first, x, y, use in self._matrix.halves(genes, plain):
            if fits is not None:
                here = slice(first, first + len(x))
                x, y = (
                    (v - rows[here, None] - columns).astype(np.float32)
                    for v, (rows, columns) in zip((x, y), fits, strict=True)
                )
            if absolute:
                x, y = np.abs(x), np.abs(y)
            yield first, x, y, use

    def values_at(
        self, genes: np.ndarray, view: str, query: np.ndarray, key: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return [pairs] cells that hold both genes, and [2, pairs] values in each half."""
        plain, centred, absolute = parts_of(view)
        cells, values = self._matrix.values_at(genes, plain, query, key)
        if centred:
            fits = self._fit_halves(genes, plain)
            values = np.stack(
                [v - r[query] - c[key] for v, (r, c) in zip(values, fits, strict=True)]
            ).astype(np.float32)
        return cells, np.abs(values) if absolute else values

    def gene_effects(self, genes: np.ndarray, view: str) -> Fit:
        """Return [genes] effects of rows and of columns of a plain view, by least squares."""
        return self._fit(genes, view)

    def cell_deviation(self, genes: np.ndarray, query: np.ndarray, key: np.ndarray) -> np.ndarray:
        """Return [pairs] standard deviation between cells of the pair's probability."""
        return self._matrix.cell_deviation(genes, query, key)

    def _fit(self, genes: np.ndarray, view: str) -> Fit:
        name = view, genes.tobytes()
        if name not in self._fits:
            n = len(genes)
            use, row_sums, col_sums = np.zeros((n, n), bool), np.zeros(n), np.zeros(n)
            for first, values, eligible in self._matrix.values(genes, view):
                here = slice(first, first + len(values))
                use[here] = eligible
                at = np.arange(len(values))
                use[at + first, at + first] = False
                add_sums(values, use[here], first, row_sums, col_sums)
            self._fits[name] = statistics.additive_fit(use, row_sums, col_sums)
        return self._fits[name]

    def _fit_halves(self, genes: np.ndarray, view: str) -> list[Fit]:
        name = view, genes.tobytes()
        if name not in self._half_fits:
            self._half_fits[name] = fit_halves(self._matrix, genes, view)
        return self._half_fits[name]


def parts_of(view: str) -> tuple[str, bool, bool]:
    """Return the plain view, and whether it is centred and absolute."""
    return plain_view(view), view.removesuffix(ABSOLUTE).endswith(CENTRED), view.endswith(ABSOLUTE)


def fit_halves(
    matrix: PairMatrix,
    genes: np.ndarray,
    view: str,
    also: Callable[[int, np.ndarray, np.ndarray, np.ndarray], None] = lambda first, x, y, use: None,
) -> list[Fit]:
    """Fit row and column effects of each half over its usable pairs.

    ``also`` is shown every block, so that one pass over the matrix serves twice.
    """
    n = len(genes)
    rows, columns = np.zeros((2, n)), np.zeros((2, n))
    usable = np.zeros((n, n), bool)
    for first, x, y, use in matrix.halves(genes, view):
        usable[first : first + len(x)] = use
        also(first, x, y, use)
        for h, v in enumerate((x, y)):
            add_sums(v, use, first, rows[h], columns[h])
    return [statistics.additive_fit(usable, rows[h], columns[h]) for h in (0, 1)]


def pooled(sources: Sequence[MatrixSource], min_cells: int) -> MatrixSource:
    """Return the pooled categories of one model and layer: sums and cells are added.

    Raises
    ------
    ValueError
        If their values are means already, as of mean cells and of co-expression.
    """
    if any(s.means for s in sources):
        raise ValueError("means of categories do not add up to the mean of all their cells")
    followed = all(s.moments == 2 for s in sources)

    def tiles(rows: np.ndarray | None = None) -> Iterator[HalfTile]:
        for parts in zip(*(s.tiles(rows) for s in sources), strict=True):
            sums = np.stack([_sums(p) for p in parts]).sum(0, dtype=np.float64).astype(np.float32)
            pairs = np.stack([_n_cells(p) for p in parts]).sum(0, dtype=np.int32)
            yield HalfTile(parts[0].first, sums, pairs, m2=_spread(parts) if followed else None)

    cells = tuple(sum(s.cells[h] for s in sources if s.cells) for h in (0, 1))
    first = sources[0]
    return MatrixSource(
        tiles, first.n_genes, (cells[0], cells[1]), min_cells, moments=2 if followed else 1
    )


def _sums(tile: Tile) -> np.ndarray:
    return np.stack([[tile.half(h, q) for q in range(len(QUANTITIES))] for h in (0, 1)])


def _n_cells(tile: Tile) -> np.ndarray:
    return np.stack([tile.n_cells(h) for h in (0, 1)])


def _spread(parts: Sequence[Tile]) -> np.ndarray:
    """Merge squared deviations of categories by Chan's rule."""

    def of(p: Tile) -> Spread:
        return Spread(_n_cells(p), np.stack([p.half(h, 0) for h in (0, 1)]).astype(float), _m2(p))

    merged = of(parts[0])
    for p in parts[1:]:
        merged = merged.merge(of(p))
    return merged.m2.astype(np.float32)


def _m2(tile: Tile) -> np.ndarray:
    if tile.m2 is None:
        raise ValueError("a tile without squared deviations")
    return tile.m2
