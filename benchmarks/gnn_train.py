"""A training step of a graph neural network, against dense message passing by torch-geometric.

    python benchmarks/gnn_train.py                             # 300,000 edges, about a minute
    python benchmarks/gnn_train.py --edges 2000000
    python benchmarks/gnn_train.py --edges 8000000 --no-dense

A random graph of 50,000 vertices with lognormal degrees. GraphConv (mean), 3 layers of width 128,
20,000 pairs and a dot product. ``products`` is what ``octoscope gnn train`` runs; ``dense`` is the
same layers on ``edge_index`` with messages of edges x width. With an edge encoder (features -> 32
-> 1) the weights of the edges learn. Each way runs in a process of its own, on one thread: seconds
of processor time of the quickest step, peak memory, and the loss and size of the gradient, which
must agree.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from typing import Any

import numpy as np
import pandas as pd
import torch
from octoscope.gnn.graph import GnnGraph, no_edges
from octoscope.gnn_training.train_config import TrainConfig
from octoscope.gnn_training.trained_model import Model
from octoscope.gnn_training.training_edges import training_edges
from octoscope.link_prediction.links import Links
from octoscope.octopus.network import Network
from torch.nn import functional

N, WIDTH, INPUTS, PAIRS = 50_000, 128, 60, 20_000


def random_links(edges: int, features: int) -> Links:
    rng = np.random.default_rng(0)
    weight = rng.lognormal(0, 1.2, N)
    src, dst = (rng.choice(N, edges, p=weight / weight.sum()).astype(np.int64) for _ in range(2))
    vertices = pd.DataFrame({"vertex": np.arange(N), "name": [f"v{i}" for i in range(N)]})
    genes = pd.DataFrame({"gene": [], "vertex": [], "how": []})
    of_edges = None
    if features:
        of_edges = np.empty((edges, features), np.float32)
        for lo in range(0, edges, 1 << 18):  # most edge features of a network are flags
            of_edges[lo : lo + (1 << 18)] = rng.random((len(of_edges[lo : lo + (1 << 18)]),
                                                        features), np.float32) < 0.1  # fmt: skip
    graph = GnnGraph(
        x=rng.standard_normal((N, INPUTS)).astype(np.float32), src=src, dst=dst, edge_attr=of_edges,
        relation=None, relations=(), split=None, names=Network(vertices, genes, no_edges(), []),
        vertex_features=(), edge_features=(), made_from="random", known={},
    )  # fmt: skip
    return Links(graph, None, (), np.zeros(edges, np.int8))


def dense_encoder(model: Model, links: Links) -> Any:
    """Return a function of vertex features: torch-geometric's layers on ``edge_index``."""
    from torch_geometric.nn import GraphConv

    encoder, index = model.encoder, torch.from_numpy(np.stack([links.src, links.dst]))
    of_edges = None
    if encoder.edge_weighting_value is not None:
        of_edges = torch.from_numpy(np.asarray(links.graph.edge_attr))
    layers = torch.nn.ModuleList()
    for conv in encoder.convs:
        layer = GraphConv(conv.in_channels, conv.out_channels, aggr="mean")
        layer.lin_rel, layer.lin_root = conv.lin_rel, conv.lin_root  # the same parameters
        layers.append(layer)

    def encode(x: torch.Tensor) -> torch.Tensor:
        weight = None
        if of_edges is not None:
            weight = torch.sigmoid(encoder.edge_weighting_value.net(of_edges)[:, 0])
        for i, layer in enumerate(layers):
            x = layer(x, index, weight)
            x = x.relu() if i < len(layers) - 1 else x
        return x

    return encode


def one(way: str, edges: int, features: int, steps: int) -> dict[str, float]:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    links = random_links(edges, features)
    config = TrainConfig(encoder="graph_conv", layers=3, width=WIDTH, dropout=0.0,
                         head="dot_product", edge_encoder=32 if features else 0)  # fmt: skip
    model = Model(config, INPUTS, (), features)
    x = torch.from_numpy(links.graph.x)
    rng = np.random.default_rng(1)
    a, b = (torch.from_numpy(rng.integers(0, N, PAIRS)) for _ in range(2))
    truth = torch.from_numpy(rng.integers(0, 2, PAIRS).astype(np.float32))
    start = time.process_time()
    if way == "dense":
        encode = dense_encoder(model, links)
    else:
        index = training_edges(links, np.ones(edges, bool), config)
        encode = lambda x: model.encoder(x, index)  # noqa: E731
    built = time.process_time() - start
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    cpu = []
    for _ in range(steps):
        model.zero_grad()
        start = time.process_time()
        z = encode(x)
        raw = (z[a] * z[b]).mean(1)
        loss = functional.binary_cross_entropy_with_logits(raw, truth)
        loss.backward()
        cpu.append(time.process_time() - start)
    size = sum(float(p.grad.double().square().sum()) for p in model.parameters()) ** 0.5
    return {"step": min(cpu), "build": built, "data": before, "loss": loss.item(), "gradient": size,
            "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6}  # fmt: skip


def child(way: str, edges: int, features: int, steps: int) -> dict[str, float]:
    words = [sys.executable, __file__, "--way", way, "--edges", str(edges), "--features",
             str(features), "--steps", str(steps)]  # fmt: skip
    done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True)
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    name = f"{way}, {f'edge encoder of {features}' if features else 'no edge encoder'}"
    step, build, peak, data = (figures[k] for k in ("step", "build", "peak", "data"))
    print(f"{name:36s} step {step:6.2f} s  build {build:5.1f} s  peak {peak:5.2f} GB "
          f"({data:.2f} before the first step)", flush=True)  # fmt: skip
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--edges", type=int, default=300_000)
    parser.add_argument("--features", type=int, nargs="+", default=[0, 69],
                        help="of an edge; 0: no edge encoder")  # fmt: skip
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--no-dense", action="store_true", help="leave the dense way out")
    parser.add_argument("--way", choices=["products", "dense"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        print(json.dumps(one(options.way, options.edges, options.features[0], options.steps)))
        return
    print(f"{options.edges:,} edges, {N:,} vertices")
    for features in options.features:
        mine = child("products", options.edges, features, options.steps)
        if options.no_dense:
            continue
        dense = child("dense", options.edges, features, options.steps)
        for name in ("loss", "gradient"):
            np.testing.assert_allclose(mine[name], dense[name], rtol=1e-3)
        print(f"ratio: {dense['step'] / mine['step']:.1f} times less processor time, "
              f"{dense['peak'] / mine['peak']:.1f} times less memory")  # fmt: skip


if __name__ == "__main__":
    main()
