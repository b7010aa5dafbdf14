"""A whole training step, negatives included, against napistu-torch 0.4.0 with its own sampler.

    python benchmarks/gnn_peer_step.py                         # 300,000 edges
    python benchmarks/gnn_peer_step.py --edges 8000000

A random graph of 50,000 vertices with lognormal degrees; 70 % of its edges are of training.
GraphConv (mean), 3 layers of width 128, a dot product, Adam. The peer trains as its
``EdgeBatchDataModule`` with 20 batches does: ``EdgePredictionTask.prepare_batch`` slices edges and
samples negatives, ``compute_loss`` encodes all training edges. ``octoscope gnn train`` learns from
5 % of the training pairs (``learned: 0.05``), with degree-matched negatives that are compared with
all edges. So both learn from about as many pairs in a step. With --features both have an edge
encoder (features -> 32 -> 1). Each runs in a process of its own, on one thread: seconds of
processor time of the quickest of --steps steps after the first, of which negatives and slices.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

N, WIDTH, INPUTS, BATCHES, HIDDEN, RATE = 50_000, 128, 60, 20, 32, 0.003


def arrays(edges: int, features: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    weight = rng.lognormal(0, 1.2, N)
    src, dst = (rng.choice(N, edges, p=weight / weight.sum()) for _ in range(2))
    of_edges = np.zeros((edges, max(features, 1)), np.float32)
    for lo in range(0, edges if features else 0, 1 << 18):
        part = of_edges[lo : lo + (1 << 18)]
        part[:] = rng.random(part.shape, np.float32) < 0.1
    return {"x": rng.standard_normal((N, INPUTS)).astype(np.float32), "src": src, "dst": dst,
            "part": np.where(rng.random(edges) < 0.7, 1, 2), "of_edges": of_edges}  # fmt: skip


def peer(given: dict[str, np.ndarray], features: int, steps: int) -> dict[str, Any]:
    import torch
    from napistu_torch.data.dataset import EdgeBatchDataset
    from napistu_torch.models.edge_encoder import EdgeEncoder
    from napistu_torch.models.heads import Decoder
    from napistu_torch.models.message_passing_encoder import MessagePassingEncoder
    from napistu_torch.napistu_data import NapistuData
    from napistu_torch.tasks.edge_prediction import EdgePredictionTask

    torch.set_num_threads(1)
    torch.manual_seed(0)
    train = torch.from_numpy(given["part"] == 1)
    data = NapistuData(
        x=torch.from_numpy(given["x"]), edge_attr=torch.from_numpy(given["of_edges"]),
        edge_index=torch.from_numpy(np.stack([given["src"], given["dst"]])),
        train_mask=train, val_mask=~train, test_mask=~train,
    )  # fmt: skip
    encoder = MessagePassingEncoder(
        INPUTS, WIDTH, 3, encoder_type="graph_conv", graph_conv_aggregator="mean",
        weight_edges_by=EdgeEncoder(features, HIDDEN) if features else None,
    )  # fmt: skip
    task = EdgePredictionTask(encoder, Decoder(WIDTH, "dot_product"))
    task.train()
    optimiser = torch.optim.Adam(task.parameters(), RATE)
    batches = EdgeBatchDataset(torch.where(train)[0], BATCHES)

    def step(i: int) -> tuple[float, int, Any]:
        start = time.process_time()
        batch = task.prepare_batch(data, "train", batches[i])
        drawn = time.process_time() - start
        loss = task.compute_loss(batch)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        return drawn, batch["pos_edges"].shape[1], loss

    return timed(step, steps)


def ours(given: dict[str, np.ndarray], features: int, steps: int) -> dict[str, Any]:
    import pandas as pd
    import torch
    from octoscope.gnn.graph import GnnGraph, no_edges
    from octoscope.gnn.structural_features import message_edges
    from octoscope.gnn_training import train as training
    from octoscope.gnn_training.train_config import TrainConfig
    from octoscope.gnn_training.trained_model import Model
    from octoscope.gnn_training.training_edges import training_edges
    from octoscope.link_prediction.links import Links
    from octoscope.link_prediction.negatives import Trained, positives_of
    from octoscope.link_prediction.splits import Split
    from octoscope.octopus.network import Network

    torch.set_num_threads(1)
    torch.manual_seed(0)
    vertices = pd.DataFrame({"vertex": np.arange(N), "name": [f"v{i}" for i in range(N)],
                             "species_type": "protein"})  # fmt: skip
    genes = pd.DataFrame({"gene": [], "vertex": [], "how": []})
    part = given["part"].astype(np.uint8)
    graph = GnnGraph(
        x=given["x"], src=given["src"], dst=given["dst"], relation=None, relations=(),
        edge_attr=given["of_edges"] if features else None, split=part, vertex_features=(),
        names=Network(vertices, genes, no_edges(), []), edge_features=(), made_from="random",
        known={},
    )  # fmt: skip
    links = Links(graph, None, (), np.zeros(len(part), np.int8))
    config = TrainConfig(encoder="graph_conv", layers=3, width=WIDTH, dropout=0.0,
                         head="dot_product", edge_encoder=HIDDEN if features else 0,
                         learned=1 / BATCHES)  # fmt: skip
    passing = message_edges(graph, config.learned)
    divided = np.where(passing, 1, np.where(part == 1, 2, 0)).astype(np.uint8)
    learning = Split("learned", divided, {}, "")
    positives = positives_of(links, learning, "val")
    trained = Trained.of(links, learning)
    model = Model(config, INPUTS, (), features)
    model.train()
    edges, x = training_edges(links, passing, config), torch.from_numpy(graph.x)
    weight = torch.ones(len(positives.src))
    optimiser = torch.optim.Adam(model.parameters(), RATE)

    def step(i: int) -> tuple[float, int, Any]:
        start = time.process_time()
        pairs = training._pairs(links, learning, positives, config.negatives, 1, i, trained)
        drawn = time.process_time() - start
        loss = training._step(model, x, edges, pairs, weight, config)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        return drawn, pairs.positives, loss

    with training._quiet():
        return timed(step, steps)


def timed(step: Callable[[int], tuple[float, int, Any]], steps: int) -> dict[str, Any]:
    """Time steps; the first, which builds what is kept, counts as ``first``."""
    rows = []
    for i in range(steps + 1):
        start = time.process_time()
        drawn, pairs, loss = step(i)
        rows.append((time.process_time() - start, drawn, pairs, loss.item()))
    seconds, drawn, pairs, loss = min(rows[1:])
    return {"step": seconds, "negatives": drawn, "pairs": pairs, "loss": loss, "first": rows[0][0],
            "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--edges", type=int, default=300_000)
    parser.add_argument("--features", type=int, default=0, help="of an edge; 0: no edge encoder")
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--way", choices=["ours", "peer"], help=argparse.SUPPRESS)
    parser.add_argument("--given", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        with np.load(options.given) as file:
            given = {name: file[name] for name in file.files}
        run = ours if options.way == "ours" else peer
        print(json.dumps(run(given, options.features, options.steps)))
        return
    from peer_environment import napistu

    figures = {}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "graph.npz"
        np.savez(file, **arrays(options.edges, options.features))
        for way, python in (("ours", sys.executable), ("peer", str(napistu()))):
            words = [python, __file__, "--way", way, "--given", str(file), "--features",
                     str(options.features), "--steps", str(options.steps)]  # fmt: skip
            one = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
            done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True,
                                  env=os.environ | one)  # fmt: skip
            row = figures[way] = json.loads(done.stdout.splitlines()[-1])
            print(f"{way}: step {row['step']:.2f} s, of which negatives {row['negatives']:.2f} s "
                  f"({row['pairs']:,} pairs, loss {row['loss']:.3f}); first step "
                  f"{row['first']:.2f} s; peak {row['peak']:.2f} GB", flush=True)  # fmt: skip
    ratio = figures["peer"]["step"] / figures["ours"]["step"]
    print(f"{options.edges:,} edges, {options.features} features: ratio {ratio:.1f}")


if __name__ == "__main__":
    main()
