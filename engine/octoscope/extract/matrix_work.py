"""Reduces units to matrices and finalises them (summaries of each matrix). Uses no Ray."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from zarr.abc.store import Store

from octoscope.analysis.derived_views import DerivedViews
from octoscope.analysis.edges import strongest_keys
from octoscope.analysis.summarise_matrix import finalise
from octoscope.attention.views import QUANTITIES
from octoscope.attention.welford import Spread
from octoscope.extract.coexpression_work import write_correlations
from octoscope.results.mean_cell_matrix import mean_cell_source, mean_cells_of
from octoscope.results.open_matrix import leave_donors_out
from octoscope.results.stored_sums import (
    GENE_EMBEDDINGS,
    gene_embeddings,
    matrix_source,
    read_finished_record,
    rows_of,
    tile_of,
    unit_arrays,
)
from octoscope.row_blocks import fold_tree, row_ranges
from octoscope.run_plan.values import COEXPRESSION, ModelPlan, Plan, Unit
from octoscope.run_plan.work_names import layer_name, matrix_work, pairs_work, sums_name
from octoscope.store import tiles
from octoscope.store.commits import Attempt, Record
from octoscope.store.fault_injection import crash_point
from octoscope.store.parquet import table_bytes
from octoscope.store.run_dir import RunRoot

_NO_MASS = pd.DataFrame({"gene": np.zeros(0, np.int32), "cells": np.zeros(0, np.int64)})


class MatrixRunner:
    """Reduces the units of a category and finalises its matrices."""

    def __init__(self, root: RunRoot, plan: Plan) -> None:
        self._root, self._plan = root, plan
        self._checked: dict[str, Record] = {}  # units whose objects were all there

    def _records(self, model: str, category: int, half: int) -> list[Record]:
        return [self._record(u) for u in self._plan.units_of(model, category, half)]

    def _record(self, unit: Unit) -> Record:
        if unit.work not in self._checked:
            self._checked[unit.work] = read_finished_record(self._root, self._plan, unit.work)
        return self._checked[unit.work]

    def _arrays(self, records: list[Record], name: str) -> list[Any]:
        return unit_arrays(self._root, records, name)

    def pairs(self, model: str, category: int) -> Record:
        """Add up pair counts and used cells of both halves; commit.

        The embeddings of genes are kept beside them, as a run keeps no units.
        """
        attempt = Attempt(self._root, pairs_work(model, category))
        m, tile = self._plan.model(model), self._plan.tile
        n, store = len(m.axis), attempt.zarr("pairs.zarr")
        halves = [self._records(model, category, h) for h in (0, 1)]
        n_cells = np.zeros((2, 1, n), np.int32)  # cells that hold each gene
        if not self._plan.attention_variants(model, "per_cell"):
            name = "cells" if m.family == COEXPRESSION else layer_name(m.layers[0], "cells")
            for h, records in enumerate(halves):
                n_cells[h] = tile_of(self._arrays(records, name), 0, 1, n_cells[h])
        else:
            array = tiles.create_array(store, "pairs", (2, n, n), "int32", tile)
            counts = [self._arrays(records, "pairs") for records in halves]
            for first, stop in row_ranges(n, tile):
                empty = np.zeros((stop - first, n), np.int32)
                block = np.stack([tile_of(arrays, first, stop, empty) for arrays in counts])
                tiles.write_rows(array, first, block)
                at = np.arange(stop - first)
                n_cells[:, 0, first:stop] = block[:, at, at + first]
        tiles.write_array(store, "cells", n_cells, tile)
        for record in (halves[0] + halves[1])[:1]:
            embedded = gene_embeddings(self._root, record, "sums.zarr")
            if embedded is not None:
                tiles.write_array(store, GENE_EMBEDDINGS, embedded, tile)
        metrics = {
            "cells_used": [sum(r.metrics["cells_used"] for r in records) for records in halves],
            "cells_refused": [
                c for records in halves for r in records for c in r.metrics["cells_refused"]
            ],
        }
        return attempt.commit(self._plan.hash, metrics)

    def matrix(self, model: str, category: int, layer: int) -> Record:
        """Reduce one layer to dense sums (fp32, per half), finalise it, commit.

        Every later table reads these fp32 sums, so phases agree to the bit. Nothing dense is
        written of a mean cell: its matrix is computed from q and k whenever it is read.
        """
        plan, m = self._plan, self._plan.model(model)
        attempt = Attempt(self._root, matrix_work(model, category, layer))
        if m.estimator == "mean_residual":
            mass = self._mean_cell_mass(m, category, layer)
            matrix = mean_cell_source(
                self._root, plan, model, category, layer, cache_bytes=plan.cache_bytes
            )
        else:
            store = attempt.zarr("dense.zarr")
            if m.estimator == "per_cell":
                mass = self._cells_matrix(m, category, layer, store)
            else:
                halves = [self._records(model, category, h) for h in (0, 1)]
                write_correlations(attempt, halves, m, store, plan.tile)
                mass = _NO_MASS
            matrix = matrix_source(
                self._root, plan, model, category, store, cache_bytes=plan.cache_bytes
            )
        crash_point("mid-finalise", attempt.work)
        source = DerivedViews(matrix)
        done = finalise(
            source,
            {name: np.array(genes) for name, genes in m.gene_sets.items()},
            m.views,
            top_k=plan.top_k,
            permutations=plan.permutations,
            max_permutation_factor=plan.max_permutation_factor,
            seed=plan.seed,
            left_out=leave_donors_out(
                self._root, plan, model, category, layer, record=self._record
            ),
        )
        label = {"model": model, "category": plan.categories[category].name, "layer": layer}
        tables = {
            "topk": done.topk,
            "genes": done.genes,
            "histogram": done.histogram,
            "stats": done.stats,
            "mass": mass,
        }
        e = plan.edges
        if e is not None and e.view in m.views and e.gene_set in m.gene_sets:
            tables["edges"] = strongest_keys(
                source,
                np.array(m.gene_sets[e.gene_set]),
                e.view,
                per_query=e.per_query,
                threshold=e.threshold,
                symmetrise=e.symmetrise,
            )
        for table, frame in tables.items():
            frame = pd.concat([pd.DataFrame(label, index=frame.index), frame], axis=1)
            attempt.write(f"{table}.parquet", table_bytes(frame))
        return attempt.commit(plan.hash, {})

    def _cells_matrix(self, m: ModelPlan, category: int, layer: int, store: Store) -> pd.DataFrame:
        """Write the sums over cells [halves, quantities, genes, genes]; returns the mass."""
        n, tile = len(m.axis), self._plan.tile
        halves = [self._records(m.name, category, h) for h in (0, 1)]
        array = tiles.create_array(store, "sums", (2, len(QUANTITIES), n, n), "float32", tile)
        name = sums_name(layer, m.heads)
        m2 = None
        if self._plan.moments == 2:
            m2 = tiles.create_array(store, "m2", (2, n, n), "float32", tile)
            followed = [
                [self._arrays(r, x) for x in ("pairs", name, sums_name(layer, m.heads, "m2"))]
                for r in halves
            ]
        sums = [self._arrays(records, name) for records in halves]
        for first, stop in row_ranges(n, tile):
            empty = np.zeros((len(QUANTITIES), stop - first, n))
            block = [tile_of(arrays, first, stop, empty) for arrays in sums]
            tiles.write_rows(array, first, np.stack(block).astype(np.float32))
            crash_point("mid-reduce", matrix_work(m.name, category, layer))
            if m2 is not None:
                deviations = [_deviations(arrays, first, stop, n) for arrays in followed]
                tiles.write_rows(m2, first, np.stack(deviations).astype(np.float32))
        if self._plan.logits_alone(m.base):
            return _NO_MASS
        records, columns = halves[0] + halves[1], len(m.mass_columns)
        masses = self._arrays(records, sums_name(layer, m.heads, "mass"))
        mass = tile_of(masses, 0, n, np.zeros((n, columns)))
        of_cells = self._arrays(records, layer_name(layer, "cells"))
        cells = tile_of(of_cells, 0, 1, np.zeros((1, n), np.int64))
        return _mass_table(m, mass, cells[0])

    def _mean_cell_mass(self, m: ModelPlan, category: int, layer: int) -> pd.DataFrame:
        """Return the mass of the mean of all cells; its keys are genes alone."""
        of_all = mean_cells_of(self._root, self._plan, m.name, category, layer)[-1]
        mass = np.zeros((len(m.axis), len(m.mass_columns)))
        mass[:, 0] = of_all.mass()
        return _mass_table(m, mass, of_all.present.astype(np.int64))


def _deviations(arrays: list[list[Any]], first: int, stop: int, n: int) -> np.ndarray:
    """Return [rows, genes] squared deviations of the probability over the cells of units.

    ``arrays``: of every unit pair counts, sums and squared deviations.
    """
    counts, sums, m2 = (rows_of(a, first, stop) for a in arrays)
    parts = (Spread(a, b[0], c) for a, b, c in zip(counts, sums, m2, strict=True))
    spread = fold_tree(parts, Spread.merge)
    return np.zeros((stop - first, n)) if spread is None else spread.m2


def _mass_table(m: ModelPlan, mass: np.ndarray, cells: np.ndarray) -> pd.DataFrame:
    """Return attention mass per query gene: mean per cell that holds the gene."""
    mean = np.divide(mass, cells[:, None], out=np.zeros_like(mass), where=cells[:, None] > 0)
    frame = pd.DataFrame({"gene": np.arange(len(cells), dtype=np.int32), "cells": cells})
    for i, name in enumerate(m.mass_columns):
        frame[f"to_{name}"] = mean[:, i]
    return frame[frame["cells"] > 0].reset_index(drop=True)
