"""Finished matrices of a run, whatever they are made of."""

from __future__ import annotations

from engine.analysis.derived import Derived
from engine.analysis.matrix import MatrixSource
from engine.analysis.mean_cells import mean_cell_source
from engine.analysis.sources import committed, matrix_source
from engine.store.names import matrix_work
from engine.store.plan import Plan
from engine.store.root import RunRoot


def stored_sums(
    root: RunRoot, plan: Plan, model: str, category: int, layer: int, *, hold: int = 0
) -> MatrixSource:
    """Open a finished matrix as its sums; ``hold`` as for :func:`matrix_source`.

    Raises
    ------
    DamagedRunError
        If it is not finished, or what it is read from is gone.
    """
    record = committed(root, plan, matrix_work(model, category, layer))
    dense = any("/dense.zarr/" in name for name in record.objects)  # of mean cells, once
    if plan.model(model).estimator == "mean_residual" and not dense:
        return mean_cell_source(root, plan, model, category, layer, hold=hold)
    store = root.zarr(f"{record.folder}/dense.zarr")
    return matrix_source(root, plan, model, category, store, hold=hold)


def stored_matrix(
    root: RunRoot, plan: Plan, model: str, category: int, layer: int, *, hold: int = 0
) -> Derived:
    """Open a finished matrix with every view, as :func:`stored_sums`."""
    return Derived(stored_sums(root, plan, model, category, layer, hold=hold))
