"""Scores of a graph neural network among the genes of a set, made once for all matrices."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from octoscope.config.analysis_config import GnnConfig
from octoscope.errors import InputError
from octoscope.gnn.graph import PASSINGS, Passing
from octoscope.octopus.network import Network
from octoscope.octopus.pair_triangle import n_pairs, square
from octoscope.run_plan.values import Plan

QUANTITIES = ("probability", "cosine")  # as score_triangle writes them


def compared_gene_sets(plan: Plan, model: str) -> dict[str, tuple[str, ...]]:
    """Return the gene sets of a model that are compared, with the ids of their genes."""
    m = plan.model(model)
    names = plan.compare.gene_sets if plan.compare else list(m.gene_sets)
    return {n: tuple(m.axis[i] for i in m.gene_sets[n]) for n in names if n in m.gene_sets}


@dataclass(frozen=True)
class ScoredGenes:
    """Scores among the vertices of a gene set, under every way of passing messages.

    Attributes
    ----------
    vertices
        [V] of the network, ascending.
    kinds
        What each score is: way of passing messages, and quantity.
    values
        [V (V - 1) / 2, kinds] float32 of :mod:`octoscope.octopus.pair_triangle`; NaN for a vertex
        that the graph lacks.
    edges, seen
        [V, V] bool, symmetric: an edge of the graph joins the two; it was in training (None
        without a split).
    """

    vertices: np.ndarray
    kinds: tuple[tuple[Passing, str], ...]
    values: np.ndarray
    edges: np.ndarray
    seen: np.ndarray | None

    def of(self, passing: Passing, quantity: str) -> np.ndarray:
        """Return [V, V] float32 of one kind, symmetric; NaN on the diagonal."""
        values = self.values[:, self.kinds.index((passing, quantity))]
        return square(values, len(self.vertices), np.nan)


def scored_genes(
    network: Network, name: str, gnn: GnnConfig, network_path: str, digest: str,
    graph_digest: str, genes: tuple[str, ...], passings: tuple[Passing, ...] = PASSINGS,
) -> ScoredGenes:  # fmt: skip
    """Score every pair of genes with the checkpoint of a name.

    Parameters
    ----------
    network_path
        Where the graph is, if the configuration of the checkpoint names none.
    digest, graph_digest
        SHA-256 of the checkpoint and of the graph in the plan.
    passings
        Ways of passing messages; ``train`` is left out for a graph without a split.

    Raises
    ------
    InputError
        If the checkpoint is not the one of the plan, or cannot be read.
    """
    # Imported here: they load torch, and the registry that knows this analysis is read without it.
    from octoscope.gnn.gnn_checkpoint import open_checkpoint
    from octoscope.gnn.leave_out import pair_edges
    from octoscope.gnn.open_graph import open_graph
    from octoscope.gnn.score_matrix import graph_edges, score_triangle

    checkpoint = open_checkpoint(gnn.path)
    if checkpoint.digest != digest:
        raise InputError(f"network.gnn.{name}.path", "is not the file that was planned with",
                         "put that file back, or plan a new run")  # fmt: skip
    graph = open_graph(gnn.graph or network_path, checkpoint, gnn.data)
    if graph.digest != graph_digest:
        raise InputError(f"network.gnn.{name}.graph", "is not the graph that was planned with",
                         "put that graph back, or plan a new run")  # fmt: skip
    vertices = network.vertex_of(np.array(genes, object))
    distinct, first = np.unique(vertices, return_index=True)
    keep = distinct >= 0
    of_graph = _distinct(graph.names.vertex_of(np.array(genes, object)[first[keep]]))
    edges = graph_edges(graph, of_graph)
    seen = None
    if graph.split is not None:
        a, b = np.nonzero(edges)
        seen = np.zeros_like(edges)
        seen[a, b] = pair_edges(graph, of_graph[a], of_graph[b]).split == "train"
    ways = [p for p in passings if p != "train" or graph.split is not None]
    kinds = tuple((p, q) for p in ways for q in QUANTITIES)
    values = np.empty((n_pairs(len(of_graph)), len(kinds)), np.float32)
    for i, passing in enumerate(ways):
        of_way = values[:, len(QUANTITIES) * i : len(QUANTITIES) * (i + 1)]
        score_triangle(checkpoint, graph, of_graph, passing, of_way)
    return ScoredGenes(distinct[keep], kinds, values, edges, seen)


def _distinct(vertices: np.ndarray) -> np.ndarray:
    """Return vertices of the graph; of several equal ones the first stands, the others are -1."""
    out = vertices.copy()
    repeated = np.ones(len(out), bool)
    repeated[np.unique(out, return_index=True)[1]] = False
    out[repeated] = -1
    return out
