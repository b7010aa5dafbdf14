"""Pooled categories: their sums and cells are added, then finalised like any matrix."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from dask.delayed import delayed

from octoscope.analysis import statistics
from octoscope.analysis.dask_graphs import compute
from octoscope.analysis.derived_views import DerivedViews, pooled
from octoscope.analysis.finished_matrices import FinishedMatrices
from octoscope.analysis.label_tables import labelled, name_genes
from octoscope.analysis.registry import Analysis, Context, Needs
from octoscope.analysis.summarise_matrix import finalise
from octoscope.analysis.tables.consensus_schema import POOL_TABLES
from octoscope.config.view_names import default_min_cells
from octoscope.errors import InputError
from octoscope.run_plan.settings import PoolPlan
from octoscope.run_plan.values import Block, ModelPlan, Plan
from octoscope.run_plan.work_names import matrix_work

STATS = "tables/pools.parquet"


def top_path(model: str) -> str:
    """Return the name of an attention variant's top pairs in every pool."""
    return f"pools/{model}.parquet"


def pooled_variants(plan: Plan, finished: set[Block]) -> list[tuple[ModelPlan, str]]:
    """Return the attention variants and pools all of whose categories are finished.

    Means of categories do not add up to the mean of their cells, so mean cells and co-expression
    have no pools.
    """
    pools = plan.pools
    return [
        (m, pool)
        for m in plan.models
        for pool, p in pools.items()
        if m.estimator == "per_cell" and all((m.name, c) in finished for c in p.categories)
    ]


def pool_tables(plan: Plan, finished: set[Block]) -> list[str]:
    """Return the tables that the analysis makes of the finished blocks."""
    models = dict.fromkeys(m.name for m, _ in pooled_variants(plan, finished))
    return [STATS, *(top_path(m) for m in models)] if models else []


def _outputs(plan: Plan, finished: Sequence[Block]) -> dict[str, Sequence[Block]]:
    if plan.compare is None or not finished:
        return {}
    return dict.fromkeys(pool_tables(plan, set(finished)), finished)


def _compute(context: Context) -> Iterable[tuple[str, pd.DataFrame]]:
    """Summarise every pool of every attention variant and layer."""
    plan, finished = context.run.plan, set(context.finished)
    pools = plan.pools
    todo = [
        (m.name, name, pools[name], layer)
        for m, name in pooled_variants(plan, finished)
        for layer in m.layers
    ]
    return _pool(context.run, todo, context.scheduler).items()


def pool_finished(
    run: FinishedMatrices,
    name: str,
    categories: Sequence[str],
    *,
    min_cells: int | None = None,
    scheduler: Any = "threads",
) -> dict[str, pd.DataFrame]:
    """Pool categories of a finished run that kept its matrices; returns the tables by name.

    ``min_cells``: cells that a pair needs; None: the default for a category of so many cells.

    Raises
    ------
    InputError
        If the run has no such categories, or only means of cells.
    """
    plan = run.plan
    names = [c.name for c in plan.categories]
    for category in categories:
        if category not in names:
            raise InputError(
                "--category", f"{category!r} is not in this run", f"of {', '.join(names)}"
            )
    at = sorted({names.index(c) for c in categories})
    if len(at) < 2:
        raise InputError("--category", "a pool needs at least two categories", "name another")
    cells = sum(plan.categories[c].n_cells or 0 for c in at)
    least = min_cells or default_min_cells(cells)
    chosen = PoolPlan(categories=at, min_cells=least)
    quarantined = {w for w in plan.matrix_work() if not run.has(w)}
    todo = [
        (m.name, name, chosen, layer)
        for m in plan.models
        if m.estimator == "per_cell"
        and not any(matrix_work(m.name, c, y) in quarantined for c in at for y in m.layers)
        for layer in m.layers
    ]
    if not todo:
        raise InputError(
            "octoscope pool",
            "the run has no per-cell attention; means over categories cannot be added",
            "run with estimators: per_cell",
        )
    return _pool(run, todo, scheduler)


def _pool(
    run: FinishedMatrices, todo: Sequence[tuple[str, str, PoolPlan, int]], scheduler: Any
) -> dict[str, pd.DataFrame]:
    # plain values: Dask on Ray makes a bare tuple of a named one
    tasks = [
        delayed(_finalised)(run, model, name, p.categories, p.min_cells, layer)
        for model, name, p, layer in todo
    ]
    results = compute(tasks, scheduler)
    parts_of: dict[str, list[pd.DataFrame]] = {}
    for (model, *_), (top, stats) in zip(todo, results, strict=True):
        parts_of.setdefault(top_path(model), []).append(top)
        parts_of.setdefault(STATS, []).append(stats)
    tables = {name: pd.concat(parts, ignore_index=True) for name, parts in parts_of.items()}
    if STATS in tables:
        tables[STATS] = statistics.with_half_q(tables[STATS], ["pool", "gene_set", "view"])
    return tables


def _finalised(
    run: FinishedMatrices,
    model: str,
    name: str,
    categories: Sequence[int],
    min_cells: int,
    layer: int,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    plan = run.plan
    m = plan.model(model)
    share = plan.cache_bytes // len(categories)  # all of them are read a dozen times
    parts = [run.sums(model, c, layer, cache_bytes=share) for c in categories]
    done = finalise(
        DerivedViews(pooled(parts, min_cells)),
        {s: np.array(positions) for s, positions in m.gene_sets.items()},
        m.views,
        top_k=plan.top_k,
        permutations=plan.permutations,
        max_permutation_factor=plan.max_permutation_factor,
        seed=plan.seed,
    )
    label = {"model": model, "pool": name, "layer": layer}
    return labelled(name_genes(done.topk, m), label), labelled(done.stats, label)


POOL_ANALYSIS = Analysis(
    "pools", Needs(matrices=True, donors=True), _outputs, _compute, POOL_TABLES
)
