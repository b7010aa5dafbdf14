"""Encode a graph and score pairs with a graph neural network, against torch-geometric's own way.

    python benchmarks/gnn_score.py --edges 8000000            # about 5 minutes, 4 GB
    python benchmarks/gnn_score.py --edges 8000000 --dense    # the dense way too: 10 GB more

A random graph of 50,000 vertices with lognormal degrees, 91 % of its pairs mirrored; GraphConv
(mean), 3 layers, with a two-layer MLP head. Each line is seconds of wall and of processor time (all
threads) in one process, and the ratio of the latter to the dense way (``edge_index``, messages of
edges x width; concatenation of both ends), where that was run. Scores of all ways are compared
before anything is printed.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from octoscope.gnn.embeddings import embeddings, encode
from octoscope.gnn.encoders import Encoder, encoder_of
from octoscope.gnn.gnn_checkpoint import Checkpoint
from octoscope.gnn.graph import GnnGraph, no_edges
from octoscope.gnn.head_weights import head_of
from octoscope.gnn.heads import Head
from octoscope.gnn.leave_out import score_left_out
from octoscope.gnn.messages import Messages
from octoscope.gnn.scoring import score_pairs
from octoscope.octopus.network import Network
from torch_geometric import EdgeIndex
from torch_geometric.nn import GraphConv

N = 50_000


def timed(call: Callable[[], Any]) -> tuple[np.ndarray, Any]:
    """Return seconds of wall and of processor time, and what was called gave."""
    start = time.perf_counter(), time.process_time()
    result = call()
    return np.array([time.perf_counter() - start[0], time.process_time() - start[1]]), result


def peak() -> str:
    return f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.1f} GB"


def random_graph(edges: int, features: int, seed: int) -> GnnGraph:
    rng = np.random.default_rng(seed)
    weight = rng.lognormal(0, 1.2, N)
    chance = weight / weight.sum()
    half = edges * 100 // 191
    src, dst = (rng.choice(N, half, p=chance) for _ in range(2))
    back = rng.random(half) < 0.91
    a, b = np.concatenate([src, dst[back]]), np.concatenate([dst, src[back]])
    vertices = pd.DataFrame({"vertex": np.arange(N), "name": [f"v{i}" for i in range(N)]})
    genes = pd.DataFrame({"gene": [], "vertex": [], "how": []})
    return GnnGraph(
        x=rng.standard_normal((N, features)).astype(np.float32), src=a, dst=b, edge_attr=None,
        relation=None, relations=(), split=None, names=Network(vertices, genes, no_edges(), []),
        vertex_features=(), edge_features=(), made_from="random", known={},
    )  # fmt: skip


def random_model(features: int, width: int) -> tuple[Encoder, Head, torch.nn.ModuleList]:
    torch.manual_seed(0)
    sizes = [features, width, width, width]
    layers = torch.nn.ModuleList(
        GraphConv(a, b, aggr="mean") for a, b in zip(sizes, sizes[1:], strict=False)
    )
    state = {f"convs.{i}.{k}": v for i, m in enumerate(layers) for k, v in m.state_dict().items()}
    encoder = encoder_of(state, {"encoder": "graph_conv", "graph_conv_aggregator": "mean"}, "")
    hidden = 128
    weights = {
        "mlp.0.weight": torch.randn(hidden, 2 * width) / width**0.5,
        "mlp.0.bias": torch.zeros(hidden),
        "mlp.3.weight": torch.randn(1, hidden) / hidden**0.5, "mlp.3.bias": torch.zeros(1),
    }  # fmt: skip
    return encoder, head_of(weights, {"head": "mlp"}, width, ""), layers


@torch.no_grad()
def through(layers: torch.nn.ModuleList, x: torch.Tensor, edges: Any) -> torch.Tensor:
    for i, layer in enumerate(layers):
        x = layer(x, edges)
        x = x.relu() if i < len(layers) - 1 else x
    return x


@torch.no_grad()
def concatenated(head: Head, z: torch.Tensor, a: np.ndarray, b: np.ndarray) -> torch.Tensor:
    w = head.weights
    both = torch.cat([z[torch.from_numpy(a)], z[torch.from_numpy(b)]], 1)
    hidden = (both @ w["mlp.0.weight"].T + w["mlp.0.bias"]).relu()
    return (hidden @ w["mlp.3.weight"].T + w["mlp.3.bias"])[:, 0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--edges", type=int, default=2_000_000)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--features", type=int, default=60)
    parser.add_argument("--pairs", type=int, default=1_000_000)
    parser.add_argument("--dense", action="store_true")
    parser.add_argument("--no-leave-out", action="store_true")
    options = parser.parse_args()
    graph = random_graph(options.edges, options.features, 0)
    encoder, head, layers = random_model(options.features, options.width)
    model = Checkpoint(encoder, head, (), {}, "", Path("random"))
    rng = np.random.default_rng(1)
    a, b = rng.integers(0, N, (2, options.pairs))
    src, dst = torch.from_numpy(graph.src), torch.from_numpy(graph.dst)
    x = torch.from_numpy(graph.x)
    print(f"{len(src):,} edges, {N:,} vertices, 3 x {options.width}, {options.pairs:,} pairs, "
          f"{torch.get_num_threads()} threads; before: {peak()}", flush=True)  # fmt: skip

    messages = Messages(src, dst, N)
    build, _ = timed(lambda: messages.matrix)
    score_pairs(head, torch.zeros(2, options.width), a[:1] * 0, b[:1] * 0)  # compiles its loops
    ours, z = timed(lambda: encode(model, graph, messages))
    score, scores = timed(lambda: score_pairs(head, z, a, b))
    rows = [("octoscope: sparse matrix, once a graph", build, None),
            ("octoscope: encode", ours, None), ("octoscope: score", score, None),
            ("octoscope: encode and score", build + ours + score, None)]  # fmt: skip
    print(f"peak of octoscope {peak()}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        embeddings(model, graph, "all", Path(folder))
        again = replace(graph)  # opened anew: nothing of it is digested yet
        further, _ = timed(
            lambda: score_pairs(head, embeddings(model, again, "all", Path(folder)), a, b)
        )
    rows.append(("octoscope: score more pairs, embeddings kept", further, None))
    if not options.no_leave_out:
        few = np.arange(10_000)
        edges = rng.choice(len(src), len(few) // 2)
        p = np.concatenate([graph.src[edges], a[: len(few) // 2]])
        q = np.concatenate([graph.dst[edges], b[: len(few) // 2]])
        seconds, _ = timed(lambda: score_left_out(model, graph, p, q))
        rows.append(("octoscope: 10,000 pairs, left out, 10 encodings", seconds, None))
        print(f"peak with left out {peak()}", flush=True)
    index = EdgeIndex(torch.stack([src, dst]), sparse_size=(N, N)).sort_by("col").values
    index.fill_cache_()
    seconds, other = timed(lambda: through(layers, x, index))
    torch.testing.assert_close(other, z, atol=1e-4, rtol=1e-4)
    rows.append(("torch-geometric EdgeIndex: encode", seconds, None))
    if options.dense:
        seconds, other = timed(lambda: through(layers, x, torch.stack([src, dst])))
        torch.testing.assert_close(other, z, atol=1e-4, rtol=1e-4)
        plain, values = timed(lambda: concatenated(head, z, a, b))
        np.testing.assert_allclose(values.numpy(), scores.raw, atol=1e-4)
        rows += [("torch-geometric edge_index: encode", seconds, ours),
                 ("concatenation: score", plain, score),
                 ("edge_index and concatenation: encode and score", seconds + plain,
                  build + ours + score)]  # fmt: skip
        print(f"peak with the dense way {peak()}", flush=True)
    print(f"{'':<52} {'wall':>9} {'processor':>11}")
    for name, (wall, processor), base in rows:
        ratio = f"   processor {processor / base[1]:5.1f} x octoscope" if base is not None else ""
        print(f"{name:<52} {wall:8.2f}s {processor:10.2f}s{ratio}")


if __name__ == "__main__":
    main()
