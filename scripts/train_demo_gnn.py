"""Train the demonstration's graph neural network on the embedded network; writes a checkpoint.

    pip install -e '.[run,gnn]'
    python scripts/train_demo_gnn.py engine/octoscope/demo/data/gnn-demo

GraphConv (2 layers, width 32) with a relation-gated MLP, in napistu-torch's format. Messages pass
along training edges only, and the edges that a step learns from are left out of its messages.
Negatives have the ends of training edges, so degree alone tells nothing. It shows formats and
commands: it is small, trained for minutes, and no result of its own.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from octoscope.gnn.graph import SPLITS, GnnGraph
from octoscope.gnn.network_graph import read_network_graph
from torch import nn
from torch_geometric.nn import GraphConv

WIDTH, RELATION_WIDTH, HIDDEN, LAYERS = 32, 8, 32, 2


class Encoder(nn.Module):
    def __init__(self, features: int) -> None:
        super().__init__()
        sizes = [features, *[WIDTH] * LAYERS]
        self.convs = nn.ModuleList(
            GraphConv(a, b, aggr="mean") for a, b in zip(sizes, sizes[1:], strict=False)
        )

    def forward(self, x: torch.Tensor, edges: torch.Tensor) -> torch.Tensor:
        for i, conv in enumerate(self.convs):
            x = conv(x, edges)
            x = x.relu() if i < LAYERS - 1 else x
        return x


class Head(nn.Module):
    def __init__(self, relations: int) -> None:
        super().__init__()
        self.relation_emb = nn.Embedding(relations, RELATION_WIDTH)
        self.edge_mlp = nn.Sequential(nn.Linear(2 * WIDTH, HIDDEN), nn.ReLU())
        self.relation_gate = nn.Sequential(nn.Linear(RELATION_WIDTH, HIDDEN), nn.Tanh())
        self.output_mlp = nn.Sequential(
            nn.Linear(HIDDEN, HIDDEN), nn.ReLU(), nn.Dropout(0.0), nn.Linear(HIDDEN, 1)
        )

    def forward(self, z: torch.Tensor, edges: torch.Tensor, r: torch.Tensor) -> torch.Tensor:
        hidden = self.edge_mlp(torch.cat([z[edges[0]], z[edges[1]]], 1))
        return self.output_mlp(hidden * self.relation_gate(self.relation_emb(r)))[:, 0]


def area(score: torch.Tensor, truth: torch.Tensor) -> float:
    order = torch.argsort(score)
    ranks = torch.empty_like(score)
    ranks[order] = torch.arange(1, len(score) + 1, dtype=score.dtype)
    n, m = int(truth.sum()), int((~truth).sum())
    return float((ranks[truth].double().sum() - n * (n + 1) / 2) / (n * m))


def negatives(edges: torch.Tensor, known: set[int], n: int) -> torch.Tensor:
    """Pairs with the ends of ``edges`` that no edge joins."""
    drawn = torch.stack([edges[0], edges[1][torch.randperm(edges.shape[1])]])
    keys = (drawn[0] * n + drawn[1]).tolist()
    keep = torch.tensor([k not in known for k in keys]) & (drawn[0] != drawn[1])
    return drawn[:, keep]


def train(graph: GnnGraph, steps: int, seed: int) -> tuple[nn.Module, nn.Module, dict[str, float]]:
    torch.manual_seed(seed)
    x = torch.from_numpy(graph.x)
    edges = torch.from_numpy(np.stack([graph.src, graph.dst]))
    relation, split = torch.from_numpy(graph.relation), torch.from_numpy(graph.split)
    n = graph.n_vertices
    known = set((edges[0] * n + edges[1]).tolist()) | set((edges[1] * n + edges[0]).tolist())
    parts = {s: torch.nonzero(split == SPLITS.index(s))[:, 0] for s in SPLITS[1:]}
    encoder, head = Encoder(x.shape[1]), Head(len(graph.relations))
    optimiser = torch.optim.Adam([*encoder.parameters(), *head.parameters()], lr=3e-3)
    loss_of = nn.BCEWithLogitsLoss()
    mine = parts["train"]
    for step in range(steps):
        chosen = torch.rand(len(mine)) < 0.2
        predicted, passed = mine[chosen], mine[~chosen]
        z = encoder(x, edges[:, passed])
        wrong = negatives(edges[:, predicted], known, n)
        r = relation[predicted]
        of_wrong = r[torch.randint(len(r), (wrong.shape[1],))]
        score = torch.cat([head(z, edges[:, predicted], r), head(z, wrong, of_wrong)])
        truth = torch.cat([torch.ones(len(predicted)), torch.zeros(wrong.shape[1])])
        loss = loss_of(score, truth)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if step % 50 == 0:
            print(f"step {step}: loss {loss.item():.4f}", flush=True)
    encoder.eval(), head.eval()
    areas = {}
    with torch.no_grad():
        z = encoder(x, edges[:, mine])
        for part in ("val", "test"):
            predicted = parts[part]
            wrong = negatives(edges[:, predicted], known, n)
            r = relation[predicted]
            of_wrong = r[torch.randint(len(r), (wrong.shape[1],))]
            score = torch.cat([head(z, edges[:, predicted], r), head(z, wrong, of_wrong)])
            truth = torch.arange(len(score)) < len(predicted)
            areas[part] = area(score, truth)
    return encoder, head, areas


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("target", type=Path)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    graph, _ = read_network_graph("demo")
    encoder, head, areas = train(graph, options.steps, options.seed)
    print("AUC against pairs with the same ends:", areas)
    state = {f"task.encoder.{k}": v for k, v in encoder.state_dict().items()}
    state |= {f"task.head.head.{k}": v for k, v in head.state_dict().items()}
    model = {
        "encoder": {"encoder": "graph_conv", "in_channels": graph.x.shape[1],
                    "hidden_channels": WIDTH, "num_layers": LAYERS,
                    "graph_conv_aggregator": "mean"},
        "head": {"head": "relation_gated_mlp", "hidden_channels": WIDTH,
                 "num_relations": len(graph.relations), "relation_emb_dim": RELATION_WIDTH,
                 "mlp_hidden_dim": HIDDEN, "mlp_num_layers": 2},
    }  # fmt: skip
    data = {
        "name": "OmniPath among genes of the demonstration cells; a demonstration, no result",
        "num_nodes": graph.n_vertices, "num_edges": len(graph.src),
        "num_node_features": graph.x.shape[1],
        "relation_type_labels": list(graph.relations), "digests": graph.digests,
        **{f"{s}_mask_hash": graph.mask_digest(s) for s in SPLITS[1:]},
    }  # fmt: skip
    options.target.mkdir(parents=True, exist_ok=True)
    torch.save({"state_dict": state, "hyper_parameters": {"model": model, "data": data},
                "pytorch-lightning_version": "2.6.6"}, options.target / "model.ckpt")  # fmt: skip
    config = {"name": "demonstration", "seed": options.seed, "test_auc": areas,
              "model": {"encoder": "graph_conv", "hidden_channels": WIDTH, "num_layers": LAYERS,
                        "head": "relation_gated_mlp"}}  # fmt: skip
    (options.target / "config.json").write_text(json.dumps(config, indent=1) + "\n")


if __name__ == "__main__":
    main()
