"""How far the signs of an edge can be told: boosted trees on rates, signed paths and a checkpoint.

    octoscope gnn graph NETWORK graph --structure
    octoscope gnn train config.yaml --graph graph --out training
    python benchmarks/sign_ensembles.py graph training/checkpoint
    python benchmarks/sign_ensembles.py graph --without COMPLEX:

Trees are fitted on the signed pairs of validation, with what training pairs say, and scored on
those of test. ``rates`` are the log-odds and counts of regulator and target. ``paths`` are sums of
signs over paths between the two along signed training pairs: how regulators with like signs act on
the target (``a -> u <- v -> b``), products of signs (``a -> u -> b``), the sign of the mirror, the
same of what the rates leave over, and a singular value decomposition of it. ``types`` are those of
the two vertices. ``checkpoint`` is its sign. A line is the AUC with half of its 95 % interval over
regulators, the gain over ``regulator_and_target`` with its own interval, and the mean AUC within a
regulator.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from link_ensembles import arguments, with_label
from octoscope.gnn.directed_spectrum import largest_singular
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
from octoscope.link_prediction.splits import split_links
from scipy import sparse
from threadpoolctl import threadpool_limits

RANK = 32
BLOCK = 256  # sources at once


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
    n, train = links.n, np.flatnonzero(pairs.part == 1)
    src, dst, activates = pairs.src[train], pairs.dst[train], pairs.activates[train]
    a, b = pairs.src[rows], pairs.dst[rows]
    floors = rates(n, src, dst, activates)
    counts = [np.bincount(end[kind], minlength=n)
              for end in (src, dst) for kind in (activates, ~activates)]  # fmt: skip
    of_rates = [floors[REGULATOR](a, b), floors[TARGET](a, b), floors[BOTH](a, b)]
    of_rates += [count[end] for count, end in zip(counts, (a, a, b, b), strict=True)]
    sign = np.where(activates, 1.0, -1.0)
    rate = 1 / (
        1 + np.exp(-floors[BOTH](src, dst) + np.log(activates.mean() / (~activates).mean()))
    )
    residual = activates - rate
    any_ = matrix(np.ones(len(src)), src, dst, n)
    walks: list[tuple[sparse.csr_array, ...]] = []
    for value in (sign, residual):
        one = matrix(value, src, dst, n)
        back = one.T.tocsr()
        walks += [(one, back, one), (any_, any_.T.tocsr(), one), (one, one), (one, back),
                  (back, one), (back,), (one, one, one)]  # fmt: skip
    walks.append((any_, any_.T.tocsr(), any_))
    sums_of = sums(walks, a, b)
    sums_of += [sums_of[7 * i + 1] / np.maximum(sums_of[-1], 1e-9) for i in range(2)]
    u, s, vt = largest_singular(matrix(residual, src, dst, n).tocsr(), RANK)
    for rank in (RANK // 4, RANK):
        top = np.argsort(-s)[:rank]
        sums_of.append(((u[:, top] * s[top])[a] * vt[top].T[b]).sum(1))
    types = pd.factorize(links.graph.names.vertices["species_type"])[0]
    out = {"rates": np.column_stack(of_rates), "paths": np.column_stack(sums_of),
           "types": np.column_stack([types[a], types[b]]).astype(float)}  # fmt: skip
    if scorers:
        out["checkpoint"] = np.column_stack([s.sign(a, b) for s in scorers])
    return out


def matrix(value: np.ndarray, src: np.ndarray, dst: np.ndarray, n: int) -> sparse.csr_array:
    """Return signs as a matrix whose steps are scaled by the degrees of their ends."""
    out, into = (np.maximum(np.bincount(end, minlength=n), 1) for end in (src, dst))
    scale = 1 / np.sqrt(out[src] * into[dst])
    return sparse.csr_array((value * scale, (src, dst)), shape=(n, n))


def sums(
    walks: list[tuple[sparse.csr_array, ...]], a: np.ndarray, b: np.ndarray
) -> list[np.ndarray]:
    """Return [pairs] entries of the product of each walk's steps, a block of rows at a time."""
    sources, row = np.unique(a, return_inverse=True)
    out = [np.zeros(len(a)) for _ in walks]
    for lo in range(0, len(sources), BLOCK):
        mine = np.flatnonzero((row >= lo) & (row < lo + BLOCK))
        for values, walk in zip(out, walks, strict=True):
            block = walk[0][sources[lo : lo + BLOCK]]
            for step in walk[1:]:
                block = block @ step
            values[mine] = block.toarray()[row[mine] - lo, b[mine]]
    return out


if __name__ == "__main__":
    main()
