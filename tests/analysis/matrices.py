"""Matrices made in memory for the analyses' tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from octoscope.analysis.matrix import HalfTile, MatrixSource
from octoscope.attention.views import QUANTITIES
from octoscope.row_blocks import row_ranges

Tiles = Iterator[tuple[int, np.ndarray, np.ndarray]]
N = 23  # genes of random matrices


def source(
    halves: np.ndarray,
    pairs: np.ndarray,
    cells: tuple[int, int] = (50, 50),
    tile: int = 16,
    min_cells: int = 20,
) -> MatrixSource:
    """Wrap mean probabilities [2, N, N] of halves as summed quantities."""
    sums = np.repeat((halves * pairs)[:, None], len(QUANTITIES), axis=1).astype(np.float32)

    def tiles(rows: np.ndarray | None = None) -> Iterator[HalfTile]:
        for first, stop in row_ranges(halves.shape[-1], tile, rows):
            yield HalfTile(first, sums[:, :, first:stop], pairs[:, first:stop])

    return MatrixSource(tiles, halves.shape[-1], cells, min_cells)


def reader(
    values: np.ndarray, eligible: np.ndarray | None = None, tile: int = 7
) -> Callable[[], Tiles]:
    """Return what yields a dense matrix in row tiles."""
    ok = np.ones(values.shape, bool) if eligible is None else eligible

    def read() -> Tiles:
        for first in range(0, len(values), tile):
            rows = slice(first, first + tile)
            yield first, values[rows].astype(np.float32), ok[rows]

    return read


def dense(blocks: Tiles) -> tuple[np.ndarray, np.ndarray]:
    """Join row tiles to values and eligibility."""
    _, values, eligible = zip(*blocks, strict=True)
    return np.concatenate(values), np.concatenate(eligible)


def ranks_of(values: np.ndarray, eligible: np.ndarray, *, keep_self: bool = False) -> np.ndarray:
    """Rank by sorting everything: 1 + strictly greater; 0 where not eligible."""
    ok = eligible.copy()
    if not keep_self:
        np.fill_diagonal(ok, False)
    rising = np.sort(values[ok])
    ranks = 1 + len(rising) - np.searchsorted(rising, values, side="right")
    return np.where(ok, ranks, 0)


def some(seed: int, floor: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Return random halves, and cells that hold each pair, [2, N, N] each."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(2, N, N)), rng.integers(floor, 50, (2, N, N)).astype(np.int32)
