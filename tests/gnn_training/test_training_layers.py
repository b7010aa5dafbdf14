"""Every encoder that learns: dense torch-geometric's numbers and gradients, and as it is read."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from octoscope.errors import InputError
from octoscope.gnn.directed_encoder import any_encoder_of
from octoscope.gnn.messages import Messages
from octoscope.gnn_training.train_config import TrainConfig
from octoscope.gnn_training.trained_model import Model
from octoscope.gnn_training.training_edges import training_edges
from octoscope.link_prediction.links import Links, links_of
from torch_geometric import nn as pyg

from tests.gnn_training.test_weighted_edges import N, random_edges
from tests.link_prediction.conftest import links_from

KINDS: tuple[dict[str, Any], ...] = (
    {"encoder": "graph_conv", "edge_encoder": 5},
    {"encoder": "graph_conv", "edge_encoder": 5, "aggregator": "add"},
    {"encoder": "gcn", "edge_encoder": 5},
    {"encoder": "graph_conv", "directed": True},
    {"encoder": "graph_conv", "directed": True, "edge_encoder": 5},
    {"encoder": "sage", "directed": True},
    {"encoder": "sage", "directed": True, "aggregator": "add"},
    {"encoder": "gcn"},
    {"encoder": "sage"},
)


def links() -> Links:
    src, dst = random_edges()
    of_edges = np.random.default_rng(0).random((len(src), 4)).astype(np.float32)
    plain = links_from(N, src, dst)
    return links_of(replace(plain.graph, edge_attr=of_edges))


def dense(model: Model, x: torch.Tensor, links: Links, rows: np.ndarray) -> torch.Tensor:
    """torch-geometric's own layers with the same weights, on ``edge_index``."""
    config, encoder = model.config, model.encoder
    index = torch.from_numpy(np.stack([links.src[rows], links.dst[rows]]))
    weight = None
    if config.edge_encoder:
        of_edges = torch.from_numpy(links.graph.edge_attr[rows]).to(x)
        weight = torch.sigmoid(encoder.edge_weighting_value.net(of_edges)[:, 0])
    given = {} if weight is None else {"edge_weight": weight}
    kind = {"gcn": pyg.GCNConv, "sage": pyg.SAGEConv, "graph_conv": pyg.GraphConv}[config.encoder]
    more = {} if config.encoder == "gcn" else {"aggr": config.aggregator}
    for i, conv in enumerate(encoder.convs):
        size = (x.shape[1], config.width)

        def of(module: Any, edges: torch.Tensor, x: torch.Tensor = x, size: Any = size) -> Any:
            root = {} if hasattr(module, "lin_r") or config.encoder != "sage" else {
                "root_weight": False}  # fmt: skip
            layer = kind(*size, **more, **root).to(x)
            layer.load_state_dict(module.state_dict())
            parameters = dict(module.named_parameters())
            return torch.func.functional_call(layer, parameters, (x, edges), given)

        if config.directed:
            out = (of(conv.conv_in, index) + of(conv.conv_out, index.flip([0]))) / 2
            x = out + conv.lin(x) if conv.lin is not None else out
        else:
            x = of(conv, index)
        x = x.relu() if i == 0 else x
    return x


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_numbers_gradients_and_what_is_read(kind: dict[str, Any]) -> None:
    torch.manual_seed(0)
    config = TrainConfig(width=6, dropout=0.0, head="dot_product", **kind)
    # torch-geometric's EdgeIndex has no mean of float64
    kind_of_number = torch.float64 if config.edge_encoder else torch.float32
    close = 1e-9 if config.edge_encoder else 2e-5
    given, x = links(), torch.randn(N, 3, dtype=kind_of_number)
    model = Model(config, 3, (), 4).to(kind_of_number)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    kept = np.random.default_rng(1).random(len(given.src)) < 0.8
    edges = training_edges(given, kept, config)
    values, gradients = [], []
    for out in (model.encoder(x, edges), dense(model, x, given, edges.rows)):
        model.zero_grad()
        out.square().sum().backward()
        values.append(out.detach())
        gradients.append([p.grad.clone() for p in model.encoder.parameters()])
    torch.testing.assert_close(*values, atol=close, rtol=close)
    for mine, others in zip(*gradients, strict=True):
        assert (others != 0).any()
        torch.testing.assert_close(mine, others, atol=10 * close, rtol=close)
    # as the scoring command reads it
    weights = {k.removeprefix("encoder."): v for k, v in model.checkpoint_weights().items()}
    encoder = any_encoder_of(weights, model.settings()["encoder"], "here")
    src, dst = (torch.from_numpy(e[edges.rows]) for e in (given.src, given.dst))
    weight = None
    if config.edge_encoder:
        weight = encoder.edge_weights(given.graph.edge_attr, edges.rows)
    z = encoder.encode(x.float(), Messages(src, dst, N, weight))
    torch.testing.assert_close(z, values[0].float(), atol=2e-5, rtol=2e-5)
    if config.directed:
        turned = encoder.encode(x.float(), Messages(dst, src, N, weight))
        assert (turned - z).abs().max() > 0.1


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"convs.0.lin.bias": None}, "convs.0.lin.bias: is missing"),
        ({"convs.0.lin.bias": torch.zeros(3)}, r"convs.0.lin.bias: has shape \(3,\)"),
        ({"convs.1.conv_in.lin_l.bias": None}, "convs.1.lin_l.bias: is missing"),
        ({"convs.1.conv_out.lin_l.weight": torch.zeros(6, 5)}, "convs.1.lin_l.weight: has shape"),
        ({"convs.0.lin.weight": None}, "convs.0.lin_r.weight: is missing"),
        ({"convs.0.conv_in.lin_r.weight": torch.zeros(6, 3)}, "conv_in.lin_r.weight: is no weight"),
        ({"convs.0.conv_out.gate": torch.zeros(3)}, "convs.0.gate: is no weight"),
        ({"convs.2.conv_in.lin_l.weight": torch.zeros(6, 6)}, "convs.2.lin_l.bias: is missing"),
    ],
)
def test_weights_of_two_directions_that_do_not_fit_are_refused(
    change: dict[str, Any], says: str
) -> None:
    model = Model(TrainConfig(width=6, head="dot_product", directed=True), 3, ())
    weights = {k.removeprefix("encoder."): v for k, v in model.checkpoint_weights().items()}
    settings = model.settings()["encoder"]
    changed = {k: v for k, v in (weights | change).items() if v is not None}
    with pytest.raises(InputError, match=says):
        any_encoder_of(changed, settings, "here")
    with pytest.raises(InputError, match="supported are sage and graph_conv"):
        any_encoder_of(weights, settings | {"encoder": "gcn"}, "here")
