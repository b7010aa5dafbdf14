"""Edges along which messages pass while a model learns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch_geometric import EdgeIndex

from octoscope.gnn_training.train_config import TrainConfig
from octoscope.gnn_training.weighted_edges import weighted_edges
from octoscope.link_prediction.links import Links


@dataclass(frozen=True)
class TrainingEdges:
    """Some edges of a graph.

    Attributes
    ----------
    rows
        [edges] int64: which edges of the graph.
    index
        torch-geometric's ``EdgeIndex``, or :class:`WeightedEdges` where an edge encoder weighs
        them.
    features
        [edges of the graph, features] that the edge encoder reads, or None.
    """

    rows: np.ndarray
    index: Any
    features: np.ndarray | None = None


def training_edges(links: Links, kept: np.ndarray, config: TrainConfig) -> TrainingEdges:
    """Return the edges of ``kept`` ([edges] bool), as the products of the encoder need them."""
    rows = np.flatnonzero(kept)
    src, dst = links.src[rows], links.dst[rows]
    if config.edge_encoder:
        loops = config.encoder == "gcn"
        index = weighted_edges(src, dst, links.n, loops=loops)
        return TrainingEdges(rows, index, links.graph.edge_attr)
    both = torch.from_numpy(np.stack([src, dst])).contiguous()
    edges = EdgeIndex(both, sparse_size=(links.n, links.n))
    return TrainingEdges(rows, edges.sort_by("col").values.fill_cache_())
