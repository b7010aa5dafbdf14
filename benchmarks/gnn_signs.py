"""Whether a network that learns signs tells them better than rules do.

    octoscope gnn graph NETWORK graph --structure
    python benchmarks/gnn_signs.py graph                      # rates and signed coordinates besides
    python benchmarks/gnn_signs.py graph --plain              # the features of the graph alone

Trains GraphSAGE with weights of two directions and the gated MLP of relations, with the loss of
signs (``signs``). The features of a vertex are those of the graph and, of the signed pairs that
carry messages, its rates as a regulator and as a target, how many activate and inhibit, and leading
singular vectors of what rates leave over. Prints the AUC of signs on test pairs beside the floors,
and trees on the floor's features with and without the sign of the checkpoint.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from octoscope.gnn.directed_spectrum import leading_singular
from octoscope.gnn.graph import GnnGraph
from octoscope.gnn.structural_features import message_edges
from octoscope.gnn_training.train import train
from octoscope.gnn_training.train_config import TrainConfig
from octoscope.link_prediction.checkpoint_scores import open_scorer
from octoscope.link_prediction.floors import fit_stacked
from octoscope.link_prediction.link_metrics import auc
from octoscope.link_prediction.links import Links, links_of, open_links
from octoscope.link_prediction.sign_floors import (
    BOTH,
    REGULATOR,
    TARGET,
    rates,
    sign_features,
    sign_table,
    signed_pairs,
)
from octoscope.link_prediction.splits import Split, split_links
from sign_ensembles import show
from threadpoolctl import threadpool_limits

RANK = 32


def with_signs(links: Links, learned: float) -> GnnGraph:
    """Return the graph with features of the signs of its message edges."""
    graph, n = links.graph, links.n
    passing = np.where(message_edges(graph, learned), 1, 0).astype(np.uint8)
    pairs = signed_pairs(links, Split("learned", passing, {}, ""))
    known = pairs.training(n, pairs.part == 1)
    of = rates(n, known.src, known.dst, known.activates)
    every = np.arange(n)
    u, s, vt = leading_singular(known.matrix(known.left_over(of[BOTH])), min(RANK, n))
    columns = np.column_stack([
        of[REGULATOR](every, every), of[TARGET](every, every), np.log1p(known.counts(every, every)),
        u * np.sqrt(s), vt.T * np.sqrt(s),
    ])  # fmt: skip
    columns /= np.sqrt((columns**2).mean(0)) + 1e-9
    names = tuple(f"sign {i}" for i in range(columns.shape[1]))
    return replace(graph, x=np.hstack([graph.x, columns]).astype(np.float32), known={},
                   vertex_features=(*graph.vertex_features, *names))  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("graph")
    parser.add_argument("--plain", action="store_true", help="the features of the graph alone")
    parser.add_argument("--learned", type=float, default=0.3)
    parser.add_argument("--epochs", type=int, default=300)
    parser.add_argument("--signs", type=float, default=3.0)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    links = open_links(options.graph)
    graph = links.graph if options.plain else with_signs(links, options.learned)
    config = TrainConfig(directed=True, layers=options.layers, width=options.width, hidden=128,
                         epochs=options.epochs, signs=options.signs, learned=options.learned,
                         seed=options.seed)  # fmt: skip
    start = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = train(graph, config, Path(folder) / "t", lambda x: print(x, flush=True))
        links = links_of(graph)
        split = split_links(links, "graph")
        scorer = open_scorer(checkpoint, links, split)
    print(f"trained in {time.process_time() - start:.0f} s of processor time")
    table, _ = sign_table(links, split, {"checkpoint": scorer.sign}, stacked=True)
    columns = ["scorer", "metric", "value", "low", "high", "gain", "gain_low", "gain_high"]
    print(table[table["split"] == "as asked"][columns].round(4).to_string(index=False))
    pairs = signed_pairs(links, split)
    rows = {part: np.flatnonzero(pairs.part == i) for part, i in (("val", 2), ("test", 3))}
    features, tables = sign_features(pairs.training(links.n, pairs.part == 1)), {}
    with threadpool_limits(1):
        for part, mine in rows.items():
            a, b = pairs.src[mine], pairs.dst[mine]
            tables[part] = np.hstack([features(a, b), scorer.sign(a, b)[:, None]])
        ends, up = pairs.src[rows["test"]], pairs.activates[rows["test"]]
        scores = []
        for last in (-1, None):
            trees = fit_stacked(tables["val"][:, :last], pairs.activates[rows["val"]], options.seed)
            scores.append(trees.score(tables["test"][:, :last]))
        for name, score in zip(("rules", "rules and the checkpoint"), scores, strict=True):
            show(name, score, up, ends, auc(scores[0], up))


if __name__ == "__main__":
    main()
