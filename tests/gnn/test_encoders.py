"""Each kind of encoder gives what torch-geometric's layers give with the same weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from octoscope.errors import InputError
from octoscope.gnn.encoders import encoder_of
from octoscope.gnn.messages import Messages
from torch_geometric import nn as pyg

LAYERS = {
    "graph_conv": lambda i, o, aggr, heads, concat: pyg.GraphConv(i, o, aggr=aggr),
    "sage": lambda i, o, aggr, heads, concat: pyg.SAGEConv(i, o, aggr=aggr),
    "gcn": lambda i, o, aggr, heads, concat: pyg.GCNConv(i, o),
    "gat": lambda i, o, aggr, heads, concat: pyg.GATConv(i, o, heads=heads, concat=concat),
}
N, IN, OUT = 17, 5, 6


def random_edges(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Edges with parallel copies and loops; vertices 0 and 1 receive none."""
    rng = torch.Generator().manual_seed(seed)
    src = torch.randint(0, N, (60,), generator=rng)
    dst = torch.randint(2, N, (60,), generator=rng)
    src[:4], dst[:4] = torch.tensor([3, 3, 5, 5]), torch.tensor([4, 4, 5, 5])
    return src, dst


def both(
    kind: str, seed: int, aggr: str = "mean", heads: int = 1, concat: bool = True,
    weighted: bool = False,
) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
    torch.manual_seed(seed)
    side = heads if concat and kind == "gat" else 1
    layers = [LAYERS[kind](IN, OUT, aggr, heads, concat),
              LAYERS[kind](OUT * side, OUT, aggr, heads, concat)]  # fmt: skip
    for layer in layers:
        for p in layer.parameters():
            torch.nn.init.normal_(p, std=0.5)
    src, dst = random_edges(seed)
    weight = torch.rand(len(src)) if weighted else None
    x = torch.randn(N, IN)
    with torch.no_grad():
        given_weight = {"edge_weight": weight} if weighted else {}
        index = torch.stack([src, dst])
        hidden = layers[0](x, index, **given_weight)
        hidden = torch.nn.functional.elu(hidden) if kind == "gat" else hidden.relu()
        want = layers[1](hidden, index, **given_weight)
    state = {f"convs.{i}.{k}": v for i, m in enumerate(layers) for k, v in m.state_dict().items()}
    settings = {"encoder": kind, f"{kind}_aggregator": aggr, "gat_concat": concat}
    encoder = encoder_of(state, settings, "here")
    return encoder.encode(x, Messages(src, dst, N, weight)), want


@given(seed=st.integers(0, 1000), aggr=st.sampled_from(["mean", "add", "max"]))
@settings(max_examples=25, deadline=None)
def test_graph_conv_and_sage(seed: int, aggr: str) -> None:
    for kind in ("graph_conv", "sage"):
        z, want = both(kind, seed, aggr)
        torch.testing.assert_close(z, want, atol=1e-5, rtol=1e-5)


@given(seed=st.integers(0, 1000))
@settings(max_examples=25, deadline=None)
def test_edge_weights(seed: int) -> None:
    for kind, aggr in (("graph_conv", "mean"), ("graph_conv", "max"), ("gcn", "mean")):
        z, want = both(kind, seed, aggr, weighted=True)
        torch.testing.assert_close(z, want, atol=1e-5, rtol=1e-5)


@given(seed=st.integers(0, 1000), heads=st.integers(1, 4), concat=st.booleans())
@settings(max_examples=25, deadline=None)
def test_gcn_and_graph_attention(seed: int, heads: int, concat: bool) -> None:
    for kind in ("gcn", "gat"):
        z, want = both(kind, seed, heads=heads, concat=concat)
        torch.testing.assert_close(z, want, atol=2e-5, rtol=1e-5)


def state(kind: str = "gcn") -> dict[str, Any]:
    layer = LAYERS[kind](IN, OUT, "mean", 1, True)
    return {f"convs.0.{k}": v for k, v in layer.state_dict().items()}


@pytest.mark.parametrize(
    ("change", "settings", "says"),
    [
        ({"convs.0.gate.weight": torch.zeros(1)}, {}, "convs.0.gate.weight"),
        ({"convs.1.bias": torch.zeros(OUT)}, {}, "convs.1.lin.weight: is missing"),
        ({"convs.0.bias": torch.zeros(OUT + 1)}, {}, r"\(7,\), expected \(6,\)"),
        ({}, {"encoder": "gin"}, "supported are graph_conv, sage, gcn, gat"),
        ({}, {"encoder": "sage", "sage_aggregator": "lstm"}, "sage_aggregator: is 'lstm'"),
        ({"edge_weighting_value.net.0.weight": torch.zeros(3, 2)}, {}, "net.0.bias: is missing"),
    ],
)
def test_weights_that_do_not_fit_are_refused(
    change: dict[str, Any], settings: dict[str, Any], says: str
) -> None:
    with pytest.raises(InputError, match=says):
        encoder_of(state() | change, {"encoder": "gcn"} | settings, "here")
