"""Combined layers of one model and category, and the layer where each pair is largest."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from octoscope.analysis.kernels import note_larger, take_larger
from octoscope.analysis.matrix import PairMatrix
from octoscope.attention.ranks import pick
from octoscope.config.types import Combination

Halves = tuple[int, np.ndarray, np.ndarray, np.ndarray]  # first row, of each half, usable
Largest = tuple[int, np.ndarray, np.ndarray, np.ndarray]  # first row, values, eligible, the winner


def combine(layers: Iterable[np.ndarray], how: Combination) -> np.ndarray:
    """Combine matrices of one shape: sum, largest, or largest by size with its sign.

    If sizes are equal, the value of the first layer is taken.
    """
    parts = iter(layers)
    combined = _Combined(next(parts), how)
    for values in parts:
        combined.add(values)
    return combined.take()


class _Combined:
    """Matrices of one shape that are combined one after the other, beginning with ``values``.

    ``of``: their number, if :attr:`winner` (which of them is largest) is needed; else 0.
    """

    def __init__(self, values: np.ndarray, how: Combination, of: int = 0) -> None:
        self._how, self._of, self._shown = how, of, 1
        self._combined: np.ndarray = np.array(
            values, np.float64 if how == "sum" else np.float32, order="C"
        )
        self._largest = self._combined
        if of and how == "sum":
            self._largest = np.array(values, np.float32, order="C")
        self.winner = np.zeros(values.shape if of else 0, np.min_scalar_type(max(of - 1, 0)))

    def add(self, values: np.ndarray) -> None:
        flat, by_size = np.ascontiguousarray(values).ravel(), self._how == "absolute-argmax"
        if self._how == "sum":
            self._combined += values
        elif not self._of:
            take_larger(self._combined.ravel(), flat, by_size)
        if self._of:
            note_larger(self._largest.ravel(), flat, by_size, self._shown, self.winner.ravel())
        self._shown += 1

    def take(self) -> np.ndarray:
        """Return the float32 result; nothing can be added after that."""
        result = self._combined.astype(np.float32, copy=False)
        self._combined = self._largest = np.zeros(0)
        return result


def _winner(stack: np.ndarray, how: Combination) -> np.ndarray:
    return np.argmax(np.abs(stack) if how == "absolute-argmax" else stack, axis=0)


class CachedMatrix:
    """Combined layers that keep the blocks of the latest set and view in memory, if they fit.

    The blocks are then made once, not once per pass, from one layer after the other. Values of
    pairs, and the layers where they are largest, are looked up in them.

    Parameters
    ----------
    most
        Bytes that may be kept.
    """

    def __init__(self, matrix: LayerConsensus, most: int) -> None:
        self._matrix, self._most = matrix, most
        self._values: tuple[object, list[Largest]] = None, []
        self._halves: tuple[object, list[Halves]] = None, []
        self.n_genes, self.cells = matrix.n_genes, matrix.cells
        self.min_cells, self.moments = matrix.min_cells, matrix.moments
        self.cell_deviation = matrix.cell_deviation

    @staticmethod
    def room(n_genes: int) -> int:
        """Return the bytes that are kept: three values, two flags and a layer of every pair."""
        return 15 * n_genes**2

    @classmethod
    def bytes_left(cls, n_genes: int, most: int) -> int:
        """Return the bytes of ``most`` that are left for the layers it is read from."""
        room = cls.room(n_genes)
        return most - room if room <= most else most

    def values(self, genes: np.ndarray, view: str) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """Yield (first row, values, eligible)."""
        if not self._fits(genes):
            yield from self._matrix.values(genes, view)
            return
        for first, values, eligible, _ in self._all_values(genes, view):
            yield first, values, eligible

    def halves(
        self, genes: np.ndarray, view: str
    ) -> Iterator[tuple[int, np.ndarray, np.ndarray, np.ndarray]]:
        """Yield (first row, values of half 0, of half 1, usable)."""
        kept = self._fits(genes)
        yield from (self._all_halves if kept else self._matrix.halves)(genes, view)

    def values_at(
        self, genes: np.ndarray, view: str, query: np.ndarray, key: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return [pairs] cells that hold both genes, and [2, pairs] values in each half."""
        if not self._fits(genes):
            return self._matrix.values_at(genes, view, query, key)
        cells, of_first = self._matrix.first.values_at(genes, view, query, key)
        values = np.full((2, len(query)), np.nan, np.float32)
        for first, *halves, _ in self._all_halves(genes, view):
            for row, block in zip(values, halves, strict=True):
                inside, pair_values = pick(first, block, query, key)
                row[inside] = pair_values
        # of all layers alike: a half without cells
        return cells, np.where(np.isnan(of_first), np.float32(np.nan), values)

    def winning_layer(
        self, genes: np.ndarray, view: str, query: np.ndarray, key: np.ndarray
    ) -> np.ndarray:
        """Return [pairs] the layer where a pair is largest (of ``absolute-argmax``: by size)."""
        if not self._fits(genes):
            return self._matrix.winning_layer(genes, view, query, key)
        at = np.zeros(len(query), np.int64)
        for first, _, _, winner in self._all_values(genes, view):
            inside, pair_values = pick(first, winner, query, key)
            at[inside] = pair_values
        return np.array(self._matrix.layers)[at]

    def _fits(self, genes: np.ndarray) -> bool:
        return self.room(len(genes)) <= self._most

    def _all_values(self, genes: np.ndarray, view: str) -> list[Largest]:
        if self._values[0] != (key := (view, genes.tobytes())):
            self._values = None, []  # goes before the next is made
            self._values = key, self._matrix.all_values(genes, view)
        return self._values[1]

    def _all_halves(self, genes: np.ndarray, view: str) -> list[Halves]:
        if self._halves[0] != (key := (view, genes.tobytes())):
            self._halves = None, []
            self._halves = key, self._matrix.all_halves(genes, view)
        return self._halves[1]


