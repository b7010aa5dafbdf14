"""Scores of top pairs by graph neural networks, and how much of a score is the edge itself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
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
from octoscope.gnn.gnn_checkpoint import Checkpoint, open_checkpoint
from octoscope.gnn.graph import GnnGraph
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
    """Score the pairs of every block with every checkpoint: one task per block and checkpoint."""
    assert context.network is not None  # needs.network
    config = context.network
    network = delayed(open_network_of)(config)
    known = (context.run.plan.network or {}).get("gnn", {})
    tasks = [
        delayed(_of_block)(
            context.run, model, category, network, name, gnn, config.path,
            known[name]["sha256"], config.permutations,
        )
        for name, gnn in config.gnn.items()
        for model, category in context.finished
    ]  # fmt: skip
    results = compute(tasks, context.scheduler)
    for i, schema in enumerate(GNN_TABLES[:2]):
        rows = [row for tables in results for row in tables[i]]
        columns = [c.name for c in schema.columns]
        table = pd.DataFrame(rows, columns=columns) if rows else no_rows(schema)
        if schema.path == SCORES:
            table["q"] = statistics.adjust_by(table, ["gene_set", "checkpoint", "quantity", "part"])
        yield schema.path, table.astype({c.name: c.dtype for c in schema.columns})
    yield RELATIONS, _relations(config.gnn)


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


def _of_block(
    run: FinishedMatrices,
    model: str,
    category: int,
    network: Network,
    name: str,
    gnn: GnnConfig,
    network_path: str,
    digest: str,
    permutations: int,
) -> tuple[Rows, Rows]:
    checkpoint = open_checkpoint(gnn.path)
    if checkpoint.digest != digest:
        raise InputError(f"network.gnn.{name}.path", "is not the file that was planned with",
                         "put that file back, or plan a new run")  # fmt: skip
    graph = open_graph(gnn.graph or network_path, checkpoint, gnn.data)
    plan, m = run.plan, run.plan.model(model)
    eligible = run.eligible_pairs(model, category)
    block = {"model": model, "category": plan.categories[category].name}
    scores: Rows = []
    evidence: Rows = []
    for gene_set, positions in m.gene_sets.items():
        scored = _Scored(network, checkpoint, graph, np.array(m.axis, object)[positions],
                         eligible[np.ix_(positions, positions)])  # fmt: skip
        label = block | {"gene_set": gene_set, "checkpoint": name}
        evidence += [label | row for row in scored.self_evidence()]
        for layer in m.layers:
            table = run.matrix_table("topk", model, category, layer)
            for view in m.views:
                top = of_all_cells(table, gene_set, view)
                query, key = (np.searchsorted(positions, top[c]) for c in ("query", "key"))
                u, v = scored.pairs.listed(query, key)
                here = label | {"layer": layer, "view": view, "k": len(top)}
                scores += [here | row for row in scored.tests(u, v, permutations, plan.seed)]
    return scores, evidence


class _Scored:
    """The pairs of a gene set, with their scores under every way of passing messages."""

    def __init__(
        self, network: Network, checkpoint: Checkpoint, graph: GnnGraph, genes: np.ndarray,
        eligible: np.ndarray,
    ) -> None:  # fmt: skip
        vertices = network.vertex_of(genes)
        self.pairs = VertexPairs.of_genes(vertices, network.adjacency(vertices), eligible)
        self._network, self._checkpoint, self._graph = network, checkpoint, graph
        known = vertices >= 0
        at, first = np.unique(self.pairs.vertex_of[known], return_index=True)
        assert (at == np.arange(len(self.pairs))).all()
        self._vertices = vertices[known][first]
        self._of_graph = graph.names.vertex_of(genes[known][first])
        self.passings: list[Passing] = [p for p in PASSINGS if p != "train" or _has_split(graph)]

    @cached_property
    def scores(self) -> dict[Passing, ScoreMatrix]:
        return {p: score_matrix(self._checkpoint, self._graph, self._distinct, p)
                for p in self.passings}  # fmt: skip

    @cached_property
    def _distinct(self) -> np.ndarray:
        """Vertices of the graph; of several with the same one, the first stands for it."""
        out = self._of_graph.copy()
        _, first = np.unique(out, return_index=True)
        repeated = np.ones(len(out), bool)
        repeated[first] = False
        out[repeated] = -1
        return out

    @cached_property
    def parts(self) -> dict[str, np.ndarray]:
        """Name -> [vertices, vertices] bool of pairs that are looked at separately."""
        edges = self.pairs.adjacency
        sign = _signs(self._network, self._vertices)
        return {
            ALL: np.ones_like(edges), "with an edge": edges, "without an edge": ~edges,
            "activation": sign == POSITIVE, "inhibition": sign == NEGATIVE,
        }  # fmt: skip

    def self_evidence(self) -> Iterable[dict[str, Any]]:
        edges = graph_edges(self._graph, self._distinct)
        share = float("nan")
        a, b = np.nonzero(np.triu(edges & self.pairs.eligible, 1))
        if len(a) and _has_split(self._graph):
            between = pair_edges(self._graph, self._distinct[a], self._distinct[b])
            share = float((between.split == "train").mean())
        for passing in self.passings:
            for quantity in QUANTITIES:
                values = getattr(self.scores[passing], quantity)
                label = {"message_passing": passing, "quantity": quantity, "share_seen": share}
                yield label | edges_against_others(values, edges, self.pairs)

    def tests(
        self, u: np.ndarray, v: np.ndarray, permutations: int, seed: int
    ) -> Iterable[dict[str, Any]]:
        for passing in self.passings:
            for quantity in QUANTITIES:
                label = {"message_passing": passing, "quantity": quantity}
                values = getattr(self.scores[passing], quantity)
                for row in median_test(u, v, self.pairs, values, self.parts,
                                       permutations=permutations, seed=seed):  # fmt: skip
                    yield label | row


def _has_split(graph: GnnGraph) -> bool:
    return graph.split is not None


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
