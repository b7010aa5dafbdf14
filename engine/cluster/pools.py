"""Categories that are also read as one: sums and cells added, then finalised like any matrix."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from dask.delayed import delayed

from engine.analysis.derived import Derived, pooled
from engine.analysis.finalise import finalise
from engine.analysis.stored import stored_sums
from engine.cluster.comparable import labelled, name_genes, plan_of, settings
from engine.cluster.graphs import compute
from engine.store.plan import ModelPlan, Plan
from engine.store.root import RunRoot

STATS = "tables/pools.parquet"


def top_path(model: str) -> str:
    """Return the name of a reading's top pairs in every pool."""
    return f"pools/{model}.parquet"


def pooled_readings(plan: Plan, finished: set[tuple[str, int]]) -> list[tuple[ModelPlan, str]]:
    """Return the readings and pools all of whose categories are finished.

    Means of categories do not add up to the mean of their cells, so mean cells and co-expression
    have no pools.
    """
    pools = settings(plan).pools
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
    todo = [
        (m.name, name, layer) for m, name in pooled_readings(plan, finished) for layer in m.layers
    ]
    found = compute([delayed(_finalised)(run, *x) for x in todo], scheduler)
    made: dict[str, list[pd.DataFrame]] = {}
    for (model, _, _), (top, stats) in zip(todo, found, strict=True):
        made.setdefault(top_path(model), []).append(top)
        made.setdefault(STATS, []).append(stats)
    return {name: pd.concat(parts, ignore_index=True) for name, parts in made.items()}


def _finalised(run: str, model: str, name: str, layer: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    root, plan = RunRoot(run), plan_of(run)
    p, m = settings(plan).pools[name], plan.model(model)
    parts = [stored_sums(root, plan, model, c, layer) for c in p.categories]
    done = finalise(
        Derived(pooled(parts, p.min_cells)),
        {s: np.array(members) for s, members in m.gene_sets.items()},
        m.views,
        top_k=plan.top_k,
        permutations=plan.permutations,
        seed=plan.seed,
    )
    label = {"model": model, "pool": name, "layer": layer}
    return labelled(name_genes(done.topk, m), label), labelled(done.stats, label)
