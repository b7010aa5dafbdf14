"""Categories that are also read as one: sums and cells added, then finalised like any matrix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from dask.delayed import delayed

from octoscope.analysis import statistics
from octoscope.analysis.derived_views import DerivedViews, pooled
from octoscope.analysis.pairings import comparison_settings, labelled, name_genes, plan_of
from octoscope.analysis.summarise_matrix import finalise
from octoscope.attention.views import default_min_cells
from octoscope.errors import InputError
from octoscope.pipeline.dask_graphs import compute
from octoscope.plan.values import ModelPlan, Plan, PoolPlan
from octoscope.plan.work_names import matrix_work
from octoscope.planning.freeze import run_config
from octoscope.results.open_matrix import stored_sums
from octoscope.results.require_dense import require_dense_plan
from octoscope.store.commits import read_record
from octoscope.store.run_dir import RunRoot

STATS = "tables/pools.parquet"


def top_path(model: str) -> str:
    """Return the name of a reading's top pairs in every pool."""
    return f"pools/{model}.parquet"


def pooled_readings(plan: Plan, finished: set[tuple[str, int]]) -> list[tuple[ModelPlan, str]]:
    """Return the readings and pools all of whose categories are finished.

    Means of categories do not add up to the mean of their cells, so mean cells and co-expression
    have no pools.
    """
    pools = comparison_settings(plan).pools
    return [
        (m, pool)
        for m in plan.models
        for pool, p in pools.items()
        if m.estimator == "per_cell" and all((m.name, c) in finished for c in p.categories)
    ]


def pool_tables(plan: Plan, finished: set[tuple[str, int]]) -> list[str]:
    """Return the tables that :func:`pool` makes."""
    models = dict.fromkeys(m.name for m, _ in pooled_readings(plan, finished))
    return [STATS, *(top_path(m) for m in models)] if models else []


def pool(
    run: str, plan: Plan, finished: set[tuple[str, int]], scheduler: Any
) -> dict[str, pd.DataFrame]:
    """Finalise every pool of every reading and layer; returns the tables by name."""
    pools = comparison_settings(plan).pools
    todo = [
        (m.name, name, pools[name], layer)
        for m, name in pooled_readings(plan, finished)
        for layer in m.layers
    ]
    return _made(run, todo, scheduler)


def pool_finished(
    run: str,
    name: str,
    categories: Sequence[str],
    *,
    min_cells: int | None = None,
    scheduler: Any = "threads",
) -> dict[str, pd.DataFrame]:
    """Read categories of a finished run as one; returns the tables of :func:`pool` by name.

    ``min_cells``: cells that a pair needs; None: as the run says, for a category of so many cells.

    Raises
    ------
    InputError
        If the run did not keep its matrices, has no such categories, or only means of cells.
    DamagedRunError
        If it is unfinished.
    """
    plan = require_dense_plan(run)
    names = [c.name for c in plan.categories]
    for category in categories:
        if category not in names:
            raise InputError(
                "--category", f"{category!r} is not in this run", f"of {', '.join(names)}"
            )
    at = sorted({names.index(c) for c in categories})
    if len(at) < 2:
        raise InputError("--category", "a pool is of at least two categories", "name another")
    cells = sum(sum(plan.categories[c].cells) for c in at)
    least = min_cells or run_config(RunRoot(run)).min_cells or default_min_cells(cells)
    chosen = PoolPlan(categories=at, min_cells=least)
    quarantined = {w for w in plan.matrix_work() if read_record(RunRoot(run), w, plan.hash) is None}
    todo = [
        (m.name, name, chosen, layer)
        for m in plan.models
        if m.estimator == "per_cell"
        and not any(matrix_work(m.name, c, y) in quarantined for c in at for y in m.layers)
        for layer in m.layers
    ]
    if not todo:
        raise InputError(
            run, "no reading of it can be pooled: means of categories do not add up",
            "run with estimators: per_cell",
        )  # fmt: skip
    return _made(run, todo, scheduler)


def _made(
    run: str, todo: Sequence[tuple[str, str, PoolPlan, int]], scheduler: Any
) -> dict[str, pd.DataFrame]:
    found = compute([delayed(_finalised)(run, *x) for x in todo], scheduler)
    made: dict[str, list[pd.DataFrame]] = {}
    for (model, *_), (top, stats) in zip(todo, found, strict=True):
        made.setdefault(top_path(model), []).append(top)
        made.setdefault(STATS, []).append(stats)
    tables = {name: pd.concat(parts, ignore_index=True) for name, parts in made.items()}
    if STATS in tables:
        tables[STATS] = statistics.with_half_q(tables[STATS], ["pool", "gene_set", "view"])
    return tables


def _finalised(
    run: str, model: str, name: str, p: PoolPlan, layer: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    root, plan = RunRoot(run), plan_of(run)
    m = plan.model(model)
    parts = [stored_sums(root, plan, model, c, layer) for c in p.categories]
    done = finalise(
        DerivedViews(pooled(parts, p.min_cells)),
        {s: np.array(members) for s, members in m.gene_sets.items()},
        m.views,
        top_k=plan.top_k,
        permutations=plan.permutations,
        max_permutation_factor=plan.max_permutation_factor,
        seed=plan.seed,
    )
    label = {"model": model, "pool": name, "layer": layer}
    return labelled(name_genes(done.topk, m), label), labelled(done.stats, label)
