"""Opens finished matrices of a run: of stored sums or of mean cells."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from octoscope.analysis.derived_views import DerivedViews
from octoscope.analysis.donor_jackknife import LeaveOneGroupOut
from octoscope.analysis.leave_one_out import MeanCellsLeaveOneOut, Rows, SumsLeaveOneOut
from octoscope.analysis.matrix import MatrixSource
from octoscope.attention.comoments import CoMoments, correlation, varying
from octoscope.results.mean_cell_matrix import mean_cell_source, mean_cells_without_donors
from octoscope.results.stored_sums import (
    PARTS,
    matrix_source,
    read_finished_record,
    tile_of,
    unit_arrays,
    unit_rows,
)
from octoscope.row_blocks import fold_tree, row_ranges
from octoscope.run_plan.values import COEXPRESSION, Plan, Unit
from octoscope.run_plan.work_names import matrix_work, sums_name
from octoscope.store.commits import Record
from octoscope.store.run_dir import RunRoot


def stored_sums(
    root: RunRoot, plan: Plan, model: str, category: int, layer: int, *, cache_bytes: int = 0
) -> MatrixSource:
    """Open a finished matrix as its sums; ``cache_bytes`` as for :func:`matrix_source`.

    Raises
    ------
    DamagedRunError
        If it is not finished, or its sums or mean cells are gone.
    """
    record = read_finished_record(root, plan, matrix_work(model, category, layer))
    dense = any("/dense.zarr/" in name for name in record.objects)  # of mean cells, once
    if plan.model(model).estimator == "mean_residual" and not dense:
        return mean_cell_source(root, plan, model, category, layer, cache_bytes=cache_bytes)
    store = root.zarr(f"{record.folder}/dense.zarr")
    return matrix_source(root, plan, model, category, store, cache_bytes=cache_bytes)


def stored_matrix(
    root: RunRoot, plan: Plan, model: str, category: int, layer: int, *, cache_bytes: int = 0
) -> DerivedViews:
    """Open a finished matrix with every view, as :func:`stored_sums`."""
    return DerivedViews(stored_sums(root, plan, model, category, layer, cache_bytes=cache_bytes))


def leave_donors_out(
    root: RunRoot,
    plan: Plan,
    model: str,
    category: int,
    layer: int,
    *,
    record: Callable[[Unit], Record] | None = None,
) -> LeaveOneGroupOut | None:
    """Open a matrix without each group of donors; None where it has no groups.

    ``record``: returns the record of a unit; None: read it and check that its objects exist.

    Raises
    ------
    DamagedRunError
        If the sums of a unit, or the mean cells, are gone.
    """
    m, groups = plan.model(model), plan.categories[category].groups
    if groups is None or m.family == COEXPRESSION:
        return None
    donors = [g.donors for g in groups]
    if m.estimator == "mean_residual":
        opened = mean_cells_without_donors(root, plan, m.name, category, layer)
        return MeanCellsLeaveOneOut(donors, *opened, plan.tile)

    def reader(sums: list[Any], pairs: list[Any]) -> Rows:
        def read(first: int, stop: int, quantity: int) -> tuple[np.ndarray, np.ndarray]:
            empty = np.zeros((stop - first, len(m.axis)))
            return tile_of(sums, first, stop, empty, quantity), tile_of(pairs, first, stop, empty)

        return read

    read_record = record or (lambda unit: read_finished_record(root, plan, unit.work))
    records = [
        [read_record(unit) for unit in units] for units in plan.units_by_group(model, category)
    ]
    name = sums_name(layer, m.heads)
    return SumsLeaveOneOut(
        donors,
        [sum(r.metrics["cells_used"] for r in group) for group in records],
        [
            reader(unit_arrays(root, group, name), unit_arrays(root, group, "pairs"))
            for group in records
        ],
        len(m.axis),
        plan.categories[category].min_cells or 1,
        plan.tile,
    )


def correlations_within_donors(
    root: RunRoot, plan: Plan, model: str, category: int, genes: np.ndarray
) -> Callable[[], Iterator[tuple[int, np.ndarray]]] | None:
    """Open Pearson's correlation about the means of each donor group, pooled over the groups.

    Cells of a group merge with their means (Chan, Golub, LeVeque 1983); co-moments of groups add
    up without them, so what donors have in common is left out. A gene that does not vary within
    any group has the correlation 0.

    Parameters
    ----------
    model
        A co-expression entry.
    genes
        Ascending positions on its axis.

    Returns
    -------
    callable
        Yields (first row, [half 0, half 1, all cells; rows; genes] float32); None: the entry is not
        Pearson's, or the category has no donor groups.

    Raises
    ------
    DamagedRunError
        If the co-moments of a unit are gone.
    """
    groups, m = plan.categories[category].groups, plan.model(model)
    if groups is None or m.family != COEXPRESSION or m.estimator != "pearson":
        return None
    records = [
        [read_finished_record(root, plan, unit.work) for unit in units]
        for units in plan.units_by_group(model, category)
    ]
    n = len(m.axis)

    def rows(first: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """Return [3, rows, genes] co-moments, and [3, rows] those of each gene with itself."""
        total, own = np.zeros((PARTS, stop - first, n)), np.zeros((PARTS, stop - first))
        for g, group in zip(groups, records, strict=True):
            means = unit_rows(root, group, "mean", 0, 1)
            products = unit_rows(root, group, "products", first, stop)
            parts = (
                CoMoments(int(r.metrics["cells_used"]), mean[0], block, first)
                for r, mean, block in zip(group, means, products, strict=True)
            )
            c = fold_tree(parts, CoMoments.merge)
            if c is None:
                continue
            diagonal = c.products[np.arange(stop - first), np.arange(first, stop)]
            squares = varying(diagonal, c.mean[first:stop], c.n)
            for part in (g.half, 2):
                total[part] += c.products
                own[part] += squares
        return total, own

    squares = np.concatenate([rows(a, b)[1] for a, b in row_ranges(n, plan.tile)], axis=1)

    def read() -> Iterator[tuple[int, np.ndarray]]:
        for first, stop in row_ranges(n, plan.tile, genes):
            inside = genes[(genes >= first) & (genes < stop)]
            total, _ = rows(first, stop)
            at = np.ix_(inside - first, genes)
            values = [correlation(total[p], squares[p], first)[at] for p in range(PARTS)]
            yield int(np.searchsorted(genes, inside[0])), np.stack(values)

    return read
