"""Sums of logits alone: no softmax, so all cells that hold the same genes are one matrix product.

A mean of logits over heads, added up over cells, is Q K^T with the dimensions of all cells and
heads side by side (the inner dimension is cells x heads x d_head). Cells that hold other genes are
products of their own.
"""

from __future__ import annotations

import numpy as np
import torch

from octoscope.attention.cpu_kernels import scatter
from octoscope.attention.gemm import Keys
from octoscope.attention.map_threads import map_blocks
from octoscope.attention.query_key_batch import Cell, Heads
from octoscope.device_copies import sent

_SCORES = 1 << 19  # of a block on a CPU: 2 MB of fp32, near the cache
_BLOCKS = 8  # on a CPU, at least, so that threads share them evenly
_ON_DEVICE = 1 << 26  # scores of a block elsewhere


def add_logits(
    cells: list[Cell], sums: torch.Tensor, heads: tuple[Heads, ...], first_row: int = 0
) -> None:
    """Add a logical micro-batch to the sums of a layer, in place.

    Parameters
    ----------
    sums
        [reductions, rows, genes] float64.
    heads
        How each reduction treats heads: ``mean`` or one head. The largest is no sum.
    first_row
        The gene of the first row.
    """
    alike: dict[bytes, list[Cell]] = {}
    for cell in cells:
        alike.setdefault(cell.genes.tobytes(), []).append(cell)
    for group in alike.values():
        for into, reduction in zip(sums, heads, strict=True):
            _add_product(*_side_by_side(group, reduction), group[0], into, first_row)


def _side_by_side(group: list[Cell], reduction: Heads) -> tuple[torch.Tensor, torch.Tensor]:
    """Return q and k [kept, cells x heads x d_head] of cells that hold the same genes."""
    kept, (heads, _, width) = group[0].kept, group[0].q.shape
    if reduction == "max":
        raise ValueError("the largest logit over heads is no sum of products")
    some = slice(None) if reduction == "mean" else slice(reduction, reduction + 1)
    count = heads if reduction == "mean" else 1
    sides = group[0].q.new_empty((2, kept, len(group), count, width))

    def copy_cell(c: int) -> None:
        with torch.inference_mode():
            cell = group[c]
            torch.mul(cell.q[some].transpose(0, 1), 1 / count, out=sides[0, :, c])
            sides[1, :, c] = cell.k[some, :kept].transpose(0, 1)

    for _ in map_blocks(copy_cell, range(len(group))):
        pass
    q, k = sides.view(2, kept, -1)
    return q, k


def _add_product(
    q: torch.Tensor, k: torch.Tensor, cell: Cell, sums: torch.Tensor, first_row: int
) -> None:
    """Add q k^T at the cell's genes, in blocks of rows."""
    if _on_cpu(sums):
        _add_on_cpu(q, k, cell, sums.numpy(), first_row)
        return
    rows = max(1, _ON_DEVICE // cell.kept)
    genes = sent(cell.genes, sums.device)
    for first in range(0, cell.kept, rows):
        part = slice(first, min(first + rows, cell.kept))
        inside = _inside(cell, part, first_row, len(sums))
        if inside.start == inside.stop:
            continue
        product = (q[part] @ k.T)[inside.start - first : inside.stop - first]
        if cell.kept == sums.shape[1]:
            sums[inside.start - first_row : inside.stop - first_row] += product
        else:  # genes are distinct: no entry is added to twice
            sums[genes[inside, None] - first_row, genes] += product


def _inside(cell: Cell, part: slice, first_row: int, rows: int) -> slice:
    """Return those of the tokens ``part`` whose genes are rows; the product keeps its shape."""
    tokens = cell.span(first_row, first_row + rows)
    start = min(max(part.start, tokens.start), part.stop)
    return slice(start, max(start, min(part.stop, tokens.stop)))


def _on_cpu(sums: torch.Tensor) -> bool:
    return sums.device.type == "cpu"


def _add_on_cpu(
    q: torch.Tensor, k: torch.Tensor, cell: Cell, sums: np.ndarray, first_row: int
) -> None:
    kept, n = cell.kept, sums.shape[1]
    rows = max(1, min(_SCORES // kept, -(-kept // _BLOCKS)))
    blocks = range(0, kept, rows)
    keys = Keys(k, len(blocks), sizes_vary=kept < n)

    def run(first: int) -> None:  # other threads add to other rows
        part = slice(first, min(first + rows, kept))
        inside = _inside(cell, part, first_row, len(sums))
        if inside.start == inside.stop:
            return
        with torch.inference_mode():
            product = keys.products(q[part]).numpy()
        product = product[inside.start - first : inside.stop - first, :kept]
        if kept == n:
            sums[inside.start - first_row : inside.stop - first_row] += product
        else:
            scatter(product, cell.genes[inside] - first_row, cell.genes, np.float32(1), sums)

    for _ in map_blocks(run, blocks):
        pass
