"""Sums that a run has written as :class:`~octoscope.analysis.matrix.MatrixSource`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from zarr.abc.store import Store

from octoscope.analysis.matrix import HalfTile, MatrixSource, cached_tiles
from octoscope.errors import DamagedRunError
from octoscope.row_blocks import row_ranges, tree_sum
from octoscope.run_plan.values import ModelPlan, Plan
from octoscope.run_plan.work_names import pairs_work
from octoscope.store import tiles
from octoscope.store.commits import Record, read_record
from octoscope.store.manifest import require_objects
from octoscope.store.run_dir import RunRoot

GENE_EMBEDDINGS = "gene_embeddings"  # array of a category's first unit, and of its pair counts
PARTS = 3  # half 0, half 1, all cells: of matrices whose total is not the sum of the halves


def read_finished_record(root: RunRoot, plan: Plan, work: str) -> Record:
    """Return the record of finished work whose objects are all there.

    Raises
    ------
    DamagedRunError
        If it is not finished or an object is missing.
    """
    record = read_record(root, work, plan.hash)
    if record is None:
        raise DamagedRunError(f"{work}: not finished")
    require_objects(root, record)
    return record


def unit_arrays(root: RunRoot, records: list[Record], name: str) -> list[Any]:
    """Open an array of every unit, in the order of the records."""
    return [tiles.open_array(root.zarr(f"{r.folder}/sums.zarr"), name) for r in records]


def rows_of(
    arrays: list[Any], first: int, stop: int, lead: int | None = None
) -> Iterator[np.ndarray]:
    """Yield the same rows of every array; one array's rows are in memory at a time."""
    for array in arrays:
        yield tiles.read_rows(array, first, stop, lead)


def tile_of(
    arrays: list[Any], first: int, stop: int, empty: np.ndarray, lead: int | None = None
) -> np.ndarray:
    """Sum one row tile over units in plan order (fixed binary tree, the units' dtype)."""
    total = tree_sum(rows_of(arrays, first, stop, lead))
    return empty if total is None else total


def unit_rows(
    root: RunRoot, records: list[Record], name: str, first: int, stop: int
) -> Iterator[np.ndarray]:
    """Yield rows of an array of every unit, in the order of the records."""
    return rows_of(unit_arrays(root, records, name), first, stop)


def matrix_source(
    root: RunRoot, plan: Plan, model: str, category: int, sums_store: Store, *, cache_bytes: int = 0
) -> MatrixSource:
    """Open a matrix whose reduced sums are in ``sums_store``.

    ``cache_bytes``: the matrix is kept in memory once it is read if it takes no more.
    """
    m = plan.model(model)
    pairs = read_finished_record(root, plan, pairs_work(m.base, category))
    sums = tiles.open_array(sums_store, "sums")
    n = len(m.axis)
    followed = plan.moments == 2 and m.estimator == "per_cell"
    m2 = tiles.open_array(sums_store, "m2") if followed else None
    # sums, n_ij and, where followed, squared deviations of both halves
    keep = sums.nbytes + (16 if followed else 8) * n * n <= cache_bytes
    counts = _pairs_reader(root, pairs, m)

    def stored(rows: np.ndarray | None = None) -> Iterator[HalfTile]:
        for first, stop in row_ranges(n, plan.tile, rows):
            block = tiles.read_rows(sums, first, stop)
            whole = block[2] if len(block) > 2 else None  # if it is not the sum of the halves
            n_ij = counts(first, stop)
            both = n_ij[2] if len(n_ij) > 2 else None
            deviations = None if m2 is None else tiles.read_rows(m2, first, stop)
            tile = [HalfTile(first, block[:2], n_ij[:2], whole, both, deviations)]
            del block, n_ij, whole, both, deviations
            yield tile.pop()  # only the caller has a reference

    used = pairs.metrics["cells_used"]
    return MatrixSource(
        cached_tiles(stored, n, plan.tile) if keep else stored,
        n,
        (used[0], used[1]),
        plan.categories[category].min_cells,
        means=m.estimator != "per_cell",
        moments=2 if followed else 1,
    )


def gene_cells(root: RunRoot, pairs: Record) -> np.ndarray:
    """Return [3, genes] int32: cells of half 0, of half 1 and of both that hold each gene."""
    array = tiles.open_array(root.zarr(f"{pairs.folder}/pairs.zarr"), "cells")
    halves = tiles.read_rows(array, 0, 1)[:, 0]
    return np.concatenate([halves, halves.sum(0, keepdims=True, dtype=halves.dtype)])


def gene_embeddings(root: RunRoot, record: Record, store: str) -> np.ndarray | None:
    """Return [genes, width] float32, the checkpoint's own embeddings; None: there are none.

    ``store``: ``sums.zarr`` of a category's first unit, or ``pairs.zarr`` of its pair counts.
    """
    if not any(f"/{store}/{GENE_EMBEDDINGS}/" in name for name in record.objects):
        return None
    array = tiles.open_array(root.zarr(f"{record.folder}/{store}"), GENE_EMBEDDINGS)
    return tiles.read_rows(array, 0, array.shape[0])


def _pairs_reader(root: RunRoot, pairs: Record, m: ModelPlan) -> Callable[[int, int], np.ndarray]:
    """Return a reader of rows of n_ij [2, rows, genes]; [3, rows, genes] for co-expression.

    For a mean cell, and for co-expression, a pair needs only that each gene has enough cells: n_ij
    is the smaller of n_i and n_j, in each half and, as the third block, in both together.
    """
    if m.estimator != "per_cell":
        cells = gene_cells(root, pairs)
        return lambda first, stop: np.minimum(cells[:, first:stop, None], cells[:, None, :])
    counts = tiles.open_array(root.zarr(f"{pairs.folder}/pairs.zarr"), "pairs")
    return lambda first, stop: tiles.read_rows(counts, first, stop)


def eligible_pairs(root: RunRoot, plan: Plan, model: str, category: int) -> np.ndarray:
    """Return [genes, genes] bool: pairs with enough cells in both halves together."""
    m = plan.model(model)
    pairs = read_finished_record(root, plan, pairs_work(m.base, category))
    read, n = _pairs_reader(root, pairs, m), len(m.axis)
    out = np.empty((n, n), bool)
    for first, stop in row_ranges(n, plan.tile):
        n_ij = read(first, stop)
        both = n_ij[2] if len(n_ij) > 2 else n_ij[0] + n_ij[1]
        out[first:stop] = both >= plan.categories[category].min_cells
    return out
