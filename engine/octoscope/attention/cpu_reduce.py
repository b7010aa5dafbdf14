"""The reduction on CPUs: blocks of query rows against all keys of a cell, scores computed once.

A block of rows sees every key, so its softmax needs no earlier pass. Blocks are independent: they
run on threads, each with one torch thread, and neither their number nor their order changes a bit.
The same blocks are made whichever rows of the accumulator are at hand: of a block that lies partly
in them, the products that reach into them keep their whole shape, on which bits may depend.
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
_MOST_ROW_BYTES = 64 << 20  # the most bytes that their rows take
_EVEN = 4  # blocks come in multiples of this, so that a few threads share them evenly
_ROWS = (32, 1024)  # rows in a block: fewer starve the matrix product, more spill the cache
_FEW_ROWS = 32  # below, heads are multiplied together: each call has its own cost
_SUMS = 64 << 20  # bytes of a block's own sums; beyond, cells may be attended first
# Floats between arrays of a compiled loop; where they lie closer it rounds otherwise (cpu_kernels)
_APART = 256


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

    Per thread the sums of a block, the rows of its cells before they are added, and the scores.
    """
    height, kept = min(genes, max(_ROWS[1], -(-genes // _EVEN))), min(genes, tokens)
    # a block holds about so many tokens of a cell; twice, as genes are not spread evenly
    own = 2 * min(-(-kept // _EVEN), max(_SCORES // tokens, _ROWS[0])) * kept * 8 * heads
    row = _row_bytes(genes, heads, moments)
    sums = min(height * row, max(_SUMS, row) + cells * own)
    if moments == 2:  # the ones that are added to counts of cells, and counts once more
        sums += own + height * genes * 4
    whole = min(
        _MOST_ROW_BYTES, 8 * heads * cells * kept**2
    )  # rows of cells that are attended whole
    return threads * (sums + own + room_bytes(tokens)) + whole


def _row_bytes(genes: int, heads: int, moments: int) -> int:
    """Return the bytes of a row of a block's sums: probability, logit, lift; cells, mean, M2."""
    return 4 * genes * (3 * heads + (1 + 2 * heads if moments == 2 else 0))


def add_row_blocks(
    cells: list[Cell],
    sums: np.ndarray,
    mass: np.ndarray,
    heads: tuple[Heads, ...],
    second: tuple[np.ndarray, np.ndarray] | None = None,
    first_row: int = 0,
) -> None:
    """Add a logical micro-batch to the sums of a layer, in place.

    Parameters
    ----------
    sums, mass, heads, second
        As in :class:`~octoscope.attention.reductions.Accumulators`.
    first_row
        The gene of the first row. Other genes' queries are passed over.
    """
    n, rows = sums.shape[3], block_rows(cells)
    stop_row = first_row + sums.shape[2]
    kept = max(1.0, float(np.mean([cell.kept for cell in cells])))
    # genes that hold about so many tokens of a cell; the same blocks, whatever the threads
    count = -(-n // int(np.ceil(rows * n / kept)))
    height = -(-n // (-(-count // _EVEN) * _EVEN))
    edges = [(first, min(first + height, n)) for first in range(0, n, height)]
    batch = _Batch(cells, pack(cells, n, len(edges)), n, heads, mass.shape[2], rows)
    in_turn = len(cells) >= _CELLS and batch.bytes <= _MOST_ROW_BYTES
    if in_turn and min(cell.kept for cell in cells) < n:
        batch.attend_all(first_row, stop_row)

    def run(edge: tuple[int, int]) -> None:
        inside = max(edge[0], first_row), min(edge[1], stop_row)
        rows = slice(inside[0] - first_row, inside[1] - first_row)
        also = None if second is None else (second[0][:, rows], second[1][rows])
        with torch.inference_mode():
            _add_block(batch, sums[:, :, rows], mass[:, rows], also, edge, inside)

    for _ in map_blocks(run, [e for e in edges if e[1] > first_row and e[0] < stop_row]):
        pass


def pack(cells: list[Cell], genes: int, blocks: int) -> list[list[Keys]]:
    """Return the keys of each cell and head, for so many blocks of rows."""

    def run(cell: Cell) -> list[Keys]:
        with torch.inference_mode():
            return [Keys(k, blocks, sizes_vary=cell.kept < genes) for k in cell.k]

    return list(map_blocks(run, cells))


# first token, sums [reductions, 2, rows, kept] and shares [reductions, rows, mass columns]
_Rows = tuple[int, np.ndarray, np.ndarray]


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

    Attributes
    ----------
    known
        By cell the rows that have been computed.
    equal
        All cells attend to as many tokens: lift is the probability times that number.
    """

    def __init__(
        self,
        cells: list[Cell],
        keys: list[list[Keys]],
        genes: int,
        heads: tuple[Heads, ...],
        columns: int,
        rows: int,
    ) -> None:
        self.cells, self.heads = cells, heads
        self._keys, self._genes, self._columns, self._rows = keys, genes, columns, rows
        self.equal = len({cell.n_tokens for cell in cells}) == 1
        self.known: dict[int, _Rows] = {}

    @property
    def bytes(self) -> int:
        """State that all rows of all cells share."""
        return 8 * len(self.heads) * sum(cell.kept**2 for cell in self.cells)

    def is_direct(self, c: int) -> bool:
        """Tell whether every gene is a token of a cell: rows and columns are where they belong."""
        return self.equal and self.cells[c].kept == self._genes

    def attend_all(self, first: int, stop: int) -> None:
        """Compute the rows of genes [first, stop) of whole cells, to be handed out.

        Small cells have few rows in a block of genes.
        """

        def run(c: int) -> _Rows:
            with torch.inference_mode():
                whole, inside = slice(0, self.cells[c].kept), self.cells[c].span(first, stop)
                return self.attend(c, whole, inside)

        self.known = dict(enumerate(map_blocks(run, range(len(self.cells)))))

    def attend(self, c: int, block: slice, inside: slice, into: np.ndarray | None = None) -> _Rows:
        """Compute the tokens ``inside`` of cell ``c``, among those of a block.

        ``into``: sums to be added to instead of new ones.
        """
        cell, size, n = self.cells[c], block.stop - block.start, inside.stop - inside.start
        if into is None:
            into = _zeros((len(self.heads), 2), n, cell.kept, size)
        shares = np.zeros((len(self.heads), n, self._columns))
        if not n:
            return inside.start, into, shares
        height = -(-size // -(-size // self._rows))  # equal parts, so that few sizes occur
        for at in range(block.start, block.stop, height):
            part = slice(at, min(at + height, block.stop))
            start, stop = max(at, inside.start), min(part.stop, inside.stop)
            if start >= stop:
                continue
            ours = slice(start - inside.start, stop - inside.start)
            room = into[:, :, ours], shares[:, ours]
            if stop - start == part.stop - at:
                attend_rows(cell, self._keys[c], self.heads, part, *room)
                continue
            wide = _zeros((len(self.heads), 2), part.stop - at, cell.kept, size)
            wide_shares = np.zeros((len(self.heads), part.stop - at, self._columns))
            middle = slice(start - at, stop - at)
            wide[:, :, middle] = room[0]
            attend_rows(cell, self._keys[c], self.heads, part, wide, wide_shares)
            room[0][:], room[1][:] = wide[:, :, middle], wide_shares[:, middle]
        return inside.start, into, shares


def _zeros(lead: tuple[int, ...], rows: int, width: int, block: int) -> np.ndarray:
    """Return float32 zeros [*lead, rows, width], part of a block of so many rows.

    Arrays of one loop lie as far apart as in the block, or far enough.
    """
    height = min(block, max(rows, -(-_APART // width)))
    return np.zeros((*lead, height, width), np.float32)[..., :rows, :]


def _add_block(
    batch: _Batch,
    sums: np.ndarray,
    mass: np.ndarray,
    second: tuple[np.ndarray, np.ndarray] | None,
    edge: tuple[int, int],
    inside: tuple[int, int],
) -> None:
    """Add the tokens of a block of genes ``edge`` whose genes lie ``inside``: rows of ``sums``."""
    tall, moments = inside[1] - inside[0], 1 if second is None else 2
    row = _row_bytes(sums.shape[3], len(batch.heads), moments)
    most, known = max(1, _SUMS // row), batch.known
    if not known and tall > most:
        spans = {
            c: cell.span(*inside)
            for c, cell in enumerate(batch.cells)
            if moments == 2 or not batch.is_direct(c)
        }
        values = sum((s.stop - s.start) * batch.cells[c].kept for c, s in spans.items())
        if 8 * len(batch.heads) * values + _SUMS < tall * row:
            known = {c: batch.attend(c, batch.cells[c].span(*edge), s) for c, s in spans.items()}
        else:  # what the cells attend with takes more than the sums
            most = tall
    for at in range(0, tall, most):
        rows = slice(at, min(at + most, tall))
        also = None if second is None else (second[0][:, rows], second[1][rows])
        part = inside[0] + rows.start, inside[0] + rows.stop
        _add_part(batch, known, sums[:, :, rows], mass[:, rows], also, edge, part)


def _add_part(
    batch: _Batch,
    known: dict[int, _Rows],
    sums: np.ndarray,
    mass: np.ndarray,
    second: tuple[np.ndarray, np.ndarray] | None,
    edge: tuple[int, int],
    inside: tuple[int, int],
) -> None:
    """Add as many rows of a block as its own sums may take; ``known``: rows of its cells."""
    n, heads, first = sums.shape[3], batch.heads, inside[0]
    tall, block = inside[1] - first, edge[1] - edge[0]
    total = _zeros((len(heads), 2), tall, n, block)  # probability, logit
    lift = _zeros((len(heads),), 0 if batch.equal else tall, n, block)
    spread = None if second is None else _Spread(len(heads), tall, n)
    for c, cell in enumerate(batch.cells):
        span = cell.span(*inside)
        if span.start == span.stop:
            continue
        into = cell.genes[span] - first
        if c in known:
            at, values, shares = known[c]
            here = slice(span.start - at, span.stop - at)
            values, shares = values[:, :, here], shares[:, here]
        elif spread is None and batch.is_direct(c):
            mass[:, into] += batch.attend(c, cell.span(*edge), span, total)[2]
            continue
        else:
            _, values, shares = batch.attend(c, cell.span(*edge), span)
        mass[:, into] += shares
        if spread is not None:
            spread.add(values[:, 0], into, cell.genes)
        for r in range(len(heads)):
            scatter_cell(values[r], into, cell.genes, np.float32(cell.n_tokens), total[r], lift[r])
    if spread is not None and second is not None:
        spread.merge(sums[:, 0], total[:, 0], *second)
    n_tokens = np.float32(batch.cells[0].n_tokens)
    for r in range(len(heads)):
        fold(total[r], lift[r], n_tokens, sums[r])


class _Spread:
    """Mean and squared deviations of a block's pairs over the cells of one micro-batch, fp32."""

    def __init__(self, reductions: int, rows: int, genes: int) -> None:
        self._n_cells = np.zeros((rows, genes), np.float32)
        self._mean, self._m2 = np.zeros((2, reductions, rows, genes), np.float32)

    def add(self, values: np.ndarray, rows: np.ndarray, genes: np.ndarray) -> None:
        """Add a cell: [reductions, rows, kept] probabilities that belong at (rows, genes)."""
        one = np.ones((len(rows), len(genes)), np.float32)
        scatter(one, rows, genes, np.float32(1), self._n_cells)
        for r, value in enumerate(values):
            follow_spread(value, rows, genes, self._n_cells, self._mean[r], self._m2[r])

    def merge(
        self, sums: np.ndarray, more: np.ndarray, spread: np.ndarray, n_cells: np.ndarray
    ) -> None:
        """Merge into what earlier micro-batches left; ``sums`` do not hold this one's yet."""
        for r in range(len(sums)):
            into = (
                n_cells if r + 1 == len(sums) else n_cells.copy()
            )  # counts are shared, added once
            merge_spread(into, sums[r], spread[r], self._n_cells, more[r], self._m2[r])


def attend_rows(
    cell: Cell,
    keys: list[Keys],
    heads: tuple[Heads, ...],
    part: slice,
    sums: np.ndarray,
    shares: np.ndarray,
) -> None:
    """Add the tokens ``part`` of one cell.

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
        q = cell.q[some.start : some.stop, part]
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
