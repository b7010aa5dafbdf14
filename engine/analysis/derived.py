"""Matrices made of others: without gene effects or signs, layers as one, categories as one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from engine.analysis import statistics
from engine.analysis.matrix import HalfTile, MatrixSource, PairMatrix, Tile
from engine.analysis.passes import add_sums, take_larger
from engine.attention.spread import Spread
from engine.attention.views import ABSOLUTE, CENTRED, QUANTITIES, plain_view
from engine.fields import Combination

Fit = tuple[np.ndarray, np.ndarray]  # effects of rows and of columns


class Derived:
    """A matrix that has of every view ``v`` also ``v.centred``, and of both ``.absolute``.

    A centred value is what is left after the exact least-squares fit of row and column effects over
    the eligible pairs of different genes (of the halves: over the usable ones). The average-product
    correction of evolutionary couplings is the multiplicative sibling of this. An absolute value
    is its size, of all cells and of each half, so that whatever orders by value orders by size.
    """

    def __init__(self, matrix: PairMatrix) -> None:
        self._matrix = matrix
        self._fits: dict[tuple[str, bytes], Fit] = {}
        self._half_fits: dict[tuple[str, bytes], list[Fit]] = {}
        self.n_genes, self.cells = matrix.n_genes, matrix.cells
        self.min_cells, self.moments = matrix.min_cells, matrix.moments

    def values(self, genes: np.ndarray, view: str) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """Yield (first row, values, eligible)."""
        plain, centred, absolute = parts_of(view)
        if not (centred or absolute):
            yield from self._matrix.values(genes, view)
            return
        rows, columns = self._fit(genes, plain) if centred else (None, None)
        for first, values, eligible in self._matrix.values(genes, plain):
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

    def look_up(
        self, genes: np.ndarray, view: str, query: np.ndarray, key: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return [pairs] cells that hold both genes, and [2, pairs] values in each half."""
        plain, centred, absolute = parts_of(view)
        cells, values = self._matrix.look_up(genes, plain, query, key)
        if centred:
            fits = self._fit_halves(genes, plain)
            values = np.stack(
                [v - r[query] - c[key] for v, (r, c) in zip(values, fits, strict=True)]
            ).astype(np.float32)
        return cells, np.abs(values) if absolute else values

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


def combine(layers: Iterable[np.ndarray], how: Combination) -> np.ndarray:
    """Combine matrices of one shape: sum, largest, or largest by size with its sign.

    Of equal sizes the first layer's value is taken.
    """
    parts = iter(layers)
    found = _Combined(next(parts), how)
    for values in parts:
        found.add(values)
    return found.take()


class _Combined:
    """Matrices of one shape that are combined one after the other, beginning with ``values``."""

    def __init__(self, values: np.ndarray, how: Combination) -> None:
        self._how = how
        self._found: np.ndarray = np.array(
            values, np.float64 if how == "sum" else np.float32, order="C"
        )

    def add(self, values: np.ndarray) -> None:
        if self._how == "sum":
            self._found += values
        else:
            by_size = self._how != "max"
            take_larger(self._found.ravel(), np.ascontiguousarray(values).ravel(), by_size)

    def take(self) -> np.ndarray:
        """Return the float32 result; nothing can be added after that."""
        found, self._found = self._found.astype(np.float32, copy=False), np.zeros(0)
        return found


def _winner(stack: np.ndarray, how: Combination) -> np.ndarray:
    return np.argmax(np.abs(stack) if how == "absolute-argmax" else stack, axis=0)


