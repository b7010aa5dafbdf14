"""Co-expression in a run: units of cells to co-moments, and those to a matrix. No Ray in here."""

from __future__ import annotations

import time

import numpy as np
import pandas as pd
from scipy import sparse
from zarr.abc.store import Store

from octoscope.atlas import Atlas
from octoscope.attention.comoments import (
    CoMoments,
    correlation,
    log_normalise,
    varying,
)
from octoscope.config import RunConfig
from octoscope.extract.cells_read import cells_read, digests_of
from octoscope.extract.ranked_cells import RankedCells, cells_used, rows_at_once
from octoscope.results.stored_sums import PARTS, unit_rows
from octoscope.row_blocks import fold_tree, row_ranges
from octoscope.run_plan.values import ModelPlan, Plan, Unit
from octoscope.store import tiles
from octoscope.store.commits import Attempt, Record
from octoscope.store.run_dir import RunRoot

_SPILL_TILE = 1 << 20  # values in a chunk of the spill


class CoexpressionRunner:
    """Holds the atlas, and computes units of the co-expression entries."""

    def __init__(self, root: RunRoot, plan: Plan, config: RunConfig, model: str) -> None:
        self._root, self._plan, self._m = root, plan, plan.model(model)
        self._atlas = Atlas(config.cells)
        self._index = self._atlas.index_of(config)
        at = pd.Index(self._atlas.genes.ensembl).get_indexer(self._m.axis)
        self._columns = at
        kinds = [m.estimator for m in plan.models if m.base == model]
        self._pearson, self._spearman = "pearson" in kinds, "spearman" in kinds

    def run(self, unit: Unit, halvings: int = 0, ahead: Unit | None = None) -> Record:
        """Compute a unit and commit it; no batch is halved, and nothing is read for the next.

        Arrays: ``cells`` [1, genes] cells that express each gene; for Pearson ``mean`` [1, genes]
        and ``products`` [genes, genes]; for Spearman the values by gene: ``values`` and ``cell``
        [values, 1], ``ends`` [1, genes + 1].

        Raises
        ------
        InputError
            If a count is not a count, or not what another unit read of the same cell.
        """
        started = time.monotonic()
        attempt = Attempt(self._root, unit.work)
        store, n = attempt.zarr("sums.zarr"), len(self._m.axis)
        half = self._index.halves[unit.category][unit.half]
        read = digests_of(self._plan, unit)
        moments: CoMoments | None = None
        cells, used, waited = np.zeros((1, n), np.int64), 0, 0.0
        parts: list[sparse.csr_matrix] = []
        refused: list[dict[str, str]] = []
        at = time.monotonic()
        for batch in self._atlas.stream(half[unit.start : unit.stop], self._m.micro_batch):
            waited += time.monotonic() - at
            read.add(batch.counts)
            counted = np.asarray(batch.counts.sum(1)).ravel() > 0
            refused += [{"cell": str(c), "why": "no counts"} for c in batch.cell_ids[~counted]]
            values = log_normalise(batch.counts[counted])[:, self._columns]
            cells += values.getnnz(0)
            used += values.shape[0]
            if self._pearson:
                part = CoMoments.of(values)
                moments = part if moments is None else moments.merge(part)
            if self._spearman:
                parts.append(values)
            at = time.monotonic()
        tile = self._plan.tile
        tiles.write_array(store, "cells", cells, tile)
        if self._pearson:
            moments = moments or CoMoments.of(sparse.csr_matrix((0, n)))
            tiles.write_array(store, "mean", moments.mean[None], tile)
            tiles.write_array(store, "products", moments.products, tile)
        if self._spearman:
            by_gene = sparse.vstack([*parts, sparse.csr_matrix((0, n))]).tocsc()
            tiles.write_array(store, "ends", by_gene.indptr[None].astype(np.int64), tile)
            tiles.write_array(store, "values", by_gene.data[:, None], _SPILL_TILE)
            cell = by_gene.indices[:, None].astype(np.int32)
            tiles.write_array(store, "cell", cell, _SPILL_TILE)
        metrics = {
            "cells_used": used,
            "cells_refused": refused,
            "tokens": 0,
            "wait_seconds": round(waited, 3),
            "seconds": round(time.monotonic() - started, 3),
            **cells_read(self._root, self._plan, self._atlas, half, unit, read),
        }
        return attempt.commit(self._plan.hash, metrics)


