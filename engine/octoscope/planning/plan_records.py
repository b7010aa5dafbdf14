"""Records of a plan: versions of libraries, the network, graph neural networks."""

from __future__ import annotations

import platform
from importlib.metadata import version
from typing import Any

from octoscope.config.analysis_config import NetworkConfig
from octoscope.errors import InputError, warn
from octoscope.gnn.gnn_checkpoint import open_checkpoint
from octoscope.gnn.open_graph import open_graph, warn_of_edges_in_features, warn_of_not_compared
from octoscope.octopus.network_schema import NOT_KNOWN
from octoscope.octopus.network_views import network_summary, not_known_text

_LIBRARIES = (
    "octoscope", "torch", "numpy", "pandas", "zarr", "anndata", "pyarrow", "ray", "dask", "scipy",
    "numba", "transformers",
)  # fmt: skip


def library_versions() -> dict[str, str]:
    """Return the versions of Python and of the libraries that decide results."""
    return {"python": platform.python_version(), **{n: version(n) for n in _LIBRARIES}}


def network_record(config: NetworkConfig) -> dict[str, Any]:
    """Return what the plan keeps of a network; warns where independence is not known.

    Raises
    ------
    InputError
        If the network, or a graph neural network, cannot be used.
    """
    record = network_summary(config.path, config.sources, config.independent)
    if NOT_KNOWN in record:
        warn(not_known_text(record[NOT_KNOWN]))
    if config.gnn:
        record["gnn"] = _gnn_record(config)
    if config.parts:
        record["parts"] = True
    return record


def _gnn_record(config: NetworkConfig) -> dict[str, dict[str, Any]]:
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
