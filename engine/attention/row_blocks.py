"""The reduction on CPUs: blocks of query rows against all keys of a cell, scores computed once.

A block of rows sees every key, so its softmax needs no earlier pass. Blocks are independent: they
run on threads, each with one torch thread, and neither their number nor their order changes a bit.
"""

from __future__ import annotations

import numpy as np
import torch

from engine.attention.cells import Cell
from engine.attention.fused import add_heads, scatter
from engine.attention.threads import map_blocks

_SCORES = 1 << 18  # scores of one head in a block: 1 MB of fp32, near the cache
_EVEN = 4  # blocks come in multiples of this, so that a few threads share them evenly
_ROWS = (64, 1024)  # rows in a block: fewer starve the matrix product, more spill the cache


def block_rows(cells: list[Cell]) -> int:
    """Return the query rows of a cell that are computed at once."""
    longest = max(cell.n_tokens for cell in cells)
    return int(np.clip(_SCORES // longest, *_ROWS))


def block_bytes(genes: int, tokens: int, threads: int) -> int:
    """Return an upper bound of what blocks in progress hold, beside the accumulator.

    Three fp32 sums over the block's rows, the scores, and twice the block's own rows before they
    are scattered; at worst one block is a quarter of all rows.
    """
    most_rows = min(genes, max(_ROWS[1], -(-genes // _EVEN)))
    scores = max(_SCORES, _ROWS[0] * tokens)
    return 4 * min(threads, _EVEN) * (3 * most_rows * genes + scores + 2 * most_rows * tokens)


def add_row_blocks(cells: list[Cell], sums: np.ndarray, mass: np.ndarray) -> None:
    """Add a logical micro-batch to the sums of a layer, in place.

    Parameters
    ----------
    sums
        [3, genes, genes] float64: probability, lift, logit.
    mass
        [genes, mass columns] float64; column 0 is the kept keys.
    """
    n, rows = sums.shape[1], block_rows(cells)
    kept = max(1.0, float(np.mean([cell.kept for cell in cells])))
    # genes that hold about so many tokens of a cell; an even number of blocks, whatever the threads
    count = -(-n // int(np.ceil(rows * n / kept)))
    height = -(-n // (-(-count // _EVEN) * _EVEN))
    edges = [(first, min(first + height, n)) for first in range(0, n, height)]
    equal = len({cell.n_tokens for cell in cells}) == 1

    def run(edge: tuple[int, int]) -> None:
        with torch.inference_mode():
            _add_block(cells, sums, mass, *edge, rows, equal)

    for _ in map_blocks(run, edges):
        pass


def _add_block(
    cells: list[Cell],
    sums: np.ndarray,
    mass: np.ndarray,
    first: int,
    stop: int,
    rows: int,
    equal: bool,
) -> None:
    """Add every cell's tokens whose genes lie in [first, stop).

    ``equal``: all cells attend to as many tokens, so lift is the probability times that number.
    """
    n = sums.shape[1]
    probability, logit = np.zeros((2, stop - first, n), np.float32)
    lift = None if equal else np.zeros_like(probability)
    buffer: torch.Tensor | None = None
    for cell in cells:
        span = cell.span(first, stop)
        size = span.stop - span.start
        if not size:
            continue
        whole = cell.kept == n  # every gene is a token: rows and columns are where they belong
        direct = whole and equal
        p, x = (probability, logit) if direct else np.zeros((2, size, cell.kept), np.float32)
        shares = np.zeros((size, mass.shape[1]))
        ends = np.array([end for _, end in cell.groups], np.int64)
        columns = np.array([column for column, _ in cell.groups], np.int64)
        heads = len(cell.q)
        step = max(1, _SCORES // (min(rows, size) * cell.n_tokens))  # heads at once
        if buffer is None or buffer.numel() < step * min(rows, size) * cell.n_tokens:
            buffer = torch.empty(step * min(rows, size) * cell.n_tokens)
        for at in range(0, size, rows):
            part = slice(at, min(at + rows, size))
            height = part.stop - part.start
            for h in range(0, heads, step):
                some = slice(h, min(h + step, heads))
                shape = (some.stop - some.start, height, cell.n_tokens)
                scores = buffer[: shape[0] * shape[1] * shape[2]].view(shape)
                q = cell.q[some, span.start + part.start : span.start + part.stop]
                torch.bmm(q, cell.k[some].transpose(1, 2), out=scores)
                add_heads(
                    scores.numpy(), cell.kept, ends, columns, np.float32(1 / heads),
                    p[part], x[part], shares[part],
                )  # fmt: skip
        mass[cell.genes[span]] += shares
        if not direct:
            into = cell.genes[span] - first
            scatter(p, into, cell.genes, np.float32(1), probability)
            scatter(x, into, cell.genes, np.float32(1), logit)
            if lift is not None:
                scatter(p, into, cell.genes, np.float32(cell.n_tokens), lift)
    sums[0, first:stop] += probability
    sums[1, first:stop] += probability * np.float32(cells[0].n_tokens) if lift is None else lift
    sums[2, first:stop] += logit
