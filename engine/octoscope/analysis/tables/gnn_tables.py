"""Scores of top pairs by graph neural networks, and how much of a score is the edge itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from dask.delayed import delayed

from octoscope.analysis import statistics
from octoscope.analysis.dask_graphs import compute
from octoscope.analysis.finished_matrices import FinishedMatrices
from octoscope.analysis.gnn_pairs import ALL, edges_against_others, median_test
from octoscope.analysis.label_tables import of_all_cells
from octoscope.analysis.registry import Analysis, Context, Needs, open_network_of
from octoscope.analysis.tables.columns import no_rows
from octoscope.analysis.tables.gnn_schema import GNN_TABLES, RELATIONS, SCORES, SECTIONS
from octoscope.analysis.vertex_pairs import VertexPairs
from octoscope.config.analysis_config import GnnConfig
from octoscope.errors import InputError
from octoscope.gnn.gnn_checkpoint import open_checkpoint
from octoscope.gnn.leave_out import pair_edges
from octoscope.gnn.open_graph import open_graph
from octoscope.gnn.relation_geometry import relation_geometry
from octoscope.gnn.score_matrix import ScoreMatrix, graph_edges, score_matrix
from octoscope.gnn.score_table import PASSINGS, Passing
from octoscope.octopus.network import Network
from octoscope.octopus.pairs import NEGATIVE, POSITIVE
from octoscope.run_plan.values import Block, Plan

PATHS = tuple(table.path for table in GNN_TABLES)
QUANTITIES = ("probability", "cosine")

Rows = list[dict[str, Any]]


def _outputs(plan: Plan, finished: Sequence[Block]) -> dict[str, Sequence[Block]]:
    wanted = bool(plan.network and plan.network.get("gnn"))
    return dict.fromkeys(PATHS, finished) if wanted else {}


def _compute(context: Context) -> Iterable[tuple[str, pd.DataFrame]]:
    """Score the pairs of every gene set once per checkpoint, then test the lists of every block."""
    assert context.network is not None  # needs.network
    config, run = context.network, context.run
    network = delayed(open_network_of)(config)
    known = (run.plan.network or {}).get("gnn", {})
    made: dict[tuple[str, tuple[str, ...]], Any] = {}
    tasks = []
    for name, gnn in config.gnn.items():
        for model, category in context.finished:
            scores = {}
            for gene_set, genes in _gene_sets(run.plan, model).items():
                key = (name, genes)
                if key not in made:
                    digest = known[name]["sha256"]
                    made[key] = delayed(_scored)(network, name, gnn, config.path, digest, genes)
                scores[gene_set] = made[key]
            tasks.append(
                delayed(_of_block)(run, model, category, network, name, scores, config.permutations)
            )
    results = compute(tasks, context.scheduler)
    for i, schema in enumerate(GNN_TABLES[:2]):
        rows = [row for tables in results for row in tables[i]]
        columns = [c.name for c in schema.columns]
        table = pd.DataFrame(rows, columns=columns) if rows else no_rows(schema)
        if schema.path == SCORES:
            family = ["gene_set", "checkpoint", "message_passing", "quantity", "part"]
            table["q"] = statistics.adjust_by(table, family)
        yield schema.path, table.astype({c.name: c.dtype for c in schema.columns})
    yield RELATIONS, _relations(config.gnn)


def _gene_sets(plan: Plan, model: str) -> dict[str, tuple[str, ...]]:
    """Return the gene sets that are compared, with the ids of their genes."""
    m = plan.model(model)
    names = plan.compare.gene_sets if plan.compare else list(m.gene_sets)
    return {n: tuple(m.axis[i] for i in m.gene_sets[n]) for n in names if n in m.gene_sets}


def _relations(checkpoints: dict[str, GnnConfig]) -> pd.DataFrame:
    frames = []
    for name, gnn in checkpoints.items():
        opened = open_checkpoint(gnn.path)
        if len(opened.relations) > 1:
            found = relation_geometry(opened)
            found.insert(0, "checkpoint", name)
            frames.append(found)
    schema = GNN_TABLES[2]
    table = pd.concat(frames, ignore_index=True) if frames else no_rows(schema)
    return table[[c.name for c in schema.columns]].astype({c.name: c.dtype for c in schema.columns})


@dataclass(frozen=True)
class _Scored:
    """Scores among the vertices of a gene set, under every way of passing messages.

    ``vertices``: [V] of the network, ascending. ``edges`` and ``seen``: [V, V] bool, symmetric: an
    edge of the graph joins the two; it was in training (None without a split).
    """

    vertices: np.ndarray
    matrices: dict[Passing, ScoreMatrix]
    edges: np.ndarray
    seen: np.ndarray | None


def _scored(
    network: Network, name: str, gnn: GnnConfig, network_path: str, digest: str,
    genes: tuple[str, ...],
) -> _Scored:  # fmt: skip
    checkpoint = open_checkpoint(gnn.path)
    if checkpoint.digest != digest:
        raise InputError(f"network.gnn.{name}.path", "is not the file that was planned with",
                         "put that file back, or plan a new run")  # fmt: skip
    graph = open_graph(gnn.graph or network_path, checkpoint, gnn.data)
    vertices = network.vertex_of(np.array(genes, object))
    found, first = np.unique(vertices, return_index=True)
    keep = found >= 0
    of_graph = _distinct(graph.names.vertex_of(np.array(genes, object)[first[keep]]))
    passings: list[Passing] = [p for p in PASSINGS if p != "train" or graph.split is not None]
    edges = graph_edges(graph, of_graph)
    seen = None
    if graph.split is not None:
        a, b = np.nonzero(edges)
        seen = np.zeros_like(edges)
        seen[a, b] = pair_edges(graph, of_graph[a], of_graph[b]).split == "train"
    return _Scored(
        found[keep],
        {p: score_matrix(checkpoint, graph, of_graph, p) for p in passings},
        edges,
        seen,
    )


def _distinct(vertices: np.ndarray) -> np.ndarray:
    """Return vertices of the graph; of several equal ones the first stands, the others are -1."""
    out = vertices.copy()
    repeated = np.ones(len(out), bool)
    repeated[np.unique(out, return_index=True)[1]] = False
    out[repeated] = -1
    return out


def _of_block(
    run: FinishedMatrices,
    model: str,
    category: int,
    network: Network,
    name: str,
    scores: dict[str, _Scored],
    permutations: int,
) -> tuple[Rows, Rows]:
    plan, m = run.plan, run.plan.model(model)
    eligible = run.eligible_pairs(model, category)
    block = {"model": model, "category": plan.categories[category].name}
    views = [v for v in m.views if not plan.compare or v in plan.compare.views]
    tests: Rows = []
    evidence: Rows = []
    for gene_set, scored in scores.items():
        genes = np.array(m.gene_sets[gene_set])
        vertices = network.vertex_of(np.array(m.axis, object)[genes])
        adjacency = network.adjacency(vertices)
        pairs = VertexPairs.of_genes(vertices, adjacency, eligible[np.ix_(genes, genes)])
        label = block | {"gene_set": gene_set, "checkpoint": name}
        evidence += [label | row for row in _self_evidence(scored, pairs)]
        parts = _parts(network, scored.vertices, pairs)
        for layer in m.layers:
            table = run.matrix_table("topk", model, category, layer)
            for view in views:
                top = of_all_cells(table, gene_set, view)
                query, key = (np.searchsorted(genes, top[c].to_numpy()) for c in ("query", "key"))
                u, v = pairs.listed(query, key)
                here = label | {"layer": layer, "view": view, "k": len(top)}
                for passing, quantity, values in _quantities(scored):
                    of = here | {"message_passing": passing, "quantity": quantity}
                    found = median_test(
                        u, v, pairs, values, parts, permutations=permutations, seed=plan.seed
                    )
                    tests += [of | row for row in found]
    return tests, evidence


def _quantities(scored: _Scored) -> Iterator[tuple[Passing, str, np.ndarray]]:
    for passing, matrix in scored.matrices.items():
        for quantity in QUANTITIES:
            yield passing, quantity, getattr(matrix, quantity)


def _self_evidence(scored: _Scored, pairs: VertexPairs) -> Iterator[dict[str, Any]]:
    joined = scored.edges & pairs.eligible
    share = float("nan")
    if scored.seen is not None and joined.any():
        share = float(scored.seen[joined].mean())
    for passing, quantity, values in _quantities(scored):
        label = {"message_passing": passing, "quantity": quantity, "share_seen": share}
        yield label | edges_against_others(values, scored.edges, pairs)


def _parts(network: Network, vertices: np.ndarray, pairs: VertexPairs) -> dict[str, np.ndarray]:
    """Return name -> [V, V] bool of the pairs that are looked at separately."""
    edges, sign = pairs.adjacency, _signs(network, vertices)
    return {
        ALL: np.ones_like(edges), "with an edge": edges, "without an edge": ~edges,
        "activation": sign == POSITIVE, "inhibition": sign == NEGATIVE,
    }  # fmt: skip


def _signs(network: Network, vertices: np.ndarray) -> np.ndarray:
    """Return [vertices, vertices] uint8: union of the signs asserted of a pair, either way."""
    place = np.full(len(network.vertices), -1)
    place[vertices] = np.arange(len(vertices))
    edges = network.edges
    src, dst = place[edges.src], place[edges.dst]
    inside = (src >= 0) & (dst >= 0) & (edges.sign != 0)
    out = np.zeros((len(vertices), len(vertices)), np.uint8)
    code = np.where(edges.sign[inside] > 0, POSITIVE, NEGATIVE).astype(np.uint8)
    np.bitwise_or.at(out, (src[inside], dst[inside]), code)
    return out | out.T


GNN_ANALYSIS = Analysis(
    "graph neural networks",
    Needs(matrices=True, network=True),
    _outputs,
    _compute,
    GNN_TABLES,
    SECTIONS,
)
