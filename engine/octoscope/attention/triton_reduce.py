"""The reduction on GPUs: launches the kernels of :mod:`.triton_kernels` over a micro-batch.

Where all cells hold every gene, sums stay in registers and the accumulators are read and written
once a micro-batch; otherwise a program owns a tile of genes in memory and walks the cells that
touch it.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch

from octoscope.attention import triton_kernels as kernels
from octoscope.attention.packed_tokens import PackedTokens
from octoscope.attention.query_key_batch import Heads, QKBatch
from octoscope.attention.reductions import Accumulators, Precision
from octoscope.device_copies import sent


class Blocks(NamedTuple):
    """Rows and columns of a program's block of scores, and how the GPU runs it."""

    rows: int
    columns: int
    warps: int
    stages: int


class TritonTiles:
    """The reduction by Triton kernels.

    Parameters
    ----------
    precision
        Of products of float32 queries and keys; half precisions of a model are exact as they are.
    """

    name = "triton"

    def __init__(self, precision: Precision = "tf32x3") -> None:
        self._precision = precision

    def add(self, parts: list[QKBatch], into: Accumulators) -> None:
        """Add a micro-batch.

        Raises
        ------
        ValueError
            If a mask attends to other keys than the layout places.
        """
        packed = PackedTokens.of(parts, into.mass.shape[2])
        if packed is not None:
            _MicroBatch(packed, into, self._precision).add()