class Kept:
    """Layers as one, whose blocks of the set and view asked for last stay in memory, if they fit.

    They are then made once, not once per pass, and of one layer after the other.

    Parameters
    ----------
    most
        Bytes that may stay.
    """

    def __init__(self, matrix: LayerConsensus, most: int) -> None:
        self._matrix, self._most = matrix, most
        self._values: tuple[object, list[tuple[int, np.ndarray, np.ndarray]]] = None, []
        self._halves: tuple[object, list[tuple[int, np.ndarray, np.ndarray, np.ndarray]]] = None, []
        self.n_genes, self.cells = matrix.n_genes, matrix.cells
        self.min_cells, self.moments = matrix.min_cells, matrix.moments
        self.look_up, self.cell_deviation = matrix.look_up, matrix.cell_deviation

    @staticmethod
    def room(n_genes: int) -> int:
        """Return the bytes of what stays: three values and two flags of every pair."""
        return 14 * n_genes**2

    @classmethod
    def left(cls, n_genes: int, most: int) -> int:
        """Return the bytes that a matrix leaves of ``most`` to what it is read from."""
        room = cls.room(n_genes)
        return most - room if room <= most else most

    def values(self, genes: np.ndarray, view: str) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """Yield (first row, values, eligible)."""
        if self.room(len(genes)) > self._most:
            yield from self._matrix.values(genes, view)
            return
        if self._values[0] != (asked := (view, genes.tobytes())):
            self._values = None, []  # goes before the next is made
            self._values = asked, self._matrix.all_values(genes, view)
        yield from self._values[1]

    def halves(
        self, genes: np.ndarray, view: str
    ) -> Iterator[tuple[int, np.ndarray, np.ndarray, np.ndarray]]:
        """Yield (first row, values of half 0, of half 1, usable)."""
        if self.room(len(genes)) > self._most:
            yield from self._matrix.halves(genes, view)
            return
        if self._halves[0] != (asked := (view, genes.tobytes())):
            self._halves = None, []
            self._halves = asked, self._matrix.all_halves(genes, view)
        yield from self._halves[1]


