"""The reduction on CPUs: blocks of query rows against all keys of a cell, scores computed once.

A block of rows sees every key, so its softmax needs no earlier pass. Blocks are independent: they
run on threads, each with one torch thread, and neither their number nor their order changes a bit.
"""

from __future__ import annotations

import numpy as np
import torch

from engine.attention.cells import Cell, Heads
from engine.attention.fused import (
    add_heads,
    add_peaks,
    fold,
    follow_spread,
    merge_spread,
    raise_peaks,
    scatter,
)
from engine.attention.threads import map_blocks

_SCORES = 1 << 18  # scores of one head in a block: 1 MB of fp32, near the cache
_EVEN = 4  # blocks come in multiples of this, so that a few threads share them evenly
_NO_LIFT = np.zeros((0, 0), np.float32)
_ROWS = (64, 1024)  # rows in a block: fewer starve the matrix product, more spill the cache


def block_rows(cells: list[Cell]) -> int:
    """Return the query rows of a cell that are computed at once."""
    longest = max(cell.n_tokens for cell in cells)
    return int(np.clip(_SCORES // longest, *_ROWS))


def room_for(cells: list[Cell]) -> torch.Tensor:
    """Return float32 room for the scores of :func:`block_rows` rows, of as many heads as fit."""
    return torch.empty(max(_SCORES, block_rows(cells) * max(cell.n_tokens for cell in cells)))


def room_bytes(tokens: int) -> int:
    """Return the bytes of scores of a thread, a copy and the peaks of max: for so many tokens."""
    return 16 * max(_SCORES, _ROWS[0] * tokens)


def block_bytes(genes: int, tokens: int, threads: int, heads: int = 1, moments: int = 1) -> int:
    """Return an upper bound of what blocks in progress hold, beside the accumulator.

    Per reduction over heads five fp32 sums over the block's rows (two of them for two moments) and
    twice the block's own rows before they are scattered, and the scores; at worst one block is a
    quarter of all rows.
    """
    most_rows = min(genes, max(_ROWS[1], -(-genes // _EVEN)))
    sums = heads * (5 * most_rows * genes + 2 * most_rows * tokens)
    if moments == 2:  # counts of cells, twice, and the ones that are added to them
        sums += 2 * most_rows * genes + most_rows * tokens
    return min(threads, _EVEN) * (4 * sums + room_bytes(tokens))


def add_row_blocks(
    cells: list[Cell],
    sums: np.ndarray,
    mass: np.ndarray,
    heads: tuple[Heads, ...],
    second: tuple[np.ndarray, np.ndarray] | None = None,
) -> None:
    """Add a logical micro-batch to the sums of a layer, in place.

    Parameters
    ----------
    sums
        [reductions, 3, genes, genes] float64: probability, lift, logit.
    mass
        [reductions, genes, mass columns] float64; column 0 is the kept keys.
    heads
        How each reduction treats heads.
    second
        For two moments: squared deviations [reductions, genes, genes] float64 of the probability,
        and the cells so far that hold each pair [genes, genes] int32.
    """
    n, rows = sums.shape[2], block_rows(cells)
    kept = max(1.0, float(np.mean([cell.kept for cell in cells])))
    # genes that hold about so many tokens of a cell; an even number of blocks, whatever the threads
    count = -(-n // int(np.ceil(rows * n / kept)))
    height = -(-n // (-(-count // _EVEN) * _EVEN))
    edges = [(first, min(first + height, n)) for first in range(0, n, height)]
    equal = len({cell.n_tokens for cell in cells}) == 1

    def run(edge: tuple[int, int]) -> None:
        with torch.inference_mode():
            _add_block(cells, sums, mass, heads, second, *edge, rows, equal)

    for _ in map_blocks(run, edges):
        pass


def _add_block(
    cells: list[Cell],
    sums: np.ndarray,
    mass: np.ndarray,
    heads: tuple[Heads, ...],
    second: tuple[np.ndarray, np.ndarray] | None,
    first: int,
    stop: int,
    rows: int,
    equal: bool,
) -> None:
    """Add every cell's tokens whose genes lie in [first, stop).

    ``equal``: all cells attend to as many tokens, so lift is the probability times that number.
    """
    n = sums.shape[2]
    total = np.zeros((len(heads), 2, stop - first, n), np.float32)  # probability, logit
    lift = None if equal else np.zeros((len(heads), stop - first, n), np.float32)
    spread = None if second is None else _Spread(len(heads), stop - first, n)
    buffer = room_for(cells)
    for cell in cells:
        span = cell.span(first, stop)
        size = span.stop - span.start
        if not size:
            continue
        whole = cell.kept == n  # every gene is a token: rows and columns are where they belong
        direct = whole and equal and spread is None
        own = total if direct else np.zeros((len(heads), 2, size, cell.kept), np.float32)
        shares = np.zeros((len(heads), size, mass.shape[2]))
        for at in range(0, size, rows):
            part = slice(at, min(at + rows, size))
            attend_rows(cell, heads, span.start, part, buffer, own[:, :, part], shares[:, part])
        mass[:, cell.genes[span]] += shares
        if not direct:
            into = cell.genes[span] - first
            if spread is not None:
                spread.add(own[:, 0], into, cell.genes)
            for r in range(len(heads)):
                scatter(own[r, 0], into, cell.genes, np.float32(1), total[r, 0])
                scatter(own[r, 1], into, cell.genes, np.float32(1), total[r, 1])
                if lift is not None:
                    scatter(own[r, 0], into, cell.genes, np.float32(cell.n_tokens), lift[r])
    if spread is not None and second is not None:
        spread.merge(sums[:, 0, first:stop], total[:, 0], *(x[..., first:stop, :] for x in second))
    n_tokens = np.float32(cells[0].n_tokens)
    for r in range(len(heads)):
        fold(total[r], _NO_LIFT if lift is None else lift[r], n_tokens, sums[r, :, first:stop])


class _Spread:
    """Mean and squared deviations of a block's pairs over the cells of one micro-batch, fp32."""

    def __init__(self, reductions: int, rows: int, genes: int) -> None:
        self._held = np.zeros((rows, genes), np.float32)
        self._mean, self._m2 = np.zeros((2, reductions, rows, genes), np.float32)

    def add(self, values: np.ndarray, rows: np.ndarray, genes: np.ndarray) -> None:
        """Add a cell: [reductions, rows, kept] probabilities that belong at (rows, genes)."""
        one = np.ones((len(rows), len(genes)), np.float32)
        scatter(one, rows, genes, np.float32(1), self._held)
        for r, value in enumerate(values):
            follow_spread(value, rows, genes, self._held, self._mean[r], self._m2[r])

    def merge(
        self, sums: np.ndarray, more: np.ndarray, spread: np.ndarray, held: np.ndarray
    ) -> None:
        """Merge into what earlier micro-batches left; ``sums`` do not hold this one's yet."""
        for r in range(len(sums)):
            into = held if r + 1 == len(sums) else held.copy()  # counts are shared, added once
            merge_spread(into, sums[r], spread[r], self._held, more[r], self._m2[r])


def attend_rows(
    cell: Cell,
    heads: tuple[Heads, ...],
    start: int,
    part: slice,
    buffer: torch.Tensor,
    sums: np.ndarray,
    shares: np.ndarray,
) -> None:
    """Add rows ``start + part`` of one cell.

    Parameters
    ----------
    buffer
        Of :func:`room_for`.
    sums
        [reductions, 2, rows, kept] float32: probability, logit.
    shares
        [reductions, rows, mass columns] float64.
    """
    height, n_heads = part.stop - part.start, len(cell.q)
    ends = np.array([end for _, end in cell.groups], np.int64)
    columns = np.array([column for column, _ in cell.groups], np.int64)
    where = (cell.kept, ends, columns)
    peaks: np.ndarray | None = None
    if "max" in heads:
        peaks = np.zeros((2, height, cell.n_tokens), np.float32)
        peaks[1] = -np.inf
    step = max(1, _SCORES // (height * cell.n_tokens))  # heads at once
    for h in range(0, n_heads, step):
        some = range(h, min(h + step, n_heads))
        q = cell.q[some.start : some.stop, start + part.start : start + part.stop]
        k = cell.k[some.start : some.stop].transpose(1, 2)
        shape = (len(some), height, cell.n_tokens)
        room = buffer[: shape[0] * shape[1] * shape[2]].view(shape)
        scores = torch.bmm(q, k, out=room).numpy()
        # reductions that leave the scores as they are come first
        if peaks is not None:
            raise_peaks(scores, *peaks)
        for r, reduction in enumerate(heads):
            if isinstance(reduction, int) and reduction in some:
                one = scores[reduction - h : reduction - h + 1].copy()
                add_heads(one, *where, np.float32(1), *sums[r], shares[r])
        for r, reduction in enumerate(heads):
            if reduction == "mean":
                add_heads(scores, *where, np.float32(1 / n_heads), *sums[r], shares[r])
    if peaks is not None:
        r = heads.index("max")
        add_peaks(*peaks, *where, *sums[r], shares[r])