class _MicroBatch:
    """One micro-batch on its way to the accumulators."""

    def __init__(self, packed: PackedTokens, into: Accumulators, precision: Precision) -> None:
        self._tokens, self._into = packed, into
        self._q, self._k = packed.q, packed.k
        if precision == "bf16" and self._q.dtype == torch.float32:
            self._q, self._k = self._q.bfloat16(), self._k.bfloat16()
        if self._q.device.type == "cpu":  # Triton's interpreter multiplies the bits of bf16
            self._q, self._k = self._q.float(), self._k.float()
        self._queries, self._heads, d = self._q.shape
        self._genes, self._columns = into.sums.shape[3], into.mass.shape[2]
        self._rows = slice(into.first, into.first + into.sums.shape[2])
        self._factor = packed.scale / math.log(2)
        capability = capability_of(self._q.device)
        self._shape = shape_of(d, precision, capability)
        one_by_one = "max" in into.heads or into.spread is not None
        self._blocks = blocks_of(self._shape, capability, one_by_one=one_by_one)
        numbers = [packed.first_query, packed.first_key, packed.ends.ravel(), packed.genes]
        self._first_query, self._first_key, self._ends, self._gene = self._sent(numbers)

    def _sent(self, numbers: list[np.ndarray]) -> list[torch.Tensor]:
        """Return whole numbers as int32 on the device, copied at once.

        Each begins at a multiple of 16 bytes: other alignments would compile other kernels.
        """
        rooms = [-(-len(x) // 4) * 4 for x in numbers]
        joined = np.zeros(sum(rooms), np.int32)
        starts = np.cumsum(rooms) - rooms
        for start, x in zip(starts, numbers, strict=True):
            joined[start : start + len(x)] = x
        copied = sent(joined, self._q.device)
        return [copied[at : at + len(x)] for at, x in zip(starts.tolist(), numbers, strict=True)]

    def add(self) -> None:
        """Add it for each reduction over heads."""
        into, whole = self._into, self._tokens.holds_all(self._genes)
        add, blocks = (
            (self._add_whole, self._blocks[0]) if whole else (self._add_part, self._blocks[1])
        )
        shift = inverse = self._q.new_empty(0, dtype=torch.float32)
        shares = shift
        if not into.logits_alone:
            shift, inverse, shares = self._row_sums()
        for r, heads in enumerate(into.heads):
            first, stop, per_share = _averaged(heads, self._heads)
            spread, n_cells = into.sums[r, 0], self._gene  # not read where there is one moment
            if into.spread is not None and into.n_cells is not None:
                last = r + 1 == len(into.heads)  # counts are shared, raised once
                spread, n_cells = into.spread[r], into.n_cells if last else into.n_cells.clone()
            flags = self._shape | {
                "LARGEST": heads == "max", "MOMENTS": into.spread is not None,
                "SOFTMAX": not into.logits_alone, **_options(blocks),
            }  # fmt: skip
            factors = (first, stop, self._factor, self._tokens.scale * per_share, per_share)
            of_rows = (self._q, self._k, shift, inverse, *into.sums[r], spread, n_cells)
            kept = add(of_rows, factors, flags, blocks)
            if not into.logits_alone:
                into.mass[r, :, 0] += kept[self._rows]
                others = self._others(heads, shares, shift, inverse)
                into.mass[r, :, 1:] += self._by_gene(others).T[self._rows]

    def _row_sums(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return shift and 1 / sum of each row [heads, queries], and each column's share of it.

        Of queries of other genes than those of the rows there is no number that means anything.
        """
        blocks = ROW_BLOCKS
        size = (self._columns, self._heads, self._queries)
        top, total = torch.empty((2, *size), dtype=torch.float32, device=self._q.device)
        cells, rows = self._row_blocks(blocks)
        kernels.sum_rows[(len(cells), self._heads, self._columns)](
            self._q, self._k, cells, rows, self._first_query, self._first_key, self._ends,
            top, total, self._queries, self._heads, self._columns, self._factor,
            **self._shape, **_options(blocks),
        )  # fmt: skip
        shift = top.amax(0)
        parts = total * torch.exp2(top - shift)
        inverse = 1 / parts.sum(0)
        return shift, inverse, parts * inverse

    def _row_blocks(self, blocks: Blocks) -> list[torch.Tensor]:
        """Return cell and first query of each block of queries that reaches into the rows."""
        starts, genes = self._tokens.first_query, self._tokens.genes
        count = -(-np.diff(starts) // blocks.rows)
        cell = np.repeat(np.arange(len(count)), count)
        nth = np.arange(len(cell)) - np.repeat(np.cumsum(count) - count, count)
        first = starts[cell] + nth * blocks.rows
        last = np.minimum(first + blocks.rows, starts[cell + 1]) - 1
        ours = (genes[first] < self._rows.stop) & (genes[last] >= self._rows.start)
        return self._sent([cell[ours], first[ours]])

    def _others(
        self, heads: Heads, shares: torch.Tensor, shift: torch.Tensor, inverse: torch.Tensor
    ) -> torch.Tensor:
        """Return the mass of each query [columns - 1, queries] on keys outside the panel."""
        if heads == "mean":
            return shares[1:].mean(1)
        if heads != "max":
            return shares[1:, heads]
        blocks = PEAK_BLOCKS
        mass = shift.new_zeros((self._columns - 1, self._queries))
        if self._columns > 1:
            cells, rows = self._row_blocks(blocks)
            kernels.peak_rows[(len(cells), self._columns - 1)](
                self._q, self._k, cells, rows, self._first_query, self._first_key, self._ends,
                shift, inverse, mass, self._queries, self._heads, self._columns, self._factor,
                **self._shape, **_options(blocks),
            )  # fmt: skip
        return mass

    def _by_gene(self, values: torch.Tensor) -> torch.Tensor:
        """Return [columns, genes] float64 sums over cells of values [columns, queries].

        Each cell has places of its own, so nothing is added in an order that could vary.
        """
        (cell,) = self._sent([self._tokens.cell])
        by_gene = values.new_zeros((len(values), self._tokens.cells, self._genes))
        by_gene[:, cell.long(), self._gene.long()] = values
        return by_gene.sum(1, dtype=torch.float64)

    def _add_whole(
        self, rows: tuple[Any, ...], factors: tuple[Any, ...], flags: dict[str, Any], blocks: Blocks
    ) -> torch.Tensor:
        """Launch over tiles of genes; returns [genes] float64, the mass on panel tokens."""
        first, stop = self._rows.start, self._rows.stop
        tall = -(-stop // blocks.rows) - first // blocks.rows
        wide = -(-self._genes // blocks.columns)
        size = (0 if self._into.logits_alone else wide, self._genes)
        mass = torch.empty(size, dtype=torch.float32, device=self._q.device)
        kernels.add_whole_cells[(tall * wide,)](
            *rows, mass, self._genes, first, stop, self._queries, self._tokens.tokens,
            self._tokens.cells, self._heads, *factors, **flags,
        )  # fmt: skip
        return mass.sum(0, dtype=torch.float64)

    def _add_part(
        self, rows: tuple[Any, ...], factors: tuple[Any, ...], flags: dict[str, Any], blocks: Blocks
    ) -> torch.Tensor:
        """Launch over tiles of genes and the cells that touch them; returns as _add_whole."""
        packed, n = self._tokens, self._genes
        of_tile = tile_genes(n, packed.ends[:, 0].mean(), blocks)
        edges = packed.edges(n, of_tile)
        first, stop = self._rows.start, self._rows.stop
        tall = -(-stop // of_tile) - first // of_tile
        tiles = edges.shape[1] - 1
        tile, cell = np.nonzero(np.diff(edges).T)
        at = np.searchsorted(tile, np.arange(tiles + 1))
        edges_, at_, cell_, n_tokens = self._sent([edges.ravel(), at, cell, packed.ends[:, -1]])
        size = (0 if self._into.logits_alone else tiles, self._queries)
        mass = torch.zeros(size, dtype=torch.float32, device=self._q.device)
        kernels.add_part_cells[(tall, tiles)](
            *rows, mass, self._gene, edges_, at_, cell_, self._first_query, self._first_key,
            n_tokens, n, first, stop, first // of_tile, self._queries, tiles, self._heads,
            *factors, **flags,
        )  # fmt: skip
        if self._into.logits_alone:
            return mass.sum(0, dtype=torch.float64)
        return self._by_gene(mass.sum(0)[None])[0]


_HOPPER = 9  # compute capability from which on scores are multiplied out of shared memory


def capability_of(device: torch.device) -> int:
    """Return the major compute capability of a GPU; of the interpreter the newest that is known."""
    return torch.cuda.get_device_capability(device)[0] if device.type == "cuda" else _HOPPER


def shape_of(d: int, precision: Precision, capability: int) -> dict[str, Any]:
    """Return the compile-time values that follow from the width of a head and the precision.

    Before Hopper both factors of a product lie in registers, which hold 16 dimensions of tf32x3.
    """
    at_once = 32 if capability >= _HOPPER and precision != "ieee" and d > 16 else 16
    return {"D": d, "DC": at_once, "PRECISION": "ieee" if precision == "ieee" else "tf32x3"}


def blocks_of(shape: dict[str, Any], capability: int, *, one_by_one: bool) -> tuple[Blocks, Blocks]:
    """Return the blocks of the kernels that add, for whole cells and for others.

    As large as registers allow without spilling, which a test asks the assembler.

    Parameters
    ----------
    shape
        Of :func:`shape_of`.
    one_by_one
        Cells are added one by one, which takes four sums in registers instead of two.
    """
    ieee = shape["PRECISION"] == "ieee"
    if one_by_one:
        return Blocks(32 if ieee else 64, 32, 8, 2), Blocks(32, 32, 8, 2)
    large = capability >= _HOPPER and not ieee
    whole = Blocks(128, 64, 8, 2) if large else Blocks(64, 64, 8, 3)
    return whole, Blocks(64, 32, 8, 1 if ieee else 2)


ROW_BLOCKS, PEAK_BLOCKS = Blocks(64, 64, 4, 2), Blocks(64, 64, 8, 2)


def _options(blocks: Blocks) -> dict[str, Any]:
    """Return a launch's block sizes and how it is compiled."""
    return {
        "BM": blocks.rows, "BN": blocks.columns, "num_warps": blocks.warps,
        "num_stages": blocks.stages, "enable_fp_fusion": False,
    }  # fmt: skip


def tile_genes(genes: int, kept: float, blocks: Blocks) -> int:
    """Return the genes in a tile, of which a cell holds about one block of rows."""
    return int(min(genes, math.ceil(genes * blocks.rows / max(1.0, kept))))


def _averaged(heads: Heads, count: int) -> tuple[int, int, float]:
    """Return the heads that are added, and what each counts."""
    if heads == "mean":
        return 0, count, 1 / count
    return (0, count, 1.0) if heads == "max" else (heads, heads + 1, 1.0)
