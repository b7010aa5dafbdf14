"""Residual geometry of a run's mean cells: every layer of every model against every other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from dask.delayed import delayed

from octoscope.analysis import statistics
from octoscope.analysis.dask_graphs import compute
from octoscope.analysis.finished_matrices import FinishedMatrices
from octoscope.analysis.geometry import compare_geometry
from octoscope.analysis.label_tables import labelled
from octoscope.analysis.pairings import axis_positions, shared_genes
from octoscope.analysis.registry import Analysis, Context, Needs
from octoscope.analysis.summaries import over_categories
from octoscope.analysis.tables.columns import no_rows
from octoscope.analysis.tables.geometry_schema import GEOMETRY_TABLES
from octoscope.run_plan.values import Block, Plan

GEOMETRY = "tables/geometry.parquet"
GEOMETRY_CATEGORIES = "tables/geometry_categories.parquet"


def geometry_blocks(plan: Plan, finished: set[Block]) -> dict[int, list[str]]:
    """Return category -> checkpoints whose mean cells are there, where they can be compared."""
    with_mean_cells = {m.base for m in plan.models if m.estimator == "mean_residual"}
    models_of = {
        c: [
            m.name
            for m in plan.checkpoints
            if m.name in with_mean_cells
            and all(
                (r.name, c) in finished for r in plan.attention_variants(m.name, "mean_residual")
            )
        ]
        for c in range(len(plan.categories))
    }
    layers = {m.name: len(m.layers) for m in plan.checkpoints}
    return {c: models for c, models in models_of.items() if sum(layers[m] for m in models) > 1}


def _outputs(plan: Plan, finished: Sequence[Block]) -> dict[str, Sequence[Block]]:
    if plan.compare is None or not geometry_blocks(plan, set(finished)):
        return {}
    return dict.fromkeys((GEOMETRY, GEOMETRY_CATEGORIES), finished)


def _compute(context: Context) -> Iterable[tuple[str, pd.DataFrame]]:
    """Compare the residual streams of mean cells."""
    todo = geometry_blocks(context.run.plan, set(context.finished))
    tasks = [delayed(_geometry_of)(context.run, c, models) for c, models in todo.items()]
    parts = [t for t in compute(tasks, context.scheduler) if len(t)]
    table = pd.concat(parts, ignore_index=True) if parts else no_rows(GEOMETRY_TABLES[0])
    table = table.assign(q=statistics.adjust(table["p"].to_numpy(float)))
    yield GEOMETRY, table
    yield GEOMETRY_CATEGORIES, over_categories("geometry", table)


def _geometry_of(run: FinishedMatrices, category: int, models: list[str]) -> pd.DataFrame:
    """Compare all layers of all models over the genes that enough cells of each hold."""
    plan = run.plan
    genes = shared_genes(plan, models, None)
    in_all = np.ones(len(genes), bool)
    positions = {name: axis_positions(plan.model(name), genes) for name in models}
    for name in models:
        in_all &= run.mean_cell_genes(name, category)[positions[name]]
    refs = [(name, layer) for name in models for layer in plan.model(name).layers]
    if in_all.sum() < 3:
        return no_rows(GEOMETRY_TABLES[0])
    streams = [
        run.mean_residuals(name, category, layer)[positions[name][in_all]] for name, layer in refs
    ]
    table = compare_geometry(
        streams,
        permutations=plan.permutations,
        max_permutation_factor=plan.max_permutation_factor,
        seed=plan.seed,
    )
    ends = {
        f"{what}_{side}": [refs[i][at] for i in table[side]]
        for side in ("a", "b")
        for at, what in enumerate(("model", "layer"))
    }
    table = pd.concat([pd.DataFrame(ends), table.drop(columns=["a", "b"])], axis=1)
    return labelled(table, {"category": plan.categories[category].name})


GEOMETRY_ANALYSIS = Analysis(
    "geometry",
    Needs(matrices=True, residuals=True, donors=True),
    _outputs,
    _compute,
    GEOMETRY_TABLES,
)
