"""What a checkpoint and directed paths add to other rules: boosted trees on them.

    octoscope gnn graph demo graph --structure
    octoscope gnn train config.yaml --graph graph --out training
    python benchmarks/link_ensembles.py graph training/checkpoint
    python benchmarks/link_ensembles.py graph --without COMPLEX:

All trees are fitted on validation edges and their degree-matched negatives, with what training
edges say, and scored on test edges. ``stacked`` is the floor of ``octoscope gnn evaluate``.
``without directed paths`` leaves those rules out. Gains are over it, and over the line before;
``checkpoint`` adds the scores of the checkpoints. A line is the AUC with half of its 95 % interval
over vertices, and the gain with its own interval. With --without, edges of complexes are in no
part: OmniPath has complexes that share members, and so edges.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import numpy as np
from octoscope.link_prediction.adjacency import train_adjacency
from octoscope.link_prediction.checkpoint_scores import open_scorer
from octoscope.link_prediction.floors import features, fit_stacked
from octoscope.link_prediction.link_metrics import Estimate, auc, interval
from octoscope.link_prediction.links import Links, open_links
from octoscope.link_prediction.negatives import draw_negatives, positives_of, with_negatives
from octoscope.link_prediction.splits import split_links
from octoscope.link_prediction.topology_scores import DIRECTED_PATHS, RULES, Topology

POSITIVES = 20_000


def arguments(description: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("graph")
    parser.add_argument("checkpoints", nargs="*")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--without", help="leave edges out of which an end's label starts so")
    return parser.parse_args()


def with_label(links: Links, src: np.ndarray, dst: np.ndarray, start: str) -> np.ndarray:
    """Return [pairs] bool: the label of an end starts so."""
    labels = links.graph.names.vertices["label"].astype(str)
    of_vertex = labels.str.startswith(start).to_numpy()
    return np.asarray(of_vertex[src] | of_vertex[dst])


def main() -> None:
    options = arguments(__doc__.splitlines()[0])
    links = open_links(options.graph)
    split = split_links(links, "graph")
    if options.without:
        out = with_label(links, links.src, links.dst, options.without)
        split = replace(split, part=np.where(out, 0, split.part))
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
        scores = topology.scores(a, b)
        rules = features(topology, scores, a, b)
        undirected = np.delete(rules, [RULES.index(r) for r in DIRECTED_PATHS], axis=1)
        models = np.column_stack([np.zeros((len(a), 0)), *(s.score(a, b, relation)
                                                           for s in scorers)])  # fmt: skip
        tables[part] = {
            "without directed paths": undirected,
            "without them, checkpoint": np.hstack([undirected, models]),
            "stacked": rules, "stacked, checkpoint": np.hstack([rules, models]),
        }  # fmt: skip
        if part == "test":
            for scorer, score in zip(scorers, models.T, strict=True):
                print(f"{scorer.name} alone: {shown(auc(score, truths[part]), ends[part])}")
            for rule in DIRECTED_PATHS:
                print(f"{rule} alone: {shown(auc(scores[rule], truths[part]), ends[part])}")
    areas: list[Estimate] = []
    for name, table in tables["test"].items():
        trees = fit_stacked(tables["val"][name], truths["val"], options.seed)
        areas.append(auc(trees.score(table), truths["test"]))
        before = areas[0], areas[max(len(areas) - 2, 0)]
        gains = [shown(areas[-1] - area, ends["test"]) for area in before]
        print(f"{name:26s} {shown(areas[-1], ends['test'])}  gain {gains[0]}, "
              f"over the line before {gains[1]}", flush=True)  # fmt: skip


def shown(estimate: Estimate, ends: tuple[np.ndarray, np.ndarray]) -> str:
    low, high, _ = interval(estimate, *ends)
    return f"{estimate.value:.4f} ± {(high - low) / 2:.4f}"


if __name__ == "__main__":
    main()
