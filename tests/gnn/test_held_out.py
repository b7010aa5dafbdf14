"""Checkpoints that no fixture holds: every head and encoder in the peer's layout, on its graph.

Embeddings are compared with torch-geometric's layers in float64, raw scores with the formulas of
docs/gnn.md in NumPy. Where the metadata state no sizes, they come from the tensors.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from octoscope.gnn.embeddings import embeddings
from octoscope.gnn.gnn_checkpoint import open_checkpoint
from octoscope.gnn.graph import GnnGraph
from octoscope.gnn.scoring import score_pairs
from torch_geometric import nn as pyg

WIDTH, HIDDEN, OF_RELATION, GROUPS = 24, 20, 12, 4
CASES = [  # head, encoder, aggregator, layers, edge encoder, sizes stated
    ("dot_product", "sage", "max", 1, False, True),
    ("attention", "gcn", "mean", 2, True, False),
    ("mlp", "gat", "mean", 3, True, False),
    ("distmult", "graph_conv", "max", 2, True, False),
    ("transe", "gcn", "mean", 1, False, False),
    ("rotate", "sage", "add", 2, True, True),
    ("conditional_rotate", "graph_conv", "add", 1, True, False),
    ("relation_attention", "gat", "mean", 2, False, False),
    ("relation_attention_mlp", "sage", "mean", 3, False, False),
    ("relation_gated_mlp", "gcn", "mean", 3, True, True),
]


def layer(kind: str, aggregator: str, width: int) -> torch.nn.Module:
    if kind == "graph_conv":
        return pyg.GraphConv(width, WIDTH, aggr=aggregator)
    if kind == "sage":
        return pyg.SAGEConv(width, WIDTH, aggr=aggregator)
    if kind == "gcn":
        return pyg.GCNConv(width, WIDTH)
    return pyg.GATConv(width, WIDTH, heads=2, concat=False)


def linear(name: str, into: int, out: int) -> dict[str, torch.Tensor]:
    return {f"{name}.weight": torch.randn(out, into) / into**0.5,
            f"{name}.bias": torch.randn(out) / 10}  # fmt: skip


def head_of(kind: str, relations: int) -> dict[str, torch.Tensor]:
    """Return random weights of a head, under the peer's names."""
    if kind == "dot_product":
        return {}
    if kind == "mlp":
        return linear("mlp.0", 2 * WIDTH, HIDDEN) | linear("mlp.3", HIDDEN, 1)
    if kind == "attention":
        weights = linear("query_proj", WIDTH, HIDDEN) | linear("key_proj", WIDTH, HIDDEN)
        return {k: v for k, v in weights.items() if k.endswith("weight")}
    columns = {"rotate": WIDTH // 2, "conditional_rotate": WIDTH // 2, "distmult": WIDTH,
               "transe": WIDTH}.get(kind, OF_RELATION)  # fmt: skip
    w = {"relation_emb.weight": torch.randn(relations, columns)}
    if kind == "conditional_rotate":
        w["is_symmetric"] = torch.arange(relations) % 2 == 0
    if not kind.startswith("relation"):
        return w
    w |= linear("edge_proj" if kind == "relation_attention" else "edge_mlp.0", 2 * WIDTH, HIDDEN)
    if kind == "relation_gated_mlp":
        w |= linear("relation_gate.0", OF_RELATION, HIDDEN)
    else:
        w |= linear("query_proj", OF_RELATION, HIDDEN)
        w |= linear("key_proj", HIDDEN, HIDDEN) | linear("value_proj", HIDDEN, HIDDEN)
    if kind == "relation_attention":
        return w | linear("output_proj", HIDDEN, 1)
    return w | linear("output_mlp.0", HIDDEN, HIDDEN // 2) | linear("output_mlp.3", HIDDEN // 2, 1)


def raw_of(
    kind: str, weights: dict[str, torch.Tensor], z: np.ndarray, a: np.ndarray, b: np.ndarray,
    r: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """Return [pairs] float64 raw scores by the formulas of the peer."""
    w = {k: v.double().numpy() if v.is_floating_point() else v.numpy() for k, v in weights.items()}

    def apply(name: str, x: np.ndarray) -> np.ndarray:
        return x @ w[f"{name}.weight"].T + w.get(f"{name}.bias", 0)

    u = z / np.linalg.norm(z, axis=1, keepdims=True)
    if kind == "dot_product":
        return (z[a] * z[b]).mean(1)
    if kind == "attention":
        return (apply("query_proj", u[a]) * apply("key_proj", u[b])).sum(1) / HIDDEN**0.5
    if kind == "mlp":
        return apply("mlp.3", np.maximum(apply("mlp.0", np.hstack([z[a], z[b]])), 0))[:, 0]
    of = w["relation_emb.weight"][r]
    if kind == "distmult":
        return (z[a] * of * z[b]).mean(1)
    if kind == "transe":
        return -np.sqrt(((u[a] + of - u[b]) ** 2).sum(1) + 1e-8)
    if kind.endswith("rotate"):
        (x, y), (c, d) = (np.split(u[e], 2, 1) for e in (a, b))
        turned = (x + 1j * y) * np.exp(1j * of) - (c + 1j * d)
        raw = -np.sqrt(np.abs(turned) ** 2 + 1e-8).mean(1)
        symmetric = w.get("is_symmetric", np.zeros(r.max() + 1, bool))[r]
        return np.where(symmetric, (u[a] * u[b]).mean(1) - 1, raw)
    if kind == "relation_attention":
        hidden = apply("edge_proj", np.hstack([u[a], u[b]]))
    else:
        hidden = np.maximum(apply("edge_mlp.0", np.hstack([z[a], z[b]])), 0)
    if kind == "relation_gated_mlp":
        hidden = hidden * np.tanh(apply("relation_gate.0", of))
    else:
        query, key, value = (
            apply(f"{name}_proj", x).reshape(len(a), GROUPS, -1)
            for name, x in (("query", of), ("key", hidden), ("value", hidden))
        )
        share = np.exp((query * key).sum(2) / (HIDDEN // GROUPS) ** 0.5)
        gated = (share / share.sum(1, keepdims=True))[..., None] * value
        hidden = gated.reshape(len(a), -1) + (hidden if kind.endswith("mlp") else 0)
    if kind == "relation_attention":
        return apply("output_proj", hidden)[:, 0]
    return apply("output_mlp.3", np.maximum(apply("output_mlp.0", hidden), 0))[:, 0]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}-{case[1]}")
def test_a_checkpoint_that_no_fixture_holds(
    case: tuple[Any, ...], graph: GnnGraph, tmp_path: Path
) -> None:
    head, kind, aggregator, n_layers, edge, stated = case
    torch.manual_seed(CASES.index(case))
    assert graph.edge_attr is not None
    widths = [graph.x.shape[1], *[WIDTH] * (n_layers - 1)]
    layers = torch.nn.ModuleList(layer(kind, aggregator, width) for width in widths)
    state = {f"encoder.convs.{k}": v for k, v in layers.state_dict().items()}
    edge_weight = None
    if edge:
        first, last = torch.nn.Linear(graph.edge_attr.shape[1], 8), torch.nn.Linear(8, 1)
        for i, part in ((0, first), (3, last)):
            named = {f"net.{i}.{k}": v for k, v in part.state_dict().items()}
            state |= {f"encoder.edge_weighting_value.{k}": v.clone() for k, v in named.items()}
        features = torch.from_numpy(np.array(graph.edge_attr, np.float64))
        edge_weight = last.double()(first.double()(features).relu()).sigmoid()[:, 0].detach()
    weights = head_of(head, len(graph.relations))
    state |= {f"head.head.{k}": v for k, v in weights.items()}
    settings = {"encoder": kind, "head": head, "relation_attention_heads": GROUPS}
    if kind in ("graph_conv", "sage"):
        settings[f"{kind}_aggregator"] = aggregator
    sizes = {"hidden_channels": WIDTH, "num_layers": n_layers, "mlp_hidden_dim": HIDDEN}
    model = {"encoder": settings | sizes, "head": settings | sizes} if stated else None
    torch.save(
        {"state_dict": {f"task.{k}": v for k, v in state.items()},
         "hyper_parameters": {"model": model, "data": {"num_nodes": graph.n_vertices}}},
        tmp_path / "model.ckpt",
    )  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps({"model": settings}))

    opened = open_checkpoint(tmp_path)
    z = embeddings(opened, graph)
    x = torch.from_numpy(np.array(graph.x, np.float64))
    ends = torch.from_numpy(np.array([graph.src, graph.dst], np.int64))
    passed = {"edge_weight": edge_weight} if edge and kind in ("graph_conv", "gcn") else {}
    with torch.no_grad():
        for i, part in enumerate(layers.double()):
            x = part(x, ends, **passed)
            if i < n_layers - 1:
                x = torch.nn.functional.elu(x) if kind == "gat" else x.relu()
    scale = max(1.0, float(x.abs().max()))
    torch.testing.assert_close(z.double() / scale, x / scale, atol=1e-5, rtol=1e-5)
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, graph.n_vertices, (2, 300))
    r = rng.integers(0, len(graph.relations), 300)
    scores = score_pairs(opened.head, z, a, b, r, "peer")
    want = raw_of(head, weights, x.numpy(), a, b, r)
    np.testing.assert_allclose(scores.raw, want, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(scores.probability, 1 / (1 + np.exp(-want)), atol=1e-5)
