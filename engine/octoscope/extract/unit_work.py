"""Computing one unit: cells to tokens to layers to sums, then commit. No Ray in here."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from zarr.abc.store import Store

from octoscope.atlas import Atlas
from octoscope.attention.accumulate import BatchLayout, LayerSums, PairCounts, QKBatch, gene_cells
from octoscope.attention.finite_check import FiniteChecks, NotFiniteError
from octoscope.attention.reductions import reduction_on
from octoscope.attention.residual_sums import ResidualSums
from octoscope.config import RunConfig
from octoscope.device_copies import sent_mask
from octoscope.errors import InputError
from octoscope.extract.accelerator import accelerator_of
from octoscope.extract.cells_read import cells_read, digests_of
from octoscope.extract.gene_embeddings import embeddings_of_axis
from octoscope.extract.malloc_trim import MallocTrim
from octoscope.extract.mean_cell_work import attend_mean_cells
from octoscope.extract.oom_retry import OomRetry
from octoscope.extract.prefetch import Prefetcher, TokenBatch
from octoscope.models import TOKEN_KINDS, Tokens, load_model
from octoscope.models.cell_groups import group_digest
from octoscope.models.protocol import GENE
from octoscope.results.stored_sums import GENE_EMBEDDINGS
from octoscope.row_blocks import row_ranges
from octoscope.run_plan.values import Plan, Unit
from octoscope.run_plan.work_names import layer_name, sums_name
from octoscope.store import tiles
from octoscope.store.commits import Attempt, Record
from octoscope.store.run_dir import RunRoot

_NO_GENE = "no gene of the model is expressed"
_OUTSIDE = 1  # mass column of genes that are not accumulated


@dataclass
class _Batch:
    """A physical batch between layers."""

    residual: torch.Tensor
    mask: torch.Tensor
    layout: BatchLayout
    cell_ids: np.ndarray


@dataclass
class _Layer:
    """The sums of one layer, over rows of genes; of residuals with the first rows."""

    i: int
    where: str
    rows: tuple[int, int]
    sums: LayerSums | None = None
    residuals: ResidualSums | None = None


@dataclass
class _UnitMetrics:
    """The metrics of a unit's record."""

    cells_used: int = 0
    cells_refused: list[dict[str, str]] = field(default_factory=list)
    tokens: int = 0
    wait_seconds: float = 0.0
    seconds: float = 0.0

    def as_json(self) -> dict[str, Any]:
        times = {"wait_seconds": round(self.wait_seconds, 3), "seconds": round(self.seconds, 3)}
        return vars(self) | times