def write_correlations(
    attempt: Attempt, halves: list[list[Record]], m: ModelPlan, store: Store, tile: int
) -> None:
    """Write ``sums`` [half 0, half 1, all cells; 1; genes; genes] of an entry's correlations.

    The correlation over all cells is not the mean of the halves', so it is a part of its own.
    Also ``gene_mean`` and ``gene_variance`` [half 0, half 1, all cells; genes] float64 of the
    log-normalised counts: with these, correlations of categories merge exactly.
    """
    n, root = len(m.axis), attempt.root
    array = tiles.create_array(store, "sums", (PARTS, 1, n, n), "float32", tile)
    parts = [*halves, halves[0] + halves[1]]
    cells = np.array([cells_used(records) for records in parts])
    mean, squares = np.zeros((2, PARTS, n))
    for p, records in enumerate(parts):
        if records and m.estimator == "pearson":
            mean[p], squares[p] = _pearson_moments(root, records, n, tile)
        elif records:
            mean[p], squares[p] = _moments_of_values(root, records, n)
    tiles.write_array(store, "gene_mean", mean, tile)
    tiles.write_array(store, "gene_variance", squares / np.maximum(cells, 1)[:, None], tile)
    if m.estimator == "pearson":
        for first, stop in row_ranges(n, tile):
            block = np.zeros((PARTS, 1, stop - first, n), np.float32)
            for p, records in enumerate(parts):
                if records:
                    products = _pearson_rows(root, records, first, stop).products
                    block[p, 0] = correlation(products, squares[p], first)
            tiles.write_rows(array, first, block)
        return
    with attempt.room() as room:
        ranked = [
            RankedCells.of(root, records, n, room / f"rises{p}") for p, records in enumerate(parts)
        ]
        for first, stop in row_ranges(n, rows_at_once(n, tile)):
            block = np.stack([cells.correlation(first, stop) for cells in ranked])[:, None]
            for at, end in row_ranges(stop - first, tile):
                tiles.write_rows(array, first + at, block[:, :, at:end])


def _pearson_rows(root: RunRoot, records: list[Record], first: int, stop: int) -> CoMoments:
    means = unit_rows(root, records, "mean", 0, 1)
    products = unit_rows(root, records, "products", first, stop)
    parts = (
        CoMoments(int(r.metrics["cells_used"]), mean[0], rows, first)
        for r, mean, rows in zip(records, means, products, strict=True)
    )
    comoments = fold_tree(parts, CoMoments.merge)
    assert comoments is not None  # callers ask for parts that have units
    return comoments


def _pearson_moments(
    root: RunRoot, records: list[Record], n: int, tile: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return [genes] means and sums of squared deviations."""
    mean, squares = np.zeros((2, n))
    for first, stop in row_ranges(n, tile):
        comoments = _pearson_rows(root, records, first, stop)
        own = comoments.products[np.arange(stop - first), np.arange(first, stop)]
        mean[first:stop] = comoments.mean[first:stop]
        squares[first:stop] = varying(own, comoments.mean[first:stop], comoments.n)
    return mean, squares


def _moments_of_values(
    root: RunRoot, records: list[Record], n: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return [genes] means and sums of squared deviations, from the positive values by gene."""
    n_cells, total, square = cells_used(records), np.zeros(n), np.zeros(n)
    for ends, record in zip(unit_rows(root, records, "ends", 0, 1), records, strict=True):
        values = next(unit_rows(root, [record], "values", 0, int(ends[0, -1])))[:, 0]
        gene = np.repeat(np.arange(n), np.diff(ends[0]))
        total += np.bincount(gene, values, n)
        square += np.bincount(gene, values**2, n)
    mean = total / max(n_cells, 1)
    return mean, varying(square - n_cells * mean**2, mean, n_cells)
