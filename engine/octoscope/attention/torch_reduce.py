"""The reduction with torch operations alone: any device, tile by tile.

One pass gives the log-sum-exp of every query row over all attended keys; each tile of the
accumulator then loops over cells and chunks of heads: scores, exp(score - lse), one value per
reduction over heads.
"""

from __future__ import annotations

import torch

from octoscope.attention.query_key_batch import Cell, Heads
from octoscope.device_copies import sent

_TILE_ELEMENTS = 1 << 20  # scores held at once: 4 MB of fp32, near the cache


def add_tiled(
    cells: list[Cell],
    sums: torch.Tensor,
    mass: torch.Tensor,
    heads: tuple[Heads, ...],
    tile: int,
    second: tuple[torch.Tensor, torch.Tensor] | None = None,
    first_row: int = 0,
) -> None:
    """Add a logical micro-batch to the sums of a layer, in place.

    Parameters
    ----------
    sums, mass, heads, second
        As in :class:`~octoscope.attention.reductions.Accumulators`.
    first_row
        The gene of the first row, at which a tile begins.
    """
    n, stop_row = sums.shape[3], first_row + sums.shape[2]
    ours = [cell.span(first_row, stop_row) for cell in cells]
    lse = [_row_lse(cell.q, cell.k, tile, own) for cell, own in zip(cells, ours, strict=True)]
    at = [sent(cell.genes, sums.device) for cell in cells]
    for r in range(first_row, stop_row, tile):
        for s in range(0, n, tile):
            edges = (r, min(r + tile, n)), (s, min(s + tile, n))
            _add_tile(cells, lse, at, sums, mass, heads, second, *edges, first_row)
    for cell, rows_lse, genes, own in zip(cells, lse, at, ours, strict=True):
        start = cell.kept
        for column, end in cell.groups:
            for first in range(own.start // tile * tile, own.stop, tile):
                rows = slice(first, min(first + tile, cell.kept))
                inside = slice(max(first, own.start), min(rows.stop, own.stop))
                into = genes[inside] - first_row
                for a in range(start, end, tile):
                    p, _ = _over_heads(cell, rows_lse, heads, rows, slice(a, min(a + tile, end)))
                    p = p[:, inside.start - first : inside.stop - first]
                    mass[:, into, column] += p.sum(2, dtype=torch.float64)
            start = end


def _add_tile(
    cells: list[Cell],
    lse: list[tuple[torch.Tensor, torch.Tensor]],
    at: list[torch.Tensor],
    sums: torch.Tensor,
    mass: torch.Tensor,
    heads: tuple[Heads, ...],
    second: tuple[torch.Tensor, torch.Tensor] | None,
    row: tuple[int, int],
    column: tuple[int, int],
    first_row: int,
) -> None:
    size = (*sums.shape[:2], row[1] - row[0], column[1] - column[0])
    buffer = torch.zeros(size, device=sums.device)
    touched = False
    tile = slice(row[0] - first_row, row[1] - first_row), slice(*column)
    spread: torch.Tensor | None = None
    if second is not None:
        spread = torch.zeros((3, size[0], *size[2:]), device=sums.device)  # cells, mean, M2
    for cell, rows_lse, genes in zip(cells, lse, at, strict=True):
        rows, columns = cell.span(*row), cell.span(*column)
        if rows.start == rows.stop or columns.start == columns.stop:
            continue
        touched = True
        probability, logit = _over_heads(cell, rows_lse, heads, rows, columns)
        mass[:, genes[rows] - first_row, 0] += probability.sum(2, dtype=torch.float64)
        block = torch.stack((probability, probability * cell.n_tokens, logit), 1)
        if spread is not None:
            _follow(spread, probability, genes[rows] - row[0], genes[columns] - column[0])
        if block.shape == buffer.shape:
            buffer += block
        else:
            # indices are unique within a cell, so the order of additions cannot vary
            wide = torch.zeros((*block.shape[:3], buffer.shape[3]), device=block.device)
            wide.index_copy_(3, genes[columns] - column[0], block)
            buffer.index_add_(2, genes[rows] - row[0], wide)
    if touched and spread is not None and second is not None:
        _merge(sums[:, 0, *tile], buffer[:, 0], spread, second[0][:, *tile], second[1][tile])
    if touched:
        sums[:, :, *tile] += buffer


def _follow(
    spread: torch.Tensor, values: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor
) -> None:
    """Add a cell's values [reductions, rows, columns] to cells, mean, M2 of a tile (Welford)."""
    grid = (slice(None), rows[:, None], columns[None])
    n_cells, mean, m2 = (x[grid] for x in spread)
    n_cells = n_cells + 1
    gap = values - mean
    mean = mean + gap / n_cells
    m2 = m2 + gap * (values - mean)
    for x, new in zip(spread, (n_cells, mean, m2), strict=True):
        x[grid] = new


def _merge(
    total: torch.Tensor,
    more_total: torch.Tensor,
    spread: torch.Tensor,
    m2: torch.Tensor,
    n_cells: torch.Tensor,
) -> None:
    """Merge a micro-batch's cells and squared deviations into those before it (Chan), in place."""
    a, b = n_cells.double(), spread[0].double()
    gap = more_total.double() / b.clamp(min=1) - total / a.clamp(min=1)
    both = (a > 0) & (b > 0)
    m2 += spread[2].double() + torch.where(both, gap**2 * a * b / (a + b).clamp(min=1), 0)
    n_cells += spread[0, 0].int()


def _over_heads(
    cell: Cell,
    lse: tuple[torch.Tensor, torch.Tensor],
    heads: tuple[Heads, ...],
    rows: slice,
    columns: slice,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return probability and logit, each [reductions, rows, columns]."""
    keys, (top, log_sum) = cell.k[:, columns], lse
    size = (len(heads), rows.stop - rows.start, keys.shape[1])
    probability, logit = torch.zeros((2, *size), device=keys.device)
    for r, reduction in enumerate(heads):
        if reduction == "max":
            logit[r] = -torch.inf
    for h in _head_chunks(len(cell.q), size[1] * size[2]):
        scores = cell.q[h, rows] @ keys[h].transpose(1, 2)
        shares = (scores - top[h, rows, None]).sub_(log_sum[h, rows, None]).exp_()
        for r, reduction in enumerate(heads):
            if reduction == "mean":
                logit[r] += scores.sum(0) / len(cell.q)
                probability[r] += shares.sum(0) / len(cell.q)
            elif reduction == "max":
                logit[r] = torch.maximum(logit[r], scores.amax(0))
                probability[r] = torch.maximum(probability[r], shares.amax(0))
            elif h.start <= reduction < h.stop:
                logit[r], probability[r] = scores[reduction - h.start], shares[reduction - h.start]
    return probability, logit


def _head_chunks(heads: int, elements: int) -> list[slice]:
    step = max(1, _TILE_ELEMENTS // max(1, elements))
    return [slice(h, min(h + step, heads)) for h in range(0, heads, step)]


def _row_lse(
    q: torch.Tensor, k: torch.Tensor, tile: int, own: slice
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (row maximum, log of the sum of exp(score - maximum)), each [heads, queries].

    Of the queries ``own``, and of those in the same tiles of queries, whose products keep their
    shape. Kept apart because their sum, rounded to fp32, loses the digits that large scores need.
    """
    top = torch.full(q.shape[:2], -torch.inf, device=q.device)
    total = torch.zeros(q.shape[:2], device=q.device)
    for start in range(own.start // tile * tile, own.stop, tile):
        rows = slice(start, min(start + tile, q.shape[1]))
        for h in _head_chunks(len(q), (rows.stop - rows.start) * tile):
            for at in range(0, k.shape[1], tile):
                scores = q[h, rows] @ k[h, at : at + tile].transpose(1, 2)
                highest = torch.maximum(top[h, rows], scores.amax(-1))
                here = scores.sub_(highest[..., None]).exp_().sum(-1)
                total[h, rows] = total[h, rows] * (top[h, rows] - highest).exp_() + here
                top[h, rows] = highest
    return top, total.log_()
