"""Scores of top pairs by graph neural networks, and how much of a score is the edge itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from dask.delayed import delayed

from octoscope.analysis import statistics
from octoscope.analysis.dask_graphs import compute
from octoscope.analysis.finished_matrices import FinishedMatrices
from octoscope.analysis.gnn_pairs import edges_against_others
from octoscope.analysis.gnn_scored import ScoredGenes
from octoscope.analysis.label_tables import of_all_cells
from octoscope.analysis.median_tests import MedianTests
from octoscope.analysis.pair_parts import PairParts, network_pairs
from octoscope.analysis.registry import Analysis, Context, Needs, open_network_of
from octoscope.analysis.tables.columns import no_rows
from octoscope.analysis.tables.gnn_schema import GNN_TABLES, RELATIONS, SCORES, SECTIONS
from octoscope.analysis.tables.gnn_scores_by_set import scores_by_set
from octoscope.analysis.vertex_pairs import VertexPairs
from octoscope.config.analysis_config import GnnConfig
from octoscope.octopus.network import Network
from octoscope.octopus.pair_triangle import triangle
from octoscope.run_plan.values import Block, Plan

PATHS = tuple(table.path for table in GNN_TABLES)

Rows = list[dict[str, Any]]


def _outputs(plan: Plan, finished: Sequence[Block]) -> dict[str, Sequence[Block]]:
    has_gnn = bool(plan.network and plan.network.get("gnn"))
    return dict.fromkeys(PATHS, finished) if has_gnn else {}


def _compute(context: Context) -> Iterable[tuple[str, pd.DataFrame]]:
    """Score the pairs of every gene set once per checkpoint, then test the lists of every block."""
    assert context.network is not None  # needs.network
    config, run = context.network, context.run
    network = delayed(open_network_of)(config)
    scored = scores_by_set(context, network)
    tasks = [
        delayed(_of_block)(run, model, category, network, scored(model), config.permutations)
        for model, category in context.finished
    ]
    results = compute(tasks, context.scheduler)
    for i, schema in enumerate(GNN_TABLES[:2]):
        rows = [row for tables in results for row in tables[i]]
        columns = [c.name for c in schema.columns]
        table = pd.DataFrame(rows, columns=columns) if rows else no_rows(schema)
        if schema.path == SCORES:
            family = ["gene_set", "k", "checkpoint", "message_passing", "quantity", "part_kind",
                      "part"]  # fmt: skip
            table["q"] = statistics.adjust_by(table, family)
        yield schema.path, table.astype({c.name: c.dtype for c in schema.columns})
    yield RELATIONS, _relations(config.gnn)


def _relations(checkpoints: dict[str, GnnConfig]) -> pd.DataFrame:
    # imported here: they load torch
    from octoscope.gnn.gnn_checkpoint import open_checkpoint
    from octoscope.gnn.relation_geometry import relation_geometry

    frames = []
    for name, gnn in checkpoints.items():
        opened = open_checkpoint(gnn.path)
        if len(opened.relations) > 1:
            geometry = relation_geometry(opened)
            geometry.insert(0, "checkpoint", name)
            frames.append(geometry)
    schema = GNN_TABLES[2]
    table = pd.concat(frames, ignore_index=True) if frames else no_rows(schema)
    return table[[c.name for c in schema.columns]].astype({c.name: c.dtype for c in schema.columns})


def _of_block(
    run: FinishedMatrices,
    model: str,
    category: int,
    network: Network,
    scores: dict[str, dict[str, ScoredGenes]],
    permutations: int,
) -> tuple[Rows, Rows]:
    plan, m = run.plan, run.plan.model(model)
    eligible = run.eligible_pairs(model, category)
    block = {"model": model, "category": plan.categories[category].name}
    views = [v for v in m.views if not plan.compare or v in plan.compare.views]
    tests: Rows = []
    evidence: Rows = []
    for gene_set, checkpoints in scores.items():
        genes = np.array(m.gene_sets[gene_set])
        vertices = network.vertex_of(np.array(m.axis, object)[genes])
        adjacency = network.adjacency(vertices)
        pairs = VertexPairs.of_genes(vertices, adjacency, eligible[np.ix_(genes, genes)])
        here = block | {"gene_set": gene_set}
        for name, scored in checkpoints.items():
            evidence += [here | row | {"checkpoint": name} for row in _self_evidence(scored, pairs)]
        tests_of = {
            name: MedianTests(pairs, s.values, _parts(network, s), permutations, plan.seed)
            for name, s in checkpoints.items()
        }
        for layer in m.layers:
            table = run.matrix_table("topk", model, category, layer)
            for view in views:
                top = of_all_cells(table, gene_set, view)
                query, key = (np.searchsorted(genes, top[c].to_numpy()) for c in ("query", "key"))
                for k in lengths(plan):
                    u, v = pairs.listed(query[:k], key[:k])
                    of_list = here | {"layer": layer, "view": view, "k": k}
                    for name, scored in checkpoints.items():
                        for kind, row in tests_of[name].of(u, v):
                            passing, quantity = scored.kinds[kind]
                            label = {"checkpoint": name, "message_passing": passing}
                            tests.append(of_list | label | {"quantity": quantity} | row)
    return tests, evidence


def _self_evidence(scored: ScoredGenes, pairs: VertexPairs) -> Iterator[dict[str, Any]]:
    edges, eligible = triangle(scored.edges), triangle(pairs.eligible)
    share = float("nan")
    if scored.seen is not None and (joined := edges & eligible).any():
        share = float(triangle(scored.seen)[joined].mean())
    for i, (passing, quantity) in enumerate(scored.kinds):
        label = {"message_passing": passing, "quantity": quantity, "share_seen": share}
        yield label | edges_against_others(scored.values[:, i], edges, eligible)


def _parts(network: Network, scored: ScoredGenes) -> PairParts:
    """Return all pairs, those with an edge of the graph, and those of each sign and relation."""
    edges = triangle(scored.edges)
    return PairParts.of_pairs(
        len(edges), np.flatnonzero(edges), network_pairs(network, scored.vertices)
    )


def lengths(plan: Plan) -> list[int]:
    """Return how many of a list's pairs are looked at: each K of the run, and the whole list."""
    return sorted({*(k for k in (plan.compare.k if plan.compare else ()) if k < plan.top_k),
                   plan.top_k})  # fmt: skip


GNN_ANALYSIS = Analysis(
    "graph neural networks",
    Needs(matrices=True, network=True),
    _outputs,
    _compute,
    GNN_TABLES,
    SECTIONS,
)
