"""Opens the graph neural networks of a configuration and records what they are."""

from __future__ import annotations

from typing import Any

from octoscope.config.analysis_config import NetworkConfig
from octoscope.errors import InputError
from octoscope.gnn.gnn_checkpoint import open_checkpoint
from octoscope.gnn.open_graph import open_graph, warn_of_edges_in_features, warn_of_not_compared


def gnn_facts(config: NetworkConfig) -> dict[str, dict[str, Any]]:
    """Return name -> encoder, head, SHA-256 of checkpoint and graph.

    Raises
    ------
    InputError
        If a checkpoint or graph cannot be read, or does not belong to the other.
    """
    out = {}
    for name, gnn in config.gnn.items():
        try:
            checkpoint = open_checkpoint(gnn.path)
            graph = open_graph(gnn.graph or config.path, checkpoint, gnn.data)
        except InputError as error:
            where = f"network.gnn.{name}: {error.where}"
            raise InputError(where, error.problem, error.fix) from None
        warn_of_not_compared(checkpoint, graph)
        warn_of_edges_in_features(graph)
        out[name] = {
            "encoder": checkpoint.encoder.kind,
            "head": checkpoint.head.kind,
            "sha256": checkpoint.digest,
            "graph": graph.digest,
            "vertices": graph.n_vertices,
            "edges": len(graph.src),
        }
    return out