class UnitRunner:
    """Holds one model and the atlas, and computes units of that model.

    ``share``: of a GPU that several replicas share, the part of its memory that this one may use.
    """

    def __init__(
        self, root: RunRoot, plan: Plan, config: RunConfig, model: str, share: float = 1
    ) -> None:
        self._root, self._plan, self._malloc_trim = root, plan, MallocTrim()
        self._m = plan.model(model)
        self._on = accelerator_of(config.execution.device, share)
        self._device = self._on.device
        torch.set_num_threads(plan.threads)
        self._atlas = Atlas(config.cells)
        self._index = self._atlas.index_of(config)
        self._model = load_model(
            self._m.path,
            family=self._m.family,
            device=str(self._device),
            dtype=getattr(torch, self._m.dtype),
            options=self._m.options,
            seed=config.seed,
        )
        self._oom_retry = OomRetry(self._model, self._on)
        self._checks = FiniteChecks(at_once=self._on.kind == "cpu")
        # Only a declared input panel enters the model, where one is declared.
        match = self._model.match(self._atlas.genes).named_by(self._atlas.genes)
        self._match = match.with_panel(self._m.input_genes)
        self._require_same_groups()
        position = {e: i for i, e in enumerate(self._m.axis)}
        # The last entry serves index -1: tokens that are not genes.
        self._heads = tuple(r.heads for r in plan.attention_variants(model, "per_cell"))
        self._residuals = bool(plan.attention_variants(model, "mean_residual"))
        self._logits_alone = plan.logits_alone(model)
        precision = plan.settings.execution.advanced.gpu_precision
        self._reduction = reduction_on(self._on.kind, plan.tile, precision)
        self._panel = np.array([position.get(e, -1) for e in self._match.genes.ensembl] + [-1])
        n, blocks = len(self._m.axis), plan.row_blocks.get(model)
        self._rows = list(row_ranges(n, blocks.rows if blocks is not None else n))
        self._keeps = blocks is not None and blocks.keep_queries
        # micro-batches that pass the layers together
        self._in_macro = -(-(self._m.macro_cells or self._m.unit_cells) // self._m.micro_batch)
        self._prefetcher = Prefetcher(
            self._atlas,
            self._index.halves,
            self._model,
            self._match,
            self._m.micro_batch,
            self._m.batch_cells,
            self._on,
            most=self._in_macro,
            digests=partial(digests_of, plan),
        )

    def _require_same_groups(self) -> None:
        """Refuse cells that a column of obs numbers otherwise than when the run was planned."""
        rows = [rows for halves in self._index.halves for rows in halves]
        for name, digest in group_digest(self._model, self._atlas.column, rows).items():
            if self._m.digests.get(name) != digest:
                raise InputError(
                    f"{self._atlas.config.path}: {name}",
                    "numbers the cells otherwise than when the run was planned",
                    "restore the column, or plan a new run",
                )

    @property
    def device(self) -> str:
        """Device of the model: ``cpu``, or a GPU's name."""
        return self._on.name

    @torch.inference_mode()
    def run(self, unit: Unit, halvings: int = 0, ahead: Unit | None = None) -> Record:
        """Compute a unit and commit it.

        Parameters
        ----------
        ahead
            The unit that is probably next: its cells are read while this one's layers run.
        halvings
            How often earlier attempts were killed for their memory.

        Raises
        ------
        MassError
            If a layer's attention does not total one; nothing is committed.
        ActivationError
            If queries or keys are not finite, naming layer, heads and cells.
        MemoryShortError
            If a single cell does not fit.
        InputError
            If a count is not a count, or not what another unit read of the same cell.
        """
        try:
            return self._run(unit, halvings, ahead)
        except NotFiniteError:
            # again, batch by batch: that names the cells, or shows that padding alone was at fault
            self._checks = FiniteChecks(at_once=True)
        return self._run(unit, halvings, ahead)

    def _run(self, unit: Unit, halvings: int, ahead: Unit | None) -> Record:
        started = time.monotonic()
        attempt = Attempt(self._root, unit.work)
        store = attempt.zarr("sums.zarr")
        self._oom_retry.start_from(self._m.batch_cells, halvings)
        n = len(self._m.axis)
        cells = np.zeros(n, np.int64)
        metrics, read = _UnitMetrics(), {}
        # between macro-batches, by layer and first row; one at a time where there is one
        waiting: dict[tuple[int, int], _Layer] = {}
        micro = self._m.micro_batch
        n_remaining = -(-(unit.stop - unit.start) // micro)
        # pairs of genes are counted for sums over cells alone: a mean cell needs each gene's cells
        pairs: PairCounts | None = None
        if self._heads and n_remaining > self._in_macro:
            pairs = PairCounts(n, tile=self._plan.tile)
        batches = self._prefetcher.batches(unit)
        while n_remaining > 0:
            groups = [
                self._embed(tokens, metrics) for tokens in itertools.islice(batches, self._in_macro)
            ]
            n_remaining -= self._in_macro
            if n_remaining <= 0:
                batches.close()
                digests = self._prefetcher.read
                if ahead is not None:
                    self._prefetcher.ahead(ahead)
                half = self._index.halves[unit.category][unit.half]
                read = cells_read(self._root, self._plan, self._atlas, half, unit, digests)
            for group in groups:
                for batch in group:
                    cells += gene_cells(batch.layout, n)
                    if pairs is not None:
                        pairs.add(batch.layout)
            if self._heads and pairs is None:
                self._count_pairs(store, groups)
            for i in range(max(self._m.layers) + 1):
                if i in self._m.layers:
                    for layer in self._summed(i, groups, unit, waiting):
                        if n_remaining > 0:
                            waiting[i, layer.rows[0]] = layer
                        else:
                            self._write_layer(store, layer, cells)
                        del layer  # its sums go before the next are made
                else:
                    for _ in self._attended(i, groups, None, unit):
                        pass
        if pairs is not None:
            self._write(store, "pairs", pairs.counts.numpy())
        if unit == self._plan.first_unit(unit.model, unit.category):
            embedded = embeddings_of_axis(self._model, self._m, self._panel[:-1])
            if embedded is not None:
                self._write(store, GENE_EMBEDDINGS, embedded)
        metrics.seconds = time.monotonic() - started
        return attempt.commit(self._plan.hash, metrics.as_json() | read)

    def _count_pairs(self, store: Store, groups: list[list[_Batch]]) -> None:
        """Count and write the pairs of a unit that is in memory, before there are sums."""
        for rows in self._rows:
            pairs = PairCounts(len(self._m.axis), tile=self._plan.tile, rows=rows)
            for batch in itertools.chain.from_iterable(groups):
                pairs.add(batch.layout)
            self._write(store, "pairs", pairs.counts.numpy(), rows)
            del pairs

    def _layer(self, i: int, where: str, rows: tuple[int, int]) -> _Layer:
        n, m = len(self._m.axis), self._m
        layer = _Layer(i, where, rows)
        if self._heads:
            layer.sums = LayerSums(
                n,
                tuple(m.mass_columns),
                tile=self._plan.tile,
                device=self._device,
                heads=self._heads,
                moments=self._plan.moments,
                logits_alone=self._logits_alone,
                reduction=self._reduction,
                rows=rows,
            )
        if self._residuals and rows[0] == 0:
            layer.residuals = ResidualSums(n, m.d, device=self._device)
        return layer

    def _summed(
        self,
        i: int,
        groups: list[list[_Batch]],
        unit: Unit,
        waiting: dict[tuple[int, int], _Layer],
    ) -> Iterator[_Layer]:
        """Yield the sums of layer ``i`` with a macro-batch added, block of rows by block of rows.

        Its batches have passed the layer after the last block.
        """
        where = self._where(unit, i)
        kept: list[list[QKBatch]] | None = None
        for rows in self._rows:
            layer = waiting.pop((i, rows[0]), None) or self._layer(i, where, rows)
            passing: Iterable[list[QKBatch]] = kept or ()
            if kept is None:
                on = self._keeps or rows is self._rows[-1]
                passing = self._attended(i, groups, layer, unit, pass_on=on)
            if self._keeps and kept is None:
                passing = kept = list(passing)
            for parts in passing:
                if layer.sums is not None and parts:
                    layer.sums.add(parts)
                del parts  # queries and keys go before the next are made, if they are not kept
            yield layer
            del layer

    def _attended(
        self,
        i: int,
        groups: list[list[_Batch]],
        layer: _Layer | None,
        unit: Unit,
        *,
        pass_on: bool = True,
    ) -> Iterator[list[QKBatch]]:
        """Run layer ``i`` over a macro-batch; yield what each micro-batch attends with.

        Nothing is yielded of a layer that is not wanted (None). ``pass_on``: the batches go to the
        next layer; otherwise they stay before this one, to run again.
        """
        where = self._where(unit, i)
        for group in groups:
            parts = []
            for batch in group:
                if layer is not None and layer.residuals is not None:
                    layer.residuals.add(batch.residual, batch.layout.panel)
                a, after = self._oom_retry.layer(i, batch.residual, batch.mask, unit.work)
                if pass_on:
                    batch.residual = after
                del after
                self._checks.add(a.q, a.k, batch.cell_ids, batch.mask, where)
                if layer is not None and layer.sums is not None:
                    parts.append(QKBatch(a.q, a.k, a.scale, a.mask, batch.layout))
                self._malloc_trim.settle()
            if layer is not None:
                yield parts
        self._checks.settle()

    def _where(self, unit: Unit, i: int) -> str:
        return f"model {self._m.name}, unit {unit.id}, layer {i}"

    def _write_layer(self, store: Store, layer: _Layer, cells: np.ndarray) -> None:
        sums, residuals, i, rows = layer.sums, layer.residuals, layer.i, layer.rows
        if sums is not None:
            sums.check_mass(layer.where)
            for r, heads in enumerate(self._heads):
                arrays = {"sums": sums.sums[r]}
                if not sums.logits_alone:
                    arrays["mass"] = sums.mass[r]
                if sums.spread is not None:
                    arrays["m2"] = sums.spread[r]
                for what, values in arrays.items():
                    self._write(store, sums_name(i, heads, what), values.cpu().numpy(), rows)
        if residuals is not None:
            residuals.check(layer.where)
            self._write(store, layer_name(i, "residual"), residuals.sums.cpu().numpy())
        if rows[0] == 0:
            self._write(store, layer_name(i, "cells"), cells[None])

    def mean_cell(self, category: int) -> Record:
        """Commit what the model attends with for a category's mean cell."""
        return attend_mean_cells(
            self._root, self._plan, self._m, self._model, self._device, category
        )

    def _write(
        self, store: Store, name: str, values: np.ndarray, rows: tuple[int, int] | None = None
    ) -> None:
        if rows is None:
            tiles.write_array(store, name, values, self._plan.tile)
        else:
            tiles.write_block(store, name, values, self._plan.tile, rows, len(self._m.axis))

    def _embed(self, tokens: TokenBatch, metrics: _UnitMetrics) -> list[_Batch]:
        """Return a micro-batch's residuals in physical batches."""
        metrics.wait_seconds += tokens.waited
        metrics.cells_refused += [{"cell": c, "why": _NO_GENE} for c in tokens.refused]
        metrics.cells_used += sum(len(part.cell_ids) for part in tokens.parts)
        metrics.tokens += sum(int(part.mask.sum()) for part in tokens.parts)
        batches = [self._batch(part) for part in tokens.parts]
        self._malloc_trim.settle()
        return batches

    def _batch(self, tokens: Tokens) -> _Batch:
        panel = self._panel[tokens.gene]
        special = np.full(panel.shape, -1, np.int64)
        special[(tokens.kind == GENE) & (panel < 0)] = _OUTSIDE
        for kind in self._model.special_kinds:
            column = self._m.mass_columns.index(kind)
            special[(tokens.kind == TOKEN_KINDS.index(kind)) & tokens.mask] = column
        mask = sent_mask(tokens.mask, self._device)
        return _Batch(
            self._prefetcher.embed(tokens), mask, BatchLayout(panel, special), tokens.cell_ids
        )
