"""The ways to add attention over cells, as values: one protocol, chosen by device.

Each is tested against the same written-out reference, through :class:`.accumulate.LayerSums`.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal, Protocol

import torch

from octoscope.attention.cpu_reduce import add_row_blocks
from octoscope.attention.logits import add_logits
from octoscope.attention.map_threads import map_blocks
from octoscope.attention.query_key_batch import Cell, Heads, QKBatch
from octoscope.attention.torch_reduce import add_tiled
from octoscope.attention.views import QUANTITIES

# How a GPU multiplies fp32 queries and keys; errors are in docs/performance.md.
Precision = Literal["tf32x3", "ieee", "bf16"]
_OLDEST = (8, 0)  # compute capability that multiplies tf32 and bf16


@dataclass(frozen=True)
class Accumulators:
    """What a reduction adds to, in place. All on one device.

    Attributes
    ----------
    heads
        How each reduction treats heads.
    sums
        [reductions, 3, rows, genes] float64: probability, lift, logit.
    mass
        [reductions, rows, mass columns] float64; column 0 is the kept keys.
    spread
        With two moments: squared deviations [reductions, rows, genes] float64 of the probability.
    n_cells
        With two moments: cells so far that hold each pair [rows, genes] int32.
    logits_alone
        Nothing but the logit is added.
    first
        The gene of the first row. Queries of other genes than those of the rows are passed over.
    """

    heads: tuple[Heads, ...]
    sums: torch.Tensor
    mass: torch.Tensor
    spread: torch.Tensor | None = None
    n_cells: torch.Tensor | None = None
    logits_alone: bool = False
    first: int = 0

    @property
    def second(self) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Squared deviations and cells, or None."""
        if self.spread is None or self.n_cells is None:
            return None
        return self.spread, self.n_cells


class Reduction(Protocol):
    """A way to add attention over cells.

    Bits depend neither on threads nor on scheduling, nor on which rows are added together.
    """

    @property
    def name(self) -> str:
        """What a record of the run calls it."""

    def add(self, parts: list[QKBatch], into: Accumulators) -> None:
        """Add one logical micro-batch, given as the physical batches that it ran in."""


class RowBlocks:
    """Blocks of query rows against all keys of a cell, on CPUs."""

    name = "row blocks"

    def add(self, parts: list[QKBatch], into: Accumulators) -> None:
        """Add a micro-batch; see :mod:`.cpu_reduce`."""
        cells = _cells(parts)
        if into.logits_alone:
            _add_logits(cells, into)
        elif cells:
            second = into.second
            also = None if second is None else (second[0].numpy(), second[1].numpy())
            arrays = into.sums.numpy(), into.mass.numpy()
            add_row_blocks(cells, *arrays, into.heads, also, into.first)


class TorchTiles:
    """Tiles of the accumulator by torch operations, on any device; see :mod:`.torch_reduce`."""

    name = "torch"

    def __init__(self, tile: int) -> None:
        self._tile = tile

    def add(self, parts: list[QKBatch], into: Accumulators) -> None:
        """Add a micro-batch."""
        cells = _cells(parts)
        if into.logits_alone:
            _add_logits(cells, into)
        elif cells:
            accumulators = into.sums, into.mass, into.heads
            add_tiled(cells, *accumulators, self._tile, into.second, into.first)


def reduction_on(kind: str, tile: int, precision: Precision = "tf32x3") -> Reduction:
    """Return the fastest reduction of a kind of device, as torch names it.

    Triton comes with torch for CUDA; where it is missing, or the GPU is not one that the kernels
    were compiled for, torch's own operations do the same.
    """
    if kind == "cpu":
        return RowBlocks()
    if kind == "cuda" and find_spec("triton") is not None and not _too_old():
        from octoscope.attention.triton_reduce import TritonTiles

        return TritonTiles(precision)
    return TorchTiles(tile)


def _too_old() -> bool:
    """Tell whether the GPU here is older than compute capability 8.0, or not NVIDIA's."""
    if not torch.cuda.is_available():
        return False
    return torch.version.hip is not None or torch.cuda.get_device_capability() < _OLDEST


def _add_logits(cells: list[Cell], into: Accumulators) -> None:
    if cells:
        add_logits(cells, into.sums[:, QUANTITIES.index("logit")], into.heads, into.first)


def _cells(parts: list[QKBatch]) -> list[Cell]:
    batch_cells = [(part, c) for part in parts for c in range(len(part.q))]
    return [cell for cell in map_blocks(_cell_of, batch_cells) if cell.kept]


def _cell_of(batch_and_cell: tuple[QKBatch, int]) -> Cell:
    with torch.inference_mode():  # a thread's own setting
        return Cell.of(*batch_and_cell)
