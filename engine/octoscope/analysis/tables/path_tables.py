"""Steps and shared pathways of the top pairs of every matrix."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from dask.delayed import delayed

from octoscope.analysis import statistics
from octoscope.analysis.dask_graphs import compute
from octoscope.analysis.finished_matrices import FinishedMatrices
from octoscope.analysis.label_tables import of_all_cells
from octoscope.analysis.network_paths import StepsAndPathways, path_test
from octoscope.analysis.registry import Analysis, Column, Context, Needs, Table, open_network_of
from octoscope.analysis.tables.columns import GENE_SET, VIEW, no_rows, null_range
from octoscope.analysis.tables.matrix_schema import NAMES
from octoscope.analysis.vertex_pairs import VertexPairs
from octoscope.octopus.network import Network
from octoscope.run_plan.values import Block, Plan

PATHS = "tables/paths.parquet"

Rows = list[dict[str, Any]]


def _tested(name: str, what: str) -> tuple[Column, ...]:
    return (
        Column(name, "float64", f"{what[0].upper()}{what[1:]}; null: there is no such pair"),
        Column(f"{name}_null_mean", "float64", f"Mean under the null of the overlap: {what}"),
        *null_range(what, f"{name}_null_low", f"{name}_null_high"),
        Column(f"{name}_p", "float64", f"Two-sided permutation p-value: {what}"),
        Column(f"{name}_q", "float64", f"{name}_p by Benjamini and Hochberg over a gene set"),
    )


PATH_TABLE = Table(
    PATHS,
    "matrix of the first view, and gene set: steps between the genes of top pairs, and pathways",
    (
        *NAMES,
        GENE_SET,
        VIEW,
        Column("n_pairs", "int64", "Distinct unordered pairs of two vertices in the list"),
        *(
            Column(f"share_{n}", "float64", f"Share of them {n} step{'s' * (n > 1)} apart")
            for n in (1, 2, 3)
        ),
        Column("share_farther", "float64", "Share of them farther apart, or without a path"),
        Column("n_in_pathways", "int64", "Pairs whose genes both are in some pathway"),
        *_tested("steps", "mean number of steps, farther pairs counted as 4"),
        *_tested("shared", "share of the pairs in pathways that have one in common"),
    ),
    when="network",
)


def _outputs(plan: Plan, finished: Sequence[Block]) -> dict[str, Sequence[Block]]:
    return {PATHS: finished} if finished else {}


def _compute(context: Context) -> Iterable[tuple[str, pd.DataFrame]]:
    """Measure the lists of every block; one task each."""
    assert context.network is not None  # needs.network
    network = delayed(open_network_of)(context.network)
    tasks = [delayed(_of_block)(context.run, *block, network) for block in context.finished]
    rows = [row for of_block in compute(tasks, context.scheduler) for row in of_block]
    columns = [c.name for c in PATH_TABLE.columns]
    table = pd.DataFrame(rows, columns=columns) if rows else no_rows(PATH_TABLE)
    for name in ("steps", "shared"):
        tested = table[["gene_set"]].assign(p=table[f"{name}_p"])
        table[f"{name}_q"] = statistics.adjust_by(tested, ["gene_set"])
    yield PATHS, table.astype({c.name: c.dtype for c in PATH_TABLE.columns})


def _of_block(run: FinishedMatrices, model: str, category: int, network: Network) -> Rows:
    plan, m = run.plan, run.plan.model(model)
    eligible, axis = run.eligible_pairs(model, category), np.array(m.axis, dtype=object)
    vertices, view = network.vertex_of(axis), m.views[0]
    rows: Rows = []
    for gene_set, positions in m.gene_sets.items():
        genes = np.array(positions)
        adjacency = network.adjacency(vertices[genes])
        pairs = VertexPairs.of_genes(vertices[genes], adjacency, eligible[np.ix_(genes, genes)])
        graph = StepsAndPathways.of(network, axis[genes], pairs)
        for layer in m.layers:
            top = of_all_cells(run.matrix_table("topk", model, category, layer), gene_set, view)
            ends = (np.searchsorted(genes, top[end].to_numpy()) for end in ("query", "key"))
            u, v = pairs.listed(*ends)
            label = {
                "model": model, "category": plan.categories[category].name, "layer": layer,
                "gene_set": gene_set, "view": view,
            }  # fmt: skip
            rows.append(
                label
                | path_test(u, v, pairs, graph, permutations=plan.permutations, seed=plan.seed)
            )
    return rows


PATH_ANALYSIS = Analysis(
    "paths", Needs(matrices=True, network=True), _outputs, _compute, (PATH_TABLE,)
)
