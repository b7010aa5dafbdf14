"""Residual geometry of a run's mean cells: every layer of every model against every other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from dask.delayed import delayed

from octoscope.analysis import statistics
from octoscope.analysis.geometry import compare_geometry
from octoscope.analysis.pairings import axis_positions, labelled, plan_of, shared_genes
from octoscope.analysis.summaries import over_categories
from octoscope.pipeline.dask_graphs import compute
from octoscope.plan.values import Plan
from octoscope.plan.work_names import layer_name, residual_work
from octoscope.results.stored_sums import read_finished_record
from octoscope.store import tiles
from octoscope.store.run_dir import RunRoot

GEOMETRY = "tables/geometry.parquet"
GEOMETRY_CATEGORIES = "tables/geometry_categories.parquet"


def geometry_blocks(plan: Plan, finished: set[tuple[str, int]]) -> dict[int, list[str]]:
    """Return category -> checkpoints whose mean cells are there, where they can be compared."""
    read = {m.base for m in plan.models if m.estimator == "mean_residual"}
    found = {
        c: [
            m.name
            for m in plan.checkpoints
            if m.name in read
            and all(
                (r.name, c) in finished for r in plan.attention_variants(m.name, "mean_residual")
            )
        ]
        for c in range(len(plan.categories))
    }
    layers = {m.name: len(m.layers) for m in plan.checkpoints}
    return {c: models for c, models in found.items() if sum(layers[m] for m in models) > 1}


def geometry(
    run: str, plan: Plan, finished: set[tuple[str, int]], scheduler: Any
) -> dict[str, pd.DataFrame]:
    """Compare the residual streams of mean cells; returns the tables by name."""
    todo = geometry_blocks(plan, finished)
    found = compute([delayed(_of)(run, c, models) for c, models in todo.items()], scheduler)
    if not found:
        return {}
    table = pd.concat(found, ignore_index=True)
    table = table.assign(q=statistics.adjust(table["p"].to_numpy(float)))
    return {GEOMETRY: table, GEOMETRY_CATEGORIES: over_categories("geometry", table)}


def _of(run: str, category: int, models: list[str]) -> pd.DataFrame:
    """Compare all layers of all models over the genes that enough cells of each hold."""
    root, plan = RunRoot(run), plan_of(run)
    genes = shared_genes(plan, models, None)
    there = np.ones(len(genes), bool)
    stores, places = {}, {}
    for name in models:
        record = read_finished_record(root, plan, residual_work(name, category))
        stores[name] = root.zarr(f"{record.folder}/attends.zarr")
        places[name] = axis_positions(plan.model(name), genes)
        present = tiles.open_array(stores[name], "present")
        there &= tiles.read_rows(present, 0, present.shape[0])[2, places[name]]
    members = [(name, layer) for name in models for layer in plan.model(name).layers]
    if there.sum() < 3:
        return pd.DataFrame({"p": []})
    streams = []
    for name, layer in members:
        array = tiles.open_array(stores[name], layer_name(layer, "mean"))
        streams.append(tiles.read_rows(array, 0, array.shape[0])[places[name][there]])
    table = compare_geometry(
        streams,
        permutations=plan.permutations,
        max_permutation_factor=plan.max_permutation_factor,
        seed=plan.seed,
    )
    ends = {
        f"{what}_{side}": [members[i][at] for i in table[side]]
        for side in ("a", "b")
        for at, what in enumerate(("model", "layer"))
    }
    table = pd.concat([pd.DataFrame(ends), table.drop(columns=["a", "b"])], axis=1)
    return labelled(table, {"category": plan.categories[category].name})
