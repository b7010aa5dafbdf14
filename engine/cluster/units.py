"""Computing one unit: cells to tokens to layers to sums, then commit. No Ray in here."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import zarr
from zarr.abc.store import Store

from engine.atlas import Atlas
from engine.attention.accumulate import BatchLayout, LayerSums, PairCounts, QKBatch
from engine.attention.finite import require_finite
from engine.attention.residuals import ResidualSums
from engine.cluster.feed import Feed
from engine.cluster.mean_cells import attend_mean_cells
from engine.cluster.physical import PhysicalBatches
from engine.config import RunConfig
from engine.errors import InputError
from engine.models import TOKEN_KINDS, Tokens, load_model
from engine.models.protocol import GENE
from engine.store import tiles
from engine.store.plan import Plan, Unit, layer_name, sums_name
from engine.store.records import Attempt, Record
from engine.store.root import RunRoot

_NO_GENE = "no gene of the model is expressed"
_OUTSIDE = 1  # mass column of genes that are not accumulated


@dataclass
class _Batch:
    """A physical batch between layers."""

    residual: torch.Tensor
    mask: torch.Tensor
    layout: BatchLayout
    cell_ids: np.ndarray


class UnitRunner:
    """Holds one model and the atlas, and computes units of that model.

    ``share``: of a GPU that several replicas share, the part of its memory that this one may use.
    """

    def __init__(
        self, root: RunRoot, plan: Plan, config: RunConfig, model: str, share: float = 1
    ) -> None:
        self._root, self._plan = root, plan
        self._m = plan.model(model)
        device = config.execution.device
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        if device.startswith("cuda") and not torch.cuda.is_available():
            raise InputError("execution.device", "cuda, but no GPU is visible", "use auto or cpu")
        self._device = torch.device(device)
        if self._device.type == "cuda" and 0 < share < 1:
            torch.cuda.set_per_process_memory_fraction(share, self._device)
        torch.set_num_threads(plan.threads)
        zarr.config.set({"threading.max_workers": config.execution.readers})
        self._atlas = Atlas(config.atlas)
        self._index = self._atlas.index(config.seed)
        self._model = load_model(
            self._m.path,
            family=self._m.family,
            device=device,
            dtype=getattr(torch, self._m.dtype),
            options=self._m.options,
            seed=config.seed,
        )
        self._physical = PhysicalBatches(self._model, self._device)
        # Only a declared input panel enters the model, where one is declared.
        match = self._model.match(self._atlas.genes).named_by(self._atlas.genes)
        self._match = match.with_panel(self._m.input_genes)
        position = {e: i for i, e in enumerate(self._m.axis)}
        # The last entry serves index -1: tokens that are not genes.
        self._heads = tuple(r.heads for r in plan.readings(model, "per_cell"))
        self._residuals = bool(plan.readings(model, "mean_residual"))
        self._panel = np.array([position.get(e, -1) for e in self._match.genes.ensembl] + [-1])
        self._feed = Feed(
            self._atlas,
            self._index.halves,
            self._model,
            self._match,
            self._m.micro_batch,
            self._m.batch_cells,
            self._device,
        )

    @property
    def device(self) -> str:
        """Where the model is: ``cpu``, or a GPU's name."""
        if self._device.type == "cuda":
            return str(torch.cuda.get_device_name(self._device))
        return self._device.type

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
            If a count is not a count.
        """
        started = time.monotonic()
        attempt = Attempt(self._root, unit.work)
        store = attempt.zarr("sums.zarr")
        self._physical.start_from(self._m.batch_cells, halvings)
        batches, facts = self._embed(unit)
        if ahead is not None:
            self._feed.ahead(ahead)
        n, tile = len(self._m.axis), self._plan.tile
        pairs = PairCounts(n, tile=tile)
        for group in batches:
            for batch in group:
                pairs.add(batch.layout)
        self._write(store, "pairs", pairs.counts.numpy())
        for layer in range(self._m.n_layers):
            sums = residuals = None
            if layer in self._m.layers:
                columns = tuple(self._m.mass_columns)
                if self._heads:
                    sums = LayerSums(
                        n,
                        columns,
                        tile=tile,
                        device=self._device,
                        heads=self._heads,
                        moments=self._plan.moments,
                    )
                if self._residuals:
                    residuals = ResidualSums(n, self._m.d, device=self._device)
            where = f"model {self._m.name}, unit {unit.id}, layer {layer}"
            for group in batches:
                parts = []
                for batch in group:
                    if residuals is not None:
                        residuals.add(batch.residual, batch.layout.panel)
                    a, batch.residual = self._physical.layer(
                        layer, batch.residual, batch.mask, unit.work
                    )
                    require_finite(a.q, a.k, batch.cell_ids, batch.mask, where)
                    if sums is not None:
                        parts.append(QKBatch(a.q, a.k, a.scale, a.mask, batch.layout))
                if sums is not None and parts:
                    sums.add(parts)
            if sums is not None:
                sums.check_mass(where)
                for r, heads in enumerate(self._heads):
                    self._write(store, sums_name(layer, heads), sums.sums[r].cpu().numpy())
                    self._write(store, sums_name(layer, heads, "mass"), sums.mass[r].cpu().numpy())
                    if sums.spread is not None:
                        m2 = sums.spread[r].cpu().numpy()
                        self._write(store, sums_name(layer, heads, "m2"), m2)
            if residuals is not None:
                residuals.check(where)
                self._write(store, layer_name(layer, "residual"), residuals.sums.cpu().numpy())
            if layer in self._m.layers:
                held = pairs.counts.diagonal().numpy().astype(np.int64)
                self._write(store, layer_name(layer, "cells"), held[None])
            if layer == max(self._m.layers):
                break
        facts["seconds"] = round(time.monotonic() - started, 3)
        return attempt.commit(self._plan.hash, facts)

    def mean_cell(self, category: int) -> Record:
        """Commit what the model attends with for a category's mean cell."""
        return attend_mean_cells(
            self._root, self._plan, self._m, self._model, self._device, category
        )

    def _write(self, store: Store, name: str, values: np.ndarray) -> None:
        tiles.write_array(store, name, values, self._plan.tile)

    def _embed(self, unit: Unit) -> tuple[list[list[_Batch]], dict[str, Any]]:
        """Return residuals of the unit's cells in logical micro-batches of physical batches."""
        groups: list[list[_Batch]] = []
        refused: list[dict[str, str]] = []
        used = n_tokens = 0
        waited = 0.0
        for fed in self._feed.batches(unit):
            waited += fed.waited
            refused += [{"cell": c, "why": _NO_GENE} for c in fed.refused]
            groups.append([self._batch(part) for part in fed.parts])
            used += sum(len(part.cell_ids) for part in fed.parts)
            n_tokens += sum(int(part.mask.sum()) for part in fed.parts)
        facts = {
            "cells_used": used,
            "cells_refused": refused,
            "tokens": n_tokens,
            "wait_seconds": round(waited, 3),
        }
        return groups, facts

    def _batch(self, tokens: Tokens) -> _Batch:
        panel = self._panel[tokens.gene]
        special = np.full(panel.shape, -1, np.int64)
        special[(tokens.kind == GENE) & (panel < 0)] = _OUTSIDE
        for kind in self._model.special_kinds:
            column = self._m.mass_columns.index(kind)
            special[(tokens.kind == TOKEN_KINDS.index(kind)) & tokens.mask] = column
        mask = torch.from_numpy(tokens.mask).to(self._device)
        return _Batch(self._feed.embed(tokens), mask, BatchLayout(panel, special), tokens.cell_ids)
