"""The reduction on CPUs: blocks of query rows against all keys of a cell, scores computed once.

A block of rows sees every key, so its softmax needs no earlier pass. Blocks are independent: they
run on threads, each with one torch thread, and neither their number nor their order changes a bit.
"""

from __future__ import annotations

import numpy as np
import torch

from octoscope.attention.cpu_kernels import (
    add_heads,
    add_peaks,
    fold,
    follow_spread,
    merge_spread,
    raise_peaks,
    scatter,
    scatter_cell,
)
from octoscope.attention.gemm import Keys
from octoscope.attention.map_threads import map_blocks
from octoscope.attention.query_key_batch import Cell, Heads

_SCORES = 1 << 19  # scores of one head in a block: 2 MB of fp32, near the cache
_CELLS = 8  # in a micro-batch from which on small cells are computed whole, in parallel
_HELD = 64 << 20  # the most bytes that their rows take
_EVEN = 4  # blocks come in multiples of this, so that a few threads share them evenly
_ROWS = (32, 1024)  # rows in a block: fewer starve the matrix product, more spill the cache
_FEW_ROWS = 32  # below, heads are multiplied together: each call has its own cost


def block_rows(cells: list[Cell]) -> int:
    """Return the query rows of a cell that are computed at once."""
    longest = max(cell.n_tokens for cell in cells)
    return int(np.clip(_SCORES // longest, *_ROWS))


def room_bytes(tokens: int) -> int:
    """Return the bytes of scores of a thread (padded), a copy, peaks of max: for so many tokens."""
    return 20 * max(_SCORES, _ROWS[0] * tokens)


def block_bytes(
    genes: int, tokens: int, cells: int, threads: int, heads: int = 1, moments: int = 1
) -> int:
    """Return an upper bound of what a micro-batch of cells holds, beside the accumulator.

    Per reduction over heads five fp32 sums over the rows in progress (two of them for two moments)
    and twice the blocks' own rows before they are scattered, and the scores.
    """
    rows = min(genes, min(threads, _EVEN) * max(_ROWS[1], -(-genes // _EVEN)))
    sums = heads * (5 * rows * genes + 2 * rows * tokens)
    if moments == 2:  # counts of cells, twice, and the ones that are added to them
        sums += 2 * rows * genes + rows * tokens
    whole = 8 * heads * cells * min(genes, tokens) ** 2  # rows of cells that are attended whole
    return 4 * sums + threads * room_bytes(tokens) + min(_HELD, whole)


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
    # genes that hold about so many tokens of a cell; the same blocks, whatever the threads
    count = -(-n // int(np.ceil(rows * n / kept)))
    height = -(-n // (-(-count // _EVEN) * _EVEN))
    edges = [(first, min(first + height, n)) for first in range(0, n, height)]
    batch = _Batch(cells, pack(cells, n, len(edges)), heads, mass.shape[2], rows)
    in_turn = len(cells) >= _CELLS and batch.bytes <= _HELD
    if in_turn and min(cell.kept for cell in cells) < n:
        batch.attend_all()

    def run(edge: tuple[int, int]) -> None:
        with torch.inference_mode():
            _add_block(batch, sums, mass, second, *edge)

    for _ in map_blocks(run, edges):
        pass


def pack(cells: list[Cell], genes: int, blocks: int) -> list[list[Keys]]:
    """Return the keys of each cell and head, for so many blocks of rows."""

    def run(cell: Cell) -> list[Keys]:
        with torch.inference_mode():
            return [Keys(k, blocks, sizes_vary=cell.kept < genes) for k in cell.k]

    return list(map_blocks(run, cells))


class _Batch:
    """Cells of a micro-batch, and the rows of their attention.

    Parameters
    ----------
    keys
        Of :func:`pack`.
    heads
        How each reduction treats heads.
    columns
        Number of mass columns.
    rows
        Rows that are computed at once.
    """

    def __init__(
        self,
        cells: list[Cell],
        keys: list[list[Keys]],
        heads: tuple[Heads, ...],
        columns: int,
        rows: int,
    ) -> None:
        self.cells, self.heads = cells, heads
        self._keys, self._columns, self._rows = keys, columns, rows
        self._done: list[tuple[np.ndarray, np.ndarray]] = []

    @property
    def attended(self) -> bool:
        """Whether all rows have been computed."""
        return bool(self._done)

    @property
    def bytes(self) -> int:
        """State that all rows of all cells share."""
        return 8 * len(self.heads) * sum(cell.kept**2 for cell in self.cells)

    def attend_all(self) -> None:
        """Compute whole cells, to be handed out: small ones have few rows in a block of genes."""

        def run(c: int) -> tuple[np.ndarray, np.ndarray]:
            with torch.inference_mode():
                return self.attend(c, slice(0, self.cells[c].kept))

        self._done = list(map_blocks(run, range(len(self.cells))))

    def attend(
        self, c: int, span: slice, into: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return sums [reductions, 2, rows, kept] and shares [reductions, rows, mass columns].

        The rows are the tokens ``span`` of cell ``c``; ``into``: sums to be added to instead, of
        cells that are not attended yet.
        """
        if self._done:
            sums, shares = self._done[c]
            return sums[:, :, span], shares[:, span]
        cell, size = self.cells[c], span.stop - span.start
        if into is None:
            into = np.zeros((len(self.heads), 2, size, cell.kept), np.float32)
        shares = np.zeros((len(self.heads), size, self._columns))
        height = -(-size // -(-size // self._rows))  # equal parts, so that few sizes occur
        for at in range(0, size, height):
            part = slice(at, min(at + height, size))
            room = into[:, :, part], shares[:, part]
            attend_rows(cell, self._keys[c], self.heads, span.start, part, *room)
        return into, shares


def _add_block(
    batch: _Batch,
    sums: np.ndarray,
    mass: np.ndarray,
    second: tuple[np.ndarray, np.ndarray] | None,
    first: int,
    stop: int,
) -> None:
    """Add every cell's tokens whose genes lie in [first, stop)."""
    n, cells, heads = sums.shape[2], batch.cells, batch.heads
    # if all cells attend to as many tokens, lift is the probability times that number
    equal = len({cell.n_tokens for cell in cells}) == 1
    total = np.zeros((len(heads), 2, stop - first, n), np.float32)  # probability, logit
    lift = np.zeros((len(heads), 0 if equal else stop - first, n), np.float32)
    spread = None if second is None else _Spread(len(heads), stop - first, n)
    for c, cell in enumerate(cells):
        span = cell.span(first, stop)
        if span.start == span.stop:
            continue
        whole = cell.kept == n  # every gene is a token: rows and columns are where they belong
        if whole and equal and spread is None and not batch.attended:
            mass[:, cell.genes[span]] += batch.attend(c, span, total)[1]
            continue
        own, shares = batch.attend(c, span)
        mass[:, cell.genes[span]] += shares
        into = cell.genes[span] - first
        if spread is not None:
            spread.add(own[:, 0], into, cell.genes)
        for r in range(len(heads)):
            scatter_cell(own[r], into, cell.genes, np.float32(cell.n_tokens), total[r], lift[r])
    if spread is not None and second is not None:
        spread.merge(sums[:, 0, first:stop], total[:, 0], *(x[..., first:stop, :] for x in second))
    n_tokens = np.float32(cells[0].n_tokens)
    for r in range(len(heads)):
        fold(total[r], lift[r], n_tokens, sums[r, :, first:stop])


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
    keys: list[Keys],
    heads: tuple[Heads, ...],
    start: int,
    part: slice,
    sums: np.ndarray,
    shares: np.ndarray,
) -> None:
    """Add rows ``start + part`` of one cell.

    Parameters
    ----------
    keys
        Of :func:`pack`.
    sums
        [reductions, 2, rows, kept] float32: probability, logit.
    shares
        [reductions, rows, mass columns] float64.
    """
    height, n_heads = part.stop - part.start, len(cell.q)
    ends = np.array([end for _, end in cell.groups], np.int64)
    columns = np.array([column for column, _ in cell.groups], np.int64)
    tokens, where = cell.n_tokens, (cell.kept, ends, columns)
    peaks: np.ndarray | None = None
    if "max" in heads:
        peaks = np.zeros((2, height, tokens), np.float32)
        peaks[1] = -np.inf
    step = 1  # heads at once
    if height < _FEW_ROWS:
        step = max(1, _SCORES // (height * tokens))
    for h in range(0, n_heads, step):
        some = range(h, min(h + step, n_heads))
        q = cell.q[some.start : some.stop, start + part.start : start + part.stop]
        if len(some) == 1:
            scores = keys[h].products(q[0])[None].numpy()
        else:
            k = cell.k[some.start : some.stop]
            scores = torch.bmm(q, k.transpose(1, 2)).numpy()
        # reductions that leave the scores as they are come first
        if peaks is not None:
            raise_peaks(scores, *peaks)
        for r, reduction in enumerate(heads):
            if isinstance(reduction, int) and reduction in some:
                one = scores[reduction - h : reduction - h + 1].copy()
                add_heads(one, tokens, *where, np.float32(1), *sums[r], shares[r])
        for r, reduction in enumerate(heads):
            if reduction == "mean":
                add_heads(scores, tokens, *where, np.float32(1 / n_heads), *sums[r], shares[r])
        del scores  # its memory, still in cache, is the next head's
    if peaks is not None:
        r = heads.index("max")
        add_peaks(*peaks, *where, *sums[r], shares[r])