class LayerConsensus:
    """Layers of one model and category as one matrix; each half is combined for itself.

    Pairs are eligible alike in all layers: a pair's cells do not depend on the layer.

    ``values`` and ``halves`` read all layers side by side, so all are open and few rows are held;
    ``all_values`` and ``all_halves`` read layer after layer, so one is open and all rows are held.

    Parameters
    ----------
    layers
        Layer -> matrix; may open them when they are asked for.
    how
        ``sum``; ``max``; ``absolute-argmax``: the value of the layer where it is largest by size.
    """

    moments = 1

    def __init__(self, layers: Mapping[int, PairMatrix], how: Combination) -> None:
        first = next(iter(layers.values()))
        self._layers, self._how = layers, how
        self.n_genes, self.cells, self.min_cells = first.n_genes, first.cells, first.min_cells

    def values(self, genes: np.ndarray, view: str) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """Yield (first row, values, eligible)."""
        for parts in zip(*(m.values(genes, view) for m in self._layers.values()), strict=True):
            yield parts[0][0], combine((v for _, v, _ in parts), self._how), parts[0][2]

    def halves(
        self, genes: np.ndarray, view: str
    ) -> Iterator[tuple[int, np.ndarray, np.ndarray, np.ndarray]]:
        """Yield (first row, values of half 0, of half 1, usable)."""
        for parts in zip(*(m.halves(genes, view) for m in self._layers.values()), strict=True):
            x, y = (combine([p[h] for p in parts], self._how) for h in (1, 2))
            yield parts[0][0], x, y, parts[0][3]

    def all_values(self, genes: np.ndarray, view: str) -> list[tuple[int, np.ndarray, np.ndarray]]:
        """Return every block of :meth:`values`, the same bits."""
        return self._all(lambda matrix: matrix.values(genes, view))

    def all_halves(
        self, genes: np.ndarray, view: str
    ) -> list[tuple[int, np.ndarray, np.ndarray, np.ndarray]]:
        """Return every block of :meth:`halves`, the same bits."""
        return self._all(lambda matrix: matrix.halves(genes, view))

    def _all(self, read: Callable[[PairMatrix], Iterable[Any]]) -> list[Any]:
        """Combine blocks (first row, values ..., flags), layer after layer."""
        made: list[tuple[int, list[_Combined], np.ndarray]] = []
        for layer, matrix in self._layers.items():
            if not made:
                made = [
                    (first, [_Combined(v, self._how) for v in values], flags.copy())
                    for first, *values, flags in read(matrix)
                ]
                continue
            for (first, totals, _), (same, *values, _) in zip(made, read(matrix), strict=True):
                if first != same:
                    raise ValueError(f"layer {layer} has rows from {same}, others from {first}")
                for total, v in zip(totals, values, strict=True):
                    total.add(v)
        return [(first, *(t.take() for t in totals), flags) for first, totals, flags in made]

    def look_up(
        self, genes: np.ndarray, view: str, query: np.ndarray, key: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return [pairs] cells that hold both genes, and [2, pairs] values in each half."""
        found = [m.look_up(genes, view, query, key) for m in self._layers.values()]
        values = np.stack([v for _, v in found])
        if self._how == "sum":
            return found[0][0], values.sum(0, dtype=np.float64).astype(np.float32)
        blank = np.isnan(values)  # of all layers alike: a half without cells
        return found[0][0], np.where(
            blank[0], np.float32(np.nan), combine(np.where(blank, 0, values), self._how)
        )

    def cell_deviation(self, genes: np.ndarray, query: np.ndarray, key: np.ndarray) -> np.ndarray:
        """Return NaN: it is not defined for several layers."""
        return np.full(len(query), np.nan, np.float32)

    def winning_layer(
        self, genes: np.ndarray, view: str, query: np.ndarray, key: np.ndarray
    ) -> np.ndarray:
        """Return [pairs] the layer where a pair is largest (of ``absolute-argmax``: by size)."""
        how: Combination = "absolute-argmax" if self._how == "absolute-argmax" else "max"
        found = np.zeros((len(self._layers), len(query)), np.float32)
        for row, matrix in zip(found, self._layers.values(), strict=True):
            for first, values, _ in matrix.values(genes, view):
                here = np.flatnonzero((query >= first) & (query < first + len(values)))
                row[here] = values[query[here] - first, key[here]]
        return np.array(list(self._layers))[_winner(found, how)]


def pooled(sources: Sequence[MatrixSource], min_cells: int) -> MatrixSource:
    """Return several categories of one model and layer as one: sums and cells are added.

    Raises
    ------
    ValueError
        If their values are means already, as of mean cells and of co-expression.
    """
    if any(s.means for s in sources):
        raise ValueError("means of categories do not add up to the mean of all their cells")
    followed = all(s.moments == 2 for s in sources)

    def tiles() -> Iterator[HalfTile]:
        for parts in zip(*(s.tiles() for s in sources), strict=True):
            sums = np.stack([_sums(p) for p in parts]).sum(0, dtype=np.float64).astype(np.float32)
            pairs = np.stack([_held(p) for p in parts]).sum(0, dtype=np.int32)
            yield HalfTile(parts[0].first, sums, pairs, m2=_spread(parts) if followed else None)

    cells = tuple(sum(s.cells[h] for s in sources) for h in (0, 1))
    first = sources[0]
    return MatrixSource(
        tiles, first.n_genes, (cells[0], cells[1]), min_cells, moments=2 if followed else 1
    )


def _sums(tile: Tile) -> np.ndarray:
    return np.stack([[tile.half(h, q) for q in range(len(QUANTITIES))] for h in (0, 1)])


def _held(tile: Tile) -> np.ndarray:
    return np.stack([tile.held(h) for h in (0, 1)])


def _spread(parts: Sequence[Tile]) -> np.ndarray:
    """Merge squared deviations of categories by Chan's rule."""

    def of(p: Tile) -> Spread:
        return Spread(_held(p), np.stack([p.half(h, 0) for h in (0, 1)]).astype(float), _m2(p))

    merged = of(parts[0])
    for p in parts[1:]:
        merged = merged.merge(of(p))
    return merged.m2.astype(np.float32)


def _m2(tile: Tile) -> np.ndarray:
    if tile.m2 is None:
        raise ValueError("a tile without squared deviations")
    return tile.m2
