"""Projects the memory of units of a model, and chooses row blocks where sums do not fit at once."""

from __future__ import annotations

from dataclasses import dataclass

import psutil
import torch

from octoscope.attention.cpu_reduce import block_bytes
from octoscope.attention.views import QUANTITIES
from octoscope.config import RunConfig
from octoscope.config.byte_sizes import parse_bytes
from octoscope.run_plan.values import COEXPRESSION, ModelPlan, RowBlocks, Unit, logits_alone

IMPORTS = 900e6  # resident bytes of a worker after its imports: torch, ray, zarr


@dataclass(frozen=True)
class UnitMemory:
    """Bytes of a model's largest unit on the model's device.

    Attributes
    ----------
    genes
        Rows of the sums.
    turns
        Working sets of the unit; sums of all layers are held between several.
    fixed
        Weights and the cells' residuals and tokens.
    per_row
        Of sums, squared deviations and their counts: a gene's row, of all layers held at once.
    work
        Of a micro-batch in a layer, or of writing its sums.
    queries
        Queries and keys of the cells beyond those of a micro-batch.
    """

    genes: int
    turns: int
    fixed: float
    per_row: float
    work: float
    queries: float

    @classmethod
    def of(
        cls, config: RunConfig, m: ModelPlan, models: list[ModelPlan], units: list[Unit],
        threads: int,
    ) -> UnitMemory:  # fmt: skip
        """Project a checkpoint ``m`` of a plan's ``models``, with so many torch threads."""
        n, q = len(m.axis), len(QUANTITIES)
        variants = [r for r in models if r.base == m.name]
        summed = [r for r in variants if r.estimator == "per_cell"]
        sums, means = len(summed), len(variants) > len(summed)
        second = config.moments == 2 and sums > 0
        longest = max((u.stop - u.start for u in units if u.model == m.name), default=0)
        macro = m.macro_cells or m.unit_cells
        turns = -(-longest // macro)  # of a unit through the layers
        longest = min(longest, macro)
        cells = min(m.micro_batch, longest)
        # q and k of a micro-batch: as given, gathered, k packed; of logits alone, side by side too
        qk_copies = 8 if logits_alone(summed, config.moments) else 5
        forward = min(m.batch_cells, cells) * m.max_tokens * m.d * 4 * 12
        work = (
            cells * m.max_tokens * m.d * 4 * qk_copies
            + forward
            + block_bytes(n, m.max_tokens, cells, threads, sums, config.moments)
        )
        # a tile of each quantity is copied and compressed when it is written
        writing = 2.0 * q * min(config.execution.advanced.tile, n) * n * 8 * (sums > 0)
        layers = len(m.layers) if turns > 1 else 1  # with sums at once
        fixed = (
            longest * m.max_tokens * (m.d * 4 + 30)  # residual stream and tokens of a unit
            + longest * m.max_tokens * 36  # tokens not embedded yet, and those of the next unit
            + 1.5 * m.checkpoint_bytes  # as read, and converted
            + layers * n * m.d * 8.0 * means
        )
        # pairs are counted before there are sums, where the unit is in memory as a whole
        counts = n * 4.0 * (sums > 0) * (turns > 1)
        return cls(
            genes=n,
            turns=turns,
            fixed=fixed,
            per_row=counts + layers * n * (8.0 * q * sums + (8 * sums + 4) * second),
            work=max(work, writing),
            # as given, and where a family projects q, k and v together, v beside them
            queries=(longest - cells) * m.max_tokens * m.d * 4 * 3.0,
        )

    def bytes(self, blocks: RowBlocks | None) -> float:
        """Return the bytes of a unit, with all rows of a layer at once (None) or by blocks."""
        if blocks is None:
            return self.fixed + self.per_row * self.genes + self.work
        rows = min(blocks.rows, self.genes)
        return self.fixed + self.per_row * rows + self.work + self.queries * blocks.keep_queries

    def blocks(self, limit: float, tile: int) -> RowBlocks | None:
        """Return the blocks with which a unit takes at most ``limit`` bytes; None: none, or all.

        The largest are chosen: each block reads queries and keys again. Running layers again costs
        more than smaller blocks do, so queries and keys are kept wherever a tile fits beside them.
        """
        if self.turns > 1 or self.per_row == 0 or self.bytes(None) <= limit:
            return None
        for keep in (True, False):
            room = limit - self.bytes(RowBlocks(rows=0, keep_queries=keep))
            tiles = int(room // (self.per_row * tile))
            if tiles > 0:
                most = -(-self.genes // (tiles * tile))
                even = -(-self.genes // (most * tile)) * tile  # the last is not much smaller
                return RowBlocks(rows=even, keep_queries=keep)
        return None


def choose_row_blocks(
    config: RunConfig, models: list[ModelPlan], units: list[Unit], threads: int
) -> dict[str, RowBlocks]:
    """Return row blocks of the checkpoints whose sums do not fit into the memory at once."""
    chosen = {}
    bases = [m for m in models if m.name == m.base]
    limit = memory_limit(config) / (1 if config.execution.memory else actors(config, bases))
    limit -= IMPORTS
    of_gpu = device_limit(config)
    if of_gpu is not None:
        limit = min(limit, of_gpu)
    for m in bases:
        if m.family == COEXPRESSION or m.imported:
            continue
        memory = UnitMemory.of(config, m, models, units, threads)
        blocks = memory.blocks(limit, config.execution.advanced.tile)
        if blocks is not None:
            chosen[m.name] = blocks
    return chosen


def actors(config: RunConfig, bases: list[ModelPlan]) -> int:
    """Return the replicas of all models."""
    return config.execution.actors * len(bases)


def memory_limit(config: RunConfig) -> float:
    """Return the bytes of an actor (``execution.memory``), or without it of all on this machine."""
    memory = config.execution.memory
    return parse_bytes(memory) if memory else 0.8 * psutil.virtual_memory().available


def device_limit(config: RunConfig) -> float | None:
    """Return a replica's share of a GPU's memory; None: of a CPU, or not known."""
    e = config.execution
    if e.device == "cpu":
        return None
    if e.device_memory is not None:
        return float(parse_bytes(e.device_memory, "execution.device_memory")) * e.gpus
    if torch.cuda.is_available():  # a head that only plans may have none
        return float(torch.cuda.get_device_properties(0).total_memory) * e.gpus
    return None
