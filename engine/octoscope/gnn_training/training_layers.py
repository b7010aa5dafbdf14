"""Layers of message passing that learn: torch-geometric's, over edges whose weights may learn."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch_geometric.nn import DirGNNConv, GCNConv, GraphConv, SAGEConv

from octoscope.gnn_training.edge_encoder import EdgeEncoder
from octoscope.gnn_training.train_config import TrainConfig
from octoscope.gnn_training.training_edges import TrainingEdges
from octoscope.gnn_training.weighted_edges import WeightedEdges


class WeightedGraphConv(GraphConv):
    """torch-geometric's layer on :class:`WeightedEdges`."""

    def propagate(self, edges: WeightedEdges, x: Any, **_: Any) -> torch.Tensor:
        """Return [vertices, width] of what arrives."""
        return edges.mean(x[0]) if self.aggr == "mean" else edges.total(x[0])


class WeightedGCNConv(GCNConv):
    """torch-geometric's layer on :class:`WeightedEdges` with loops, normalised before."""

    def propagate(self, edges: WeightedEdges, x: torch.Tensor, **_: Any) -> torch.Tensor:
        """Return [vertices, width] of what arrives."""
        return edges.total(x)


class Encoder(nn.Module):
    """Layers of message passing, with ReLU and dropout between them.

    Parameters
    ----------
    config
        Kinds and sizes.
    features, edge_features
        Numbers of features of a vertex and of an edge.
    """

    def __init__(self, config: TrainConfig, features: int, edge_features: int = 0) -> None:
        super().__init__()
        sizes = [features, *[config.width] * config.layers]
        self.convs = nn.ModuleList(
            _layer(config, a, b) for a, b in zip(sizes, sizes[1:], strict=False)
        )
        self.dropout, self.kind = config.dropout, config.encoder
        self.edge_weighting_value = None
        if config.edge_encoder:
            self.edge_weighting_value = EdgeEncoder(
                edge_features, config.edge_encoder, config.dropout
            )

    def forward(self, x: torch.Tensor, edges: TrainingEdges) -> torch.Tensor:
        """Return [vertices, width] from [vertices, features]."""
        along: Any = edges.index
        if self.edge_weighting_value is not None:
            weight = self.edge_weighting_value(edges.features, edges.rows)
            along = along.weighted(weight)
            along = along.symmetric() if self.kind == "gcn" else along
        for i, conv in enumerate(self.convs):
            x = conv(x, along)
            if i < len(self.convs) - 1:
                x = functional.dropout(x.relu(), self.dropout, self.training)
        return x


def _layer(config: TrainConfig, a: int, b: int) -> nn.Module:
    if config.encoder == "gcn":
        return WeightedGCNConv(a, b, normalize=False) if config.edge_encoder else GCNConv(a, b)
    if config.encoder == "graph_conv":
        kind = WeightedGraphConv if config.edge_encoder else GraphConv
        conv = kind(a, b, aggr=config.aggregator)
        return DirGNNConv(conv, root_weight=False) if config.directed else conv
    if config.directed:
        return DirGNNConv(SAGEConv(a, b, aggr=config.aggregator, root_weight=False))
    return SAGEConv(a, b, aggr=config.aggregator)
