"""Sums of logits alone: no softmax, so all cells that hold the same genes are one matrix product.

A mean of logits over heads, added up over cells, is Q K^T with the dimensions of all cells and
heads side by side (the inner dimension is cells x heads x d_head). Cells that hold other genes are
products of their own.
"""

from __future__ import annotations

import torch

from engine.attention.cells import Cell, Heads
from engine.attention.products import Keys
from engine.attention.threads import map_blocks

_SCORES = 1 << 19  # of a block: 2 MB of fp32, near the cache
_BLOCKS = 8  # at least, so that threads share them evenly


def add_logits(cells: list[Cell], sums: torch.Tensor, heads: tuple[Heads, ...]) -> None:
    """Add a logical micro-batch to the sums of a layer, in place.

    Parameters
    ----------
    sums
        [reductions, genes, genes] float64.
    heads
        How each reduction treats heads: ``mean`` or one head. The largest is no sum.
    """
    alike: dict[bytes, list[Cell]] = {}
    for cell in cells:
        alike.setdefault(cell.genes.tobytes(), []).append(cell)
    for group in alike.values():
        for into, reduction in zip(sums, heads, strict=True):
            _add_product(*_side_by_side(group, reduction), group[0], into)


def _side_by_side(group: list[Cell], reduction: Heads) -> tuple[torch.Tensor, torch.Tensor]:
    """Return q and k [kept, cells x heads x d_head] of cells that hold the same genes."""
    kept, (heads, _, width) = group[0].kept, group[0].q.shape
    if reduction == "max":
        raise ValueError("the largest logit over heads is no sum of products")
    some = slice(None) if reduction == "mean" else slice(reduction, reduction + 1)
    count = heads if reduction == "mean" else 1
    sides = group[0].q.new_empty((2, kept, len(group), count, width))

    def place(c: int) -> None:
        with torch.inference_mode():
            cell = group[c]
            torch.mul(cell.q[some].transpose(0, 1), 1 / count, out=sides[0, :, c])
            sides[1, :, c] = cell.k[some, :kept].transpose(0, 1)

    for _ in map_blocks(place, range(len(group))):
        pass
    q, k = sides.view(2, kept, -1)
    return q, k


def _add_product(q: torch.Tensor, k: torch.Tensor, cell: Cell, sums: torch.Tensor) -> None:
    """Add q k^T at the cell's genes; blocks of rows, on threads where the CPU computes."""
    kept, n = cell.kept, len(sums)
    rows = max(1, min(_SCORES // kept, -(-kept // _BLOCKS)))
    blocks = range(0, kept, rows)
    genes = None if kept == n else torch.from_numpy(cell.genes).to(sums.device)
    keys = Keys(k, len(blocks), sizes_vary=kept < n) if sums.device.type == "cpu" else None

    def run(first: int) -> None:
        part = slice(first, min(first + rows, kept))
        with torch.inference_mode():
            if keys is None:
                found = q[part] @ k.T
            else:
                found = keys.products(q[part])[: part.stop - first, :kept]
            if genes is None:
                sums[part] += found
            else:  # genes are distinct, so no two threads and no two entries meet
                sums[genes[part, None], genes] += found

    if keys is None:
        for first in blocks:
            run(first)
    else:
        for _ in map_blocks(run, blocks):
            pass
