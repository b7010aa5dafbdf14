"""Lists over the genes that all models have, and the consensus, controlled for co-expression."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from dask.delayed import delayed

from octoscope.analysis.controlled.comparison import Comparison
from octoscope.analysis.controlled.shared_lists import SharedLists
from octoscope.analysis.dask_graphs import compute
from octoscope.analysis.finished_matrices import FinishedMatrices
from octoscope.analysis.pairings import comparable_models, compared_sets_and_views, shared_genes
from octoscope.analysis.registry import Analysis, Context, Needs, open_network_of
from octoscope.analysis.tables.columns import no_rows
from octoscope.analysis.tables.consensus_tables import consensus_tables, network_path
from octoscope.analysis.tables.controlled_rows import OF_LIST, judged
from octoscope.analysis.tables.controlled_schema import SHARED_TABLE
from octoscope.analysis.tables.controlled_tables import coexpression_of, network_view, typed
from octoscope.octopus.network import Network
from octoscope.run_plan.values import Block, Plan

SHARED = SHARED_TABLE.path

Rows = list[dict[str, Any]]


def outputs(plan: Plan, finished: Sequence[Block]) -> dict[str, Sequence[Block]]:
    """Return the table, if the run compares models and measured co-expression."""
    compared = plan.compare is not None and plan.compare.consensus and len(plan.checkpoints) > 1
    return {SHARED: finished} if compared and coexpression_of(finished) else {}


def _compute(context: Context) -> Iterable[tuple[str, pd.DataFrame]]:
    """Compare the lists of each category and gene set; one task each."""
    assert context.network is not None  # needs.network
    run, plan, finished = context.run, context.run.plan, set(context.finished)
    network = delayed(open_network_of)(context.network)
    controls = [tuple(b) for b in coexpression_of(context.finished)]
    consensus_paths = consensus_tables(plan, finished)
    view_name = network_view(context.network.sources, context.network.independent)
    views: dict[tuple[int, str], list[str]] = {}
    for gene_set, view in compared_sets_and_views(plan):
        for category in range(len(plan.categories)):
            views.setdefault((category, gene_set), []).append(view)
    tasks = []
    for (category, gene_set), compared in views.items():
        models_of = {v: comparable_models(plan, finished, category, gene_set, v) for v in compared}
        consensus = network_path(category) in consensus_paths
        label = {"gene_set": gene_set, "network_view": view_name}
        tasks.append(
            delayed(_of_category)(
                run, category, label, models_of, network, controls, context.network.k, consensus
            )
        )
    rows = [row for of_category in compute(tasks, context.scheduler) for row in of_category]
    columns = [c.name for c in SHARED_TABLE.columns]
    table = pd.DataFrame(rows, columns=columns) if rows else no_rows(SHARED_TABLE)
    yield SHARED, table.astype({c.name: typed(c.dtype) for c in SHARED_TABLE.columns})


def _of_category(
    run: FinishedMatrices,
    category: int,
    label: dict[str, Any],
    models_of: dict[str, list[str]],
    network: Network,
    controls: list[tuple[str, int]],
    k: list[int] | None,
    consensus: bool,
) -> Rows:
    plan = run.plan
    assert plan.compare is not None  # outputs asks
    labelled: list[tuple[dict[str, Any], Comparison]] = []
    opened: dict[tuple[str, ...], SharedLists] = {}
    networks = run.table(network_path(category).removesuffix(".parquet")) if consensus else None
    of_category = label | {"category": plan.categories[category].name}
    for view, models in models_of.items():
        genes = shared_genes(plan, models, str(label["gene_set"]))
        if len(models) < 2 or len(genes) < 3:
            continue
        if (key := tuple(models)) not in opened:
            opened[key] = SharedLists(
                run, category, models, genes, network, controls, sorted(k or plan.compare.k)
            )
        of_view = None
        if networks is not None:
            here = (networks["gene_set"] == label["gene_set"]) & (networks["view"] == view)
            of_view = networks[np.asarray(here, bool)]
        lists = opened[key]
        for row, comparison in lists.comparisons(view, of_view):
            row |= of_category | {
                "n_models": len(models), "n_background": lists.genes.pairs.n_pairs,
                "cells": lists.genes.cells_of(str(row["control"])),
            }  # fmt: skip
            labelled.append((row, comparison))
    return list(judged(labelled, ("list", "model", *OF_LIST)))


SHARED_ANALYSIS = Analysis(
    "controlled overlap of shared genes",
    Needs(matrices=True, correlations=True, network=True),
    outputs,
    _compute,
    (SHARED_TABLE,),
)