class LayerConsensus:
    """Combined layers of one model and category; each half is combined on its own.

    A pair is eligible in all layers or in none: its cells do not depend on the layer.

    ``values`` and ``halves`` read all layers side by side, so all are open and few rows are in
    memory. ``all_values`` and ``all_halves`` read layer after layer, so one is open and all rows
    are in memory.

    Parameters
    ----------
    layers
        Layer -> matrix; the mapping may open a matrix when it is used.
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

    @property
    def layers(self) -> list[int]:
        """Layers that are combined, in order."""
        return list(self._layers)

    @property
    def first(self) -> PairMatrix:
        """The first layer's matrix."""
        return self._layers[self.layers[0]]

    def all_values(self, genes: np.ndarray, view: str) -> list[Largest]:
        """Return every block of :meth:`values`, the same bits.

        And where each pair is largest, [rows, genes] positions in :attr:`layers`.
        """
        blocks = self._all(lambda matrix: matrix.values(genes, view), len(self._layers))
        return [(first, one.take(), flags, one.winner) for first, (one,), flags in blocks]

    def all_halves(self, genes: np.ndarray, view: str) -> list[Halves]:
        """Return every block of :meth:`halves`, the same bits."""
        blocks = self._all(lambda matrix: matrix.halves(genes, view))
        return [(first, x.take(), y.take(), flags) for first, (x, y), flags in blocks]

    def _all(
        self, read: Callable[[PairMatrix], Iterable[Any]], of: int = 0
    ) -> list[tuple[int, list[_Combined], np.ndarray]]:
        """Combine blocks (first row, values ..., flags), layer after layer."""
        blocks: list[tuple[int, list[_Combined], np.ndarray]] = []
        for layer, matrix in self._layers.items():
            if not blocks:
                blocks = [
                    (first, [_Combined(v, self._how, of) for v in values], flags.copy())
                    for first, *values, flags in read(matrix)
                ]
                continue
            for (first, totals, _), (same, *values, _) in zip(blocks, read(matrix), strict=True):
                if first != same:
                    raise ValueError(f"layer {layer} has rows from {same}, others from {first}")
                for total, v in zip(totals, values, strict=True):
                    total.add(v)
        return blocks

    def values_at(
        self, genes: np.ndarray, view: str, query: np.ndarray, key: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return [pairs] cells that hold both genes, and [2, pairs] values in each half."""
        pair_values = [m.values_at(genes, view, query, key) for m in self._layers.values()]
        values = np.stack([v for _, v in pair_values])
        if self._how == "sum":
            return pair_values[0][0], values.sum(0, dtype=np.float64).astype(np.float32)
        blank = np.isnan(values)  # of all layers alike: a half without cells
        return pair_values[0][0], np.where(
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
        pair_values = np.zeros((len(self._layers), len(query)), np.float32)
        for row, matrix in zip(pair_values, self._layers.values(), strict=True):
            for first, values, _ in matrix.values(genes, view):
                inside, picked = pick(first, values, query, key)
                row[inside] = picked
        return np.array(self.layers)[_winner(pair_values, how)]
