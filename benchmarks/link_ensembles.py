"""What a checkpoint adds to rules without a model: boosted trees on both, and on rules alone.

    octoscope gnn graph demo graph --structure
    octoscope gnn train config.yaml --graph graph --out training
    python benchmarks/link_ensembles.py graph training/checkpoint

All trees are fitted on validation edges and their degree-matched negatives, with what training
edges say, and scored on test edges. ``stacked`` is the floor of ``octoscope gnn evaluate``.
``directed paths`` adds counts of paths of two and three edges that follow direction; ``checkpoint``
adds the scores of the checkpoints; both are also given together. A line is the AUC with half of its
95 % interval over vertices, and the gain over the stacked floor with its own interval.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import numpy as np
from octoscope.link_prediction.adjacency import train_adjacency
from octoscope.link_prediction.checkpoint_scores import open_scorer
from octoscope.link_prediction.floors import features, fit_stacked
from octoscope.link_prediction.link_metrics import Estimate, auc, interval
from octoscope.link_prediction.links import open_links
from octoscope.link_prediction.negatives import draw_negatives, positives_of, with_negatives
from octoscope.link_prediction.spectral import scaled
from octoscope.link_prediction.splits import split_links
from octoscope.link_prediction.topology_scores import Topology
from scipy import sparse

POSITIVES = 20_000


def directed_paths(adjacency: sparse.csr_array, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return [pairs, 5] sums over directed paths from a to b, each step scaled by degrees.

    a to u to b; and a to u, u and v joined, v to b with the middle and last step in each of the
    four directions (``a -> u <- v -> b``: b is a target of what shares a's targets).
    """
    s = scaled(adjacency).tocsr()
    t = s.T.tocsr()
    out = np.empty((len(a), 5))
    order = np.argsort(a, kind="stable")
    for rows in np.array_split(order, max(1, len(a) // 2000)):
        mine, where = np.unique(a[rows], return_inverse=True)
        first = s[mine]
        back, forth = (first @ t).tocsr(), (first @ s).tocsr()
        for k, paths in enumerate((forth, back @ s, forth @ s, forth @ t, back @ t)):
            out[rows, k] = np.asarray(paths.tocsr()[where, b[rows]]).ravel()
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("graph")
    parser.add_argument("checkpoints", nargs="*")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    links = open_links(options.graph)
    split = split_links(links, "graph")
    topology = Topology(train_adjacency(links, split))
    scorers = [open_scorer(path, links, split) for path in options.checkpoints]
    tables, truths, ends = {}, {}, {}
    for part in ("val", "test"):
        positives = positives_of(links, split, part, POSITIVES, options.seed)
        seed = options.seed + (part == "val")
        negatives = draw_negatives(links, split, positives, "degree", seed)
        positives = positives.select(negatives.of)  # those without a negative stay out
        negatives = replace(negatives, of=np.arange(len(negatives.of)))
        a, b, _ = with_negatives(positives, negatives)
        relation = np.concatenate([positives.relation, positives.relation])
        truths[part], ends[part] = np.arange(len(a)) < len(positives.src), (a, b)
        rules = features(topology, topology.scores(a, b), a, b)
        paths = directed_paths(topology.adjacency, a, b)
        models = np.column_stack([np.zeros((len(a), 0)), *(s.score(a, b, relation)
                                                           for s in scorers)])  # fmt: skip
        tables[part] = {
            "stacked": rules, "directed paths": np.hstack([rules, paths]),
            "checkpoint": np.hstack([rules, models]),
            "directed paths, checkpoint": np.hstack([rules, paths, models]),
        }  # fmt: skip
        if part == "test":
            for scorer, score in zip(scorers, models.T, strict=True):
                print(f"{scorer.name} alone: {shown(auc(score, truths[part]), ends[part])}")
            score = paths[:, 1]
            print(f"a -> u <- v -> b alone: {shown(auc(score, truths[part]), ends[part])}")
    floor = None
    for name, table in tables["test"].items():
        trees = fit_stacked(tables["val"][name], truths["val"], options.seed)
        area = auc(trees.score(table), truths["test"])
        floor = floor or area
        gain = shown(area - floor, ends["test"])
        print(f"{name:28s} {shown(area, ends['test'])}  gain {gain}", flush=True)


def shown(estimate: Estimate, ends: tuple[np.ndarray, np.ndarray]) -> str:
    low, high, _ = interval(estimate, *ends)
    return f"{estimate.value:.4f} ± {(high - low) / 2:.4f}"


if __name__ == "__main__":
    main()
