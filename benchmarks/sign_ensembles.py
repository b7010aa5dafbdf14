"""How far the signs of an edge can be told: boosted trees on rates, signed paths and a checkpoint.

    octoscope gnn graph NETWORK graph --structure
    octoscope gnn train config.yaml --graph graph --out training
    python benchmarks/sign_ensembles.py graph training/checkpoint
    python benchmarks/sign_ensembles.py graph --without COMPLEX:

Trees are fitted on the signed pairs of validation, with what training pairs say, and scored on
those of test. ``rates`` are the log-odds and counts of regulator and target. With ``paths`` they
are the floor ``stacked_signs`` of ``octoscope gnn evaluate``, which fits on 20,000 pairs at most.
``types`` are those of the two vertices. ``checkpoint`` is its sign. A line is the AUC with half of
its 95 % interval over regulators, the gain over ``regulator_and_target`` with its own interval, and
the mean AUC within a regulator.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from link_ensembles import arguments, with_label
from octoscope.link_prediction.checkpoint_scores import CheckpointScorer, open_scorer
from octoscope.link_prediction.floors import fit_stacked
from octoscope.link_prediction.link_metrics import Estimate, auc, interval
from octoscope.link_prediction.links import Links, open_links
from octoscope.link_prediction.sign_floors import (
    BOTH,
    REGULATOR,
    TARGET,
    SignedPairs,
    rates,
    signed_pairs,
    within_regulators,
)
from octoscope.link_prediction.signed_paths import path_features
from octoscope.link_prediction.splits import split_links
from threadpoolctl import threadpool_limits


def main() -> None:
    options = arguments(__doc__.splitlines()[0])
    links = open_links(options.graph)
    split = split_links(links, "graph")
    pairs = signed_pairs(links, split)
    if options.without:
        kept = ~with_label(links, pairs.src, pairs.dst, options.without)
        pairs = SignedPairs(*(v[kept] for v in (pairs.src, pairs.dst, pairs.activates, pairs.part)),
                            pairs.conflicting)  # fmt: skip
    scorers = [open_scorer(path, links, split) for path in options.checkpoints]
    rows = {part: np.flatnonzero(pairs.part == i) for part, i in (("val", 2), ("test", 3))}
    with threadpool_limits(1):
        groups = {part: tables(links, pairs, mine, scorers) for part, mine in rows.items()}
    test = rows["test"]
    up, ends = pairs.activates[test], pairs.src[test]
    floor = auc(groups["test"]["rates"][:, 2], up)
    print(f"{len(test):,} test pairs of {len(np.unique(ends)):,} regulators, "
          f"{up.mean():.1%} activation")  # fmt: skip
    show(BOTH, groups["test"]["rates"][:, 2], up, ends, floor)
    lines = [["rates"], ["rates", "types"], ["rates", "paths"], ["rates", "paths", "types"]]
    if scorers:
        lines += [["rates", "checkpoint"], ["rates", "paths", "types", "checkpoint"]]
    for names in lines:
        val, of_test = (np.hstack([groups[p][n] for n in names]) for p in ("val", "test"))
        trees = fit_stacked(val, pairs.activates[rows["val"]], options.seed)
        show(", ".join(names), trees.score(of_test), up, ends, floor)


def show(name: str, score: np.ndarray, up: np.ndarray, ends: np.ndarray, floor: Estimate) -> None:
    area = auc(score, up)
    low, high, _ = interval(area, ends)
    of_gain = interval(area - floor, ends)
    inner, kept = within_regulators(score, up, ends)
    inside = interval(inner, kept)
    print(f"{name:34s} {area.value:.4f} ± {(high - low) / 2:.4f}  gain "
          f"{(of_gain[0] + of_gain[1]) / 2:.4f} ± {(of_gain[1] - of_gain[0]) / 2:.4f}  within "
          f"{inner.value:.4f} ± {(inside[1] - inside[0]) / 2:.4f}", flush=True)  # fmt: skip


def tables(
    links: Links, pairs: SignedPairs, rows: np.ndarray, scorers: list[CheckpointScorer]
) -> dict[str, np.ndarray]:
    """Return [pairs, columns] by group of the signed pairs ``rows``, from training pairs."""
    known = pairs.training(links.n, pairs.part == 1)
    a, b = pairs.src[rows], pairs.dst[rows]
    floors = rates(links.n, known.src, known.dst, known.activates)
    of_rates = np.column_stack([floors[name](a, b) for name in (REGULATOR, TARGET, BOTH)])
    types = pd.factorize(links.graph.names.vertices["species_type"])[0]
    out = {"rates": np.hstack([of_rates, known.counts(a, b)]),
           "paths": path_features(known, floors[BOTH], a, b),
           "types": np.column_stack([types[a], types[b]]).astype(float)}  # fmt: skip
    if scorers:
        out["checkpoint"] = np.column_stack([s.sign(a, b) for s in scorers])
    return out


if __name__ == "__main__":
    main()
