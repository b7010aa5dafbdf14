"""Top pairs and whole matrices against the molecular network."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from dask.delayed import delayed

from octoscope.analysis import statistics
from octoscope.analysis.auroc import auroc_test
from octoscope.analysis.dask_graphs import compute
from octoscope.analysis.finished_matrices import FinishedMatrices
from octoscope.analysis.label_tables import of_all_cells
from octoscope.analysis.matrix import PairMatrix
from octoscope.analysis.overlap import overlap_test
from octoscope.analysis.registry import Analysis, Context, Needs, open_network_of
from octoscope.analysis.tables.columns import no_rows
from octoscope.analysis.tables.overlap_schema import OVERLAP_TABLES
from octoscope.analysis.vertex_pairs import VertexPairs
from octoscope.attention.histograms import bins_of
from octoscope.octopus.network import Network
from octoscope.run_plan.values import Block, Plan

OVERLAP = "tables/overlap.parquet"
AUROC = "tables/auroc.parquet"

Rows = list[dict[str, Any]]


def _outputs(plan: Plan, finished: Sequence[Block]) -> dict[str, list[Block]]:
    return dict.fromkeys((OVERLAP, AUROC), list(finished))


def _compute(context: Context) -> Iterable[tuple[str, pd.DataFrame]]:
    """Test every top-K list and every whole matrix against the network.

    One task per block, with its part of the network built once. q-values are adjusted over all
    tests of one gene set and view.
    """
    assert context.network is not None  # needs.network
    network = delayed(open_network_of)(context.network)
    tasks = [
        delayed(_overlap_of)(context.run, *block, network, context.network.permutations)
        for block in context.finished
    ]
    results = compute(tasks, context.scheduler)
    for i, (path, schema) in enumerate(zip((OVERLAP, AUROC), OVERLAP_TABLES, strict=True)):
        rows = [row for tables in results for row in tables[i]]
        table = pd.DataFrame(rows) if rows else no_rows(schema)
        table["q"] = statistics.adjust_by(table, ["gene_set", "view"])
        yield path, table


def _overlap_of(
    run: FinishedMatrices, model: str, category: int, network: Network, permutations: int
) -> tuple[Rows, Rows]:
    plan = run.plan
    m = plan.model(model)
    vertices = network.vertex_of(m.axis)
    eligible = run.eligible_pairs(model, category)
    overlaps: Rows = []
    areas: Rows = []
    matrices = run.layers(model, category)
    tops = {y: run.matrix_table("topk", model, category, y) for y in m.layers}
    block = {"model": model, "category": plan.categories[category].name}
    for name, positions in m.gene_sets.items():
        genes = np.array(positions)
        can_be_listed = eligible[np.ix_(genes, genes)]
        adjacency = network.adjacency(vertices[genes])
        pairs = VertexPairs.of_genes(vertices[genes], adjacency, can_be_listed)
        for layer in m.layers:
            matrix = matrices[layer]
            for view in m.views:
                top = of_all_cells(tops[layer], name, view)
                of_list = overlap_test(
                    np.searchsorted(genes, top["query"].to_numpy()),
                    np.searchsorted(genes, top["key"].to_numpy()),
                    pairs,
                    permutations=permutations,
                    max_permutation_factor=plan.max_permutation_factor,
                    seed=plan.seed,
                )
                label = block | {"layer": layer, "gene_set": name, "view": view}
                overlaps.append(label | of_list)
                of_matrix = auroc_test(
                    _bins(matrix, genes, view),
                    can_be_listed,
                    pairs,
                    permutations=plan.permutations,
                    max_permutation_factor=plan.max_permutation_factor,
                    seed=plan.seed,
                )
                areas.append(label | of_matrix)
    return overlaps, areas


def _bins(matrix: PairMatrix, genes: np.ndarray, view: str) -> np.ndarray:
    """Return [genes, genes] uint16 bins of a matrix, tile by tile."""
    bins = np.empty((len(genes), len(genes)), np.uint16)
    for first, values, _ in matrix.values(genes, view):
        bins[first : first + len(values)] = bins_of(values)
    return bins


OVERLAP_ANALYSIS = Analysis(
    "overlap", Needs(matrices=True, network=True), _outputs, _compute, OVERLAP_TABLES
)
