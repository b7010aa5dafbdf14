"""Comparisons of the layers of each model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from dask.delayed import delayed

from octoscope.analysis import statistics
from octoscope.analysis.dask_graphs import compute
from octoscope.analysis.finished_matrices import FinishedMatrices
from octoscope.analysis.label_tables import labelled, name_genes, of_all_cells
from octoscope.analysis.layers import compare_layers
from octoscope.analysis.registry import Analysis, Context, Needs
from octoscope.analysis.summaries import over_categories
from octoscope.analysis.tables.columns import no_rows
from octoscope.analysis.tables.layer_schema import LAYER_TABLES
from octoscope.run_plan.values import Block, Plan

LAYERS = "tables/layers.parquet"
LAYERS_CATEGORIES = "tables/layers_categories.parquet"


def _union_path(block: Block) -> str:
    return f"union/{block.model}.c{block.category:04d}.parquet"


def _outputs(plan: Plan, finished: Sequence[Block]) -> dict[str, list[Block]]:
    of_all = list(finished)
    return {_union_path(b): [b] for b in finished} | {
        LAYERS: of_all,
        LAYERS_CATEGORIES: of_all,
    }


def _compute(context: Context) -> Iterable[tuple[str, pd.DataFrame]]:
    blocks: Sequence[Block] = context.finished
    joined = context.wants(LAYERS, LAYERS_CATEGORIES)
    if not joined:
        blocks = [b for b in blocks if context.wants(_union_path(b))]
    tasks = [delayed(_layers_of)(context.run, *block) for block in blocks]
    results = compute(tasks, context.scheduler)
    for block, (union, _) in zip(blocks, results, strict=True):
        if context.wants(_union_path(block)):
            yield _union_path(block), union
    if not joined:
        return
    rows = [compared for _, compared in results if len(compared)]
    table = pd.concat(rows, ignore_index=True) if rows else no_rows(LAYER_TABLES[1])
    # one family per gene set and view: all pairs of layers in all models and categories
    table["q"] = statistics.adjust_by(table, ["gene_set", "view"])
    yield LAYERS, table
    yield LAYERS_CATEGORIES, over_categories("layers", table)


def _layers_of(
    run: FinishedMatrices, model: str, category: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the union's pairs and the comparison of layers, for all gene sets and views."""
    plan = run.plan
    m = plan.model(model)
    matrices = run.layers(model, category)
    tops = {y: run.matrix_table("topk", model, category, y) for y in m.layers}
    unions, tables = [], []
    for name, positions in m.gene_sets.items():
        genes = np.array(positions)
        for view in m.views:
            top = {y: of_all_cells(frame, name, view) for y, frame in tops.items()}
            union, compared = compare_layers(
                matrices,
                genes,
                view,
                top,
                permutations=plan.permutations,
                max_permutation_factor=plan.max_permutation_factor,
                seed=plan.seed,
            )
            label = {
                "model": model,
                "category": plan.categories[category].name,
                "gene_set": name,
                "view": view,
            }
            unions.append(labelled(name_genes(union, m), label))
            tables.append(labelled(compared, label))
    return pd.concat(unions, ignore_index=True), pd.concat(tables, ignore_index=True)


LAYER_ANALYSIS = Analysis("layers", Needs(matrices=True), _outputs, _compute, LAYER_TABLES)
